"""ID tokens of an identity provider: what is taken, and a table of what isn't, each refused for its own reason."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from authz.clients.key_sets import usable_keys
from authz.sign_in.id_token import read_id_token, verify
from authz.sign_in.identity_provider import IdentityProvider, SignInRefused
from authz.sign_in.methods import SignInMethods, methods_elsewhere

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
SINCE = NOW - timedelta(hours=1)
NONCE = "n" * 43
PROVIDER = IdentityProvider("https://idp.example", "IdP", "assent", "https://assent.example/cb", secret="s")  # noqa: S106
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})
OTHER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "use": "sig", "alg": "ES256"})
KEYS = usable_keys({"keys": [key.as_dict(private=False) for key in (KEY, EC)]}, ("RS256", "ES256", "PS256"))
GOOD: dict[str, Any] = {
    "iss": PROVIDER.issuer,
    "sub": "248289761001",
    "aud": "assent",
    "exp": SECOND + 300,
    "iat": SECOND,
    "nonce": NONCE,
    "auth_time": SECOND - 60,
}


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: Any = KEY) -> str:
    head = {"alg": "RS256", "kid": "k1"} | (header or {})
    return jwt.encode(head, claims, key, algorithms=[head["alg"]])


def reason(text: Any, provider: IdentityProvider = PROVIDER, since: datetime = SINCE) -> tuple[str, str]:
    with pytest.raises(SignInRefused) as refused:
        verify(read_id_token({"id_token": text}), KEYS, provider, NONCE, since, NOW)
    return refused.value.problem, refused.value.reason


@pytest.mark.parametrize(
    "change", [{}, {"aud": ["assent"]}, {"aud": ["assent", "other"], "azp": "assent"}, {"azp": "assent"}]
)
def test_a_good_token_says_who_when_and_how(change: dict[str, Any]) -> None:
    token = read_id_token({"id_token": signed(GOOD | {"amr": ["pwd", "hocus"], "acr": "urn:level:2"} | change)})
    proven = verify(token, KEYS, PROVIDER, NONCE, SINCE, NOW)
    assert (proven.subject, proven.auth_time) == ("248289761001", NOW - timedelta(seconds=60))
    assert proven.methods == SignInMethods(("pwd",), "urn:level:2")


def test_members_of_the_header_that_nobody_knows_are_ignored() -> None:
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT", "x5t": "abc", "pi.atm": "1", "x5c": ["A" * 2_000]}
    token = read_id_token({"id_token": _by_hand(header)})
    assert verify(token, KEYS, PROVIDER, NONCE, SINCE, NOW).subject == "248289761001"


def test_an_elliptic_key_signs_too() -> None:
    token = read_id_token({"id_token": signed(GOOD, {"alg": "ES256", "kid": "e1"}, EC)})
    assert verify(token, KEYS, PROVIDER, NONCE, SINCE, NOW).subject == "248289761001"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"iss": "https://idp.example/"}, "issuer"),
        ({"iss": "https://attacker.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": {"assent": 1}}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": ["assent", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"exp": SECOND - 31}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "tomorrow"}, "time"),
        ({"exp": True}, "time"),
        ({"exp": 1e300}, "time"),
        ({"exp": 10**30}, "time"),
        ({"iat": None}, "issued"),
        ({"iat": SECOND + 31}, "issued"),
        ({"nbf": SECOND + 31}, "issued"),
        ({"nonce": "m" * 43}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": [NONCE]}, "nonce"),
        ({"nonce": "ñ" * 43}, "nonce"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "a" * 256}, "subject"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": "ä"}, "subject"),
        ({"auth_time": None}, "auth-time"),
        ({"auth_time": SECOND + 31}, "auth-time"),
        ({"auth_time": -1}, "time"),
    ],
)
def test_a_token_that_isnt_for_this_sign_in_is_refused(change: dict[str, Any], expected: str) -> None:
    claims = {name: value for name, value in (GOOD | change).items() if value is not None}
    assert reason(signed(claims)) == ("untrusted", expected)


def test_an_old_sign_in_is_stale_and_a_clock_behind_by_half_a_minute_is_not() -> None:
    assert reason(signed(GOOD), since=NOW - timedelta(seconds=29)) == ("stale", "auth-time")
    token = read_id_token({"id_token": signed(GOOD)})
    since = NOW - timedelta(seconds=31)
    assert verify(token, KEYS, PROVIDER, NONCE, since, NOW).auth_time == since


def _unsigned(header: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, GOOD)]
    return ".".join([*parts, ""])


def _by_hand(header: dict[str, Any]) -> str:
    """Signed whatever the header is."""
    unsigned = _unsigned(header)
    private: Any = KEY.private_key
    signature = private.sign(unsigned[:-1].encode(), PKCS1v15(), SHA256())
    return unsigned + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (signed(GOOD, key=OTHER), "signature"),
        (signed(GOOD)[:-8] + "AAAAAAAA", "signature"),
        (_unsigned({"alg": "none", "kid": "k1"}), "algorithm"),
        (_unsigned({"alg": "RS256", "kid": "k1"}), "signature"),
        (_unsigned({"alg": ["RS256"], "kid": "k1"}), "algorithm"),
        (_by_hand({"alg": "RS256", "kid": "k1", "crit": ["x"], "x": 1}), "signature"),
        (signed(GOOD, {"alg": "HS256"}, OctKey.generate_key(256)), "algorithm"),
        (signed(GOOD, {"kid": "unknown"}), "kid"),
        (signed(GOOD, {"kid": "e1"}), "kid"),
        (signed(GOOD, {"alg": "PS256"}, RSAKey.import_key(KEY.as_pem(private=True))), "kid"),
        (_unsigned({"alg": "RS256"}), "kid"),
        ("a.b.c", "id-token"),
        ("a.b", "id-token"),
        ("a" * 20_000, "id-token"),
        ("ä.b.c", "id-token"),
        (None, "id-token"),
        (7, "id-token"),
        (base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".b.c", "id-token"),
    ],
)
def test_a_token_that_the_provider_didnt_sign_is_refused(text: Any, expected: str) -> None:
    assert reason(text) == ("untrusted", expected)


def test_another_claim_can_name_the_person_but_sub_must_be_there() -> None:
    provider = replace(PROVIDER, subject_claim="oid")
    token = read_id_token({"id_token": signed(GOOD | {"oid": "77"})})
    assert verify(token, KEYS, provider, NONCE, SINCE, NOW).subject == "77"
    assert reason(signed(GOOD), provider) == ("untrusted", "subject")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, SignInMethods()),
        ({"amr": "pwd"}, SignInMethods()),
        ({"amr": [1, None, ["pwd"], "PWD", "mfa", "otp", "otp"]}, SignInMethods(("mfa", "otp"))),
        ({"acr": 1}, SignInMethods()),
        ({"acr": ""}, SignInMethods()),
        ({"acr": "a" * 201}, SignInMethods()),
        ({"acr": "a\nb"}, SignInMethods()),
        ({"acr": "1"}, SignInMethods((), "1")),
    ],
)
def test_only_what_is_well_spelled_is_told_on(claims: dict[str, Any], expected: SignInMethods) -> None:
    assert methods_elsewhere(claims) == expected
