"""What the masks leave of a valid resource is valid FHIR R4, says HAPI's validator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.minimization.minimize import MinimizeRules, minimize
from fhir.r4.definitions import load_definitions
from tests.interop.foreign_servers import ForeignServerUnavailable, install_hapi, running
from tests.interop.masked_samples import samples

pytestmark = pytest.mark.interop

CATALOGUE = load_catalogue()
DEFINITIONS = load_definitions()
MASKS = Masks(CATALOGUE, DEFINITIONS)
FACTS = FactsReader(DEFINITIONS, CATALOGUE)
PURPOSES = {"full": "PATRQT", "limited": "HRESCH"}
_encode = msgspec.json.Encoder(decimal_format="number").encode
OWN = {"AuditEvent", "Consent"}
"""Written by Assent itself and never minimized from an upstream's."""


@pytest.fixture(scope="module")
def validator() -> Iterator[httpx.Client]:
    """HAPI's server, empty."""
    try:
        command = install_hapi()
    except ForeignServerUnavailable as missing:
        pytest.skip(str(missing))
    with running(command) as base_url, httpx.Client(base_url=base_url, timeout=120) as client:
        yield client


def errors(validator: httpx.Client, resource_type: str, body: bytes) -> list[str]:
    """What makes it invalid; code systems that HAPI doesn't have are warnings."""
    answer = validator.post(
        f"/{resource_type}/$validate", content=body, headers={"content-type": "application/fhir+json"}
    )
    issues: list[dict[str, Any]] = answer.json()["issue"]
    return [i.get("diagnostics", "") for i in issues if i["severity"] in ("error", "fatal")]


def masked(body: bytes, purpose: str, resource_type: str) -> bytes:
    """What a purpose of use leaves of a resource."""
    node = MASKS.node(purpose, resource_type)
    assert node is not None
    rules = MinimizeRules(
        lambda kind: MASKS.node(purpose, kind),
        CATALOGUE.contained,
        CATALOGUE.named_references,
        FACTS.relative,
    )
    return minimize(body, node, rules)


def test_every_masked_type_has_a_sample() -> None:
    assert set().union(*CATALOGUE.masks.values()) - OWN - set(samples()) == set()


@pytest.mark.parametrize("resource_type", sorted(set().union(*CATALOGUE.masks.values()) - OWN))
def test_what_a_mask_leaves_is_valid(validator: httpx.Client, resource_type: str) -> None:
    compared = 0
    for resource in samples()[resource_type]:
        body = _encode(resource)
        assert errors(validator, resource_type, body) == [], "a sample that isn't valid proves nothing"
        for profile, purpose in PURPOSES.items():
            if resource_type in CATALOGUE.masks[profile]:
                left = masked(body, purpose, resource_type)
                assert (profile, errors(validator, resource_type, left)) == (profile, [])
                compared += 1
    assert compared > 0
