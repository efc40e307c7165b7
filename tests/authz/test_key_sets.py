"""Which keys of a client are taken: a table of sets that are wrong in one way each."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc.jwk import ECKey

from authz.clients.key_sets import KeySetRefused, check_key_set, matching, usable_keys
from tests.conformance.launching import key_pair

EC, _ = key_pair("ES384")
P256, _ = key_pair("ES256")
RSA, _ = key_pair("RS384")
PLAIN_EC = {name: EC[name] for name in ("kty", "crv", "x", "y", "kid")}
PLAIN_RSA = {name: RSA[name] for name in ("kty", "n", "e", "kid")}
SMALL = {**PLAIN_RSA, "n": urlsafe_b64encode(b"\xff" * 128).decode().rstrip("=")}
P521 = {**ECKey.generate_key("P-521").as_dict(private=False), "kid": "p521"}
K256 = {**ECKey.generate_key("secp256k1").as_dict(private=False), "kid": "k256"}


@pytest.mark.parametrize(
    "key",
    [
        EC,
        P256,
        RSA,
        PLAIN_EC,
        PLAIN_RSA,
        {**PLAIN_RSA, "alg": "RS256"},
        {**PLAIN_RSA, "alg": "PS256"},
        {**PLAIN_EC, "use": "sig", "key_ops": ["verify"]},
        {**PLAIN_EC, "x5t": "something", "ext": True},
    ],
)
def test_a_key_that_can_verify_is_taken(key: dict[str, Any]) -> None:
    check_key_set({"keys": [key]})
    (kept,) = usable_keys({"keys": [key]})
    assert kept == {name: value for name, value in key.items() if name not in ("use", "key_ops", "x5t", "ext")}


@pytest.mark.parametrize(
    "key",
    [
        {},
        5,
        None,
        {**PLAIN_EC, "kid": ""},
        {**PLAIN_EC, "kid": 5},
        {**PLAIN_EC, "kid": None},
        {**PLAIN_EC, "kid": "x" * 201},
        {**PLAIN_EC, "kty": "OKP"},
        {**PLAIN_EC, "kty": "RSA"},
        {**PLAIN_EC, "kty": ["EC"]},
        {**PLAIN_RSA, "kty": "EC"},
        {**PLAIN_EC, "use": "enc"},
        {**PLAIN_EC, "use": None},
        {**PLAIN_EC, "key_ops": []},
        {**PLAIN_EC, "key_ops": ["sign"]},
        {**PLAIN_EC, "key_ops": "verify"},
        {**PLAIN_EC, "alg": "ES256"},
        {**PLAIN_EC, "alg": "RS384"},
        {**PLAIN_EC, "alg": "none"},
        {**PLAIN_EC, "alg": None},
        {**PLAIN_EC, "crv": "P-256"},
        {**PLAIN_EC, "crv": "Ed25519"},
        {**PLAIN_EC, "crv": ["P-384"]},
        {**PLAIN_EC, "x": PLAIN_EC["y"]},
        {**PLAIN_EC, "x": ""},
        {**PLAIN_EC, "x": 5},
        {**PLAIN_EC, "x": "not base64 !"},
        {name: value for name, value in PLAIN_EC.items() if name != "y"},
        {**PLAIN_RSA, "alg": "HS256"},
        {**PLAIN_RSA, "alg": "PS384"},
        {**PLAIN_RSA, "alg": "ES384"},
        {**PLAIN_RSA, "e": ""},
        {**PLAIN_RSA, "e": "AQ"},
        {**PLAIN_RSA, "e": "AA"},
        {**PLAIN_RSA, "e": RSA["n"]},
        {**PLAIN_RSA, "n": "AQAB"},
        {**PLAIN_RSA, "n": RSA["n"] * 5},
        SMALL,
        P521,
        K256,
    ],
)
def test_a_key_that_can_not_verify_is_refused_when_sent_and_ignored_when_fetched(key: object) -> None:
    with pytest.raises(KeySetRefused):
        check_key_set({"keys": [key]})
    with pytest.raises(KeySetRefused):
        check_key_set({"keys": [EC, key]})
    assert [kept["x"] for kept in usable_keys({"keys": [key, EC]})] == [EC["x"]]
    with pytest.raises(KeySetRefused):
        usable_keys({"keys": [key]})


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_a_set_with_a_private_key_is_refused_whole(member: str) -> None:
    for check in (check_key_set, usable_keys):
        with pytest.raises(KeySetRefused, match="public keys only"):
            check({"keys": [EC, {"kty": "unknown", member: "AQAB"}]})


@pytest.mark.parametrize("jwks", [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [EC] * 21}])
def test_a_set_that_is_none_is_refused(jwks: dict[str, Any]) -> None:
    for check in (check_key_set, usable_keys):
        with pytest.raises(KeySetRefused):
            check(jwks)


@pytest.mark.parametrize(
    ("kid", "alg", "found"),
    [
        ("k1", "ES384", [EC]),
        ("k1", "ES256", [P256]),
        ("k1", "RS384", [RSA]),
        ("k1", "RS256", []),
        ("k1", "HS256", []),
        ("k1", "none", []),
        ("K1", "ES384", []),
        ("k1 ", "ES384", []),
        ("", "ES384", []),
        (None, "ES384", []),
        (1, "ES384", []),
    ],
)
def test_a_key_is_found_by_its_exact_kid_and_a_fitting_algorithm(
    kid: object, alg: str, found: list[dict[str, Any]]
) -> None:
    assert matching([EC, P256, RSA], kid, alg) == found


def test_all_keys_that_fit_are_found_so_that_two_of_one_name_are_noticed() -> None:
    assert matching([PLAIN_EC, EC, PLAIN_RSA], "k1", "ES384") == [PLAIN_EC, EC]
