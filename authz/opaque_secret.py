"""Secrets that are nothing but random: codes, refresh tokens, session ids, client secrets.

They carry 256 bits of entropy, so a plain SHA-256 keeps them: there is nothing to guess, and slow hashing would only
slow every request. People's passwords are another matter: `authz/sign_in/passwords.py`.
"""

import hashlib
import hmac
import secrets


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_secret(candidate: str, stored_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_of(candidate), stored_hash)
