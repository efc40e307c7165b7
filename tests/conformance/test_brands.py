"""User Access Brands: what is published and announced, and what can't be published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from assent.brands import load_brands
from assent.settings import Settings
from sandbox.brands import sandbox_brands
from smart.brands import BrandError, read_brands
from tests.sandbox_server import Sandbox

ISSUER = "https://assent.example"
BASE = f"{ISSUER}/fhir"
PORTAL = "http://hl7.org/fhir/StructureDefinition/organization-portal"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
Edit = Callable[[dict[str, Any]], object]


def bundle() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sandbox_brands(ISSUER))
    return found


def brand(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["entry"][0]["resource"]
    return found


def endpoint(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["entry"][1]["resource"]
    return found


def second_brand(bundle: dict[str, Any], **other: object) -> None:
    added = json.loads(json.dumps(bundle["entry"][0]))
    added["resource"] |= {"id": "clinic", "identifier": [{"system": "urn:x", "value": "clinic"}], **other}
    bundle["entry"].append(added)


@pytest.mark.smart(387, 388, 399, 400, 401, 406, 410, 411, 418, 419, 423, 424, 427, 428, 430, 431)
def test_the_bundle_is_announced_and_read_by_any_origin_and_cached_by_its_tag(sandbox: Sandbox) -> None:
    told = httpx.get(f"{sandbox.fhir_base}/.well-known/smart-configuration").json()
    assert set(told["user_access_brand_identifier"]) == {"system", "value"}
    answer = httpx.get(told["user_access_brand_bundle"], headers={"Origin": "https://anybody.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["etag"].startswith('W/"')
    found = answer.json()
    assert found["timestamp"]
    assert all(entry["resource"]["meta"]["lastUpdated"] for entry in found["entry"])
    for header in (answer.headers["etag"], f'W/"other", {answer.headers["etag"]}', "*"):
        again = httpx.get(told["user_access_brand_bundle"], headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
    other = httpx.get(told["user_access_brand_bundle"], headers={"If-None-Match": 'W/"other"'})
    assert other.status_code == 200


@pytest.mark.smart(396, 407, 412, 417, 432, 433)
def test_one_brand_is_the_servers_own_and_leads_to_every_endpoint(sandbox: Sandbox) -> None:
    told = httpx.get(f"{sandbox.fhir_base}/.well-known/smart-configuration").json()
    found = [entry["resource"] for entry in httpx.get(told["user_access_brand_bundle"]).json()["entry"]]
    own = [r for r in found if told["user_access_brand_identifier"] in r.get("identifier", ())]
    assert len(own) == 1
    assert {e["reference"] for e in own[0]["endpoint"]} == {
        f"Endpoint/{r['id']}" for r in found if r["resourceType"] == "Endpoint"
    }
    assert [r["address"] for r in found if r["resourceType"] == "Endpoint"] == [sandbox.fhir_base]


@pytest.mark.smart(402, 403, 404, 421, 436, 437)
def test_the_operator_writes_every_element_and_it_is_published_as_written(tmp_path: Path) -> None:
    written = bundle()
    brand(written).update(
        alias=["Old Name"],
        address=[{"postalCode": "02139", "country": "US"}],
        identifier=[{"system": "urn:customer", "value": "4711"}],
        partOf={"reference": "Organization/riverside-sandbox"},
        telecom=[{"system": "url", "_value": {"extension": [{"url": ABSENT, "valueCode": "asked-declined"}]}}],
    )
    file = tmp_path / "brands.json"
    file.write_bytes(json.dumps(written).encode())
    brands = load_brands(Settings.model_validate({"public_url": ISSUER, "brands_file": file}))
    assert brands is not None
    assert (brands.bundle, brands.primary) == (file.read_bytes(), {"system": "urn:customer", "value": "4711"})


@pytest.mark.smart(397, 409, 429)
def test_of_several_brands_the_primary_one_is_named() -> None:
    written = bundle()
    second_brand(written, partOf={"reference": "Organization/riverside-sandbox"})
    text = json.dumps(written).encode()
    with pytest.raises(BrandError, match="name the identifier of the primary one"):
        read_brands(text, BASE)
    assert read_brands(text, BASE, "urn:x|clinic").primary == {"system": "urn:x", "value": "clinic"}
    assert read_brands(text, BASE, f"urn:ietf:rfc:3986|{ISSUER}").primary["value"] == ISSUER


def other_hospital(bundle: dict[str, Any]) -> None:
    """A second server with a brand of its own, as in the list of a vendor."""
    added = json.loads(json.dumps(bundle["entry"][1]))
    added["resource"] |= {"id": "elsewhere", "address": "https://elsewhere.example/fhir"}
    bundle["entry"].append(added)
    second_brand(bundle, endpoint=[{"reference": "Endpoint/elsewhere"}], extension=[])


@pytest.mark.smart(396, 408, 434)
def test_the_bundle_may_be_a_vendors_whole_list_as_long_as_each_endpoint_has_its_brand() -> None:
    written = bundle()
    other_hospital(written)
    text = json.dumps(written).encode()
    assert read_brands(text, BASE, f"urn:ietf:rfc:3986|{ISSUER}").primary["value"] == ISSUER
    with pytest.raises(BrandError, match="primary brand must refer to every Endpoint of this server"):
        read_brands(text, BASE, "urn:x|clinic")
    written["entry"].pop()
    with pytest.raises(BrandError, match="no brand refers to `Endpoint/elsewhere`"):
        read_brands(json.dumps(written).encode(), BASE)


@pytest.mark.smart(398, 405)
@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda b: b.update(type="batch"), "Bundle of type `collection`"),
        (lambda b: b.update(resourceType="List"), "Bundle of type `collection`"),
        (lambda b: b.pop("timestamp"), "`Bundle.timestamp`"),
        (lambda b: b.update(timestamp="2026"), "`Bundle.timestamp`"),
        (lambda b: b.update(entry=[]), "Organizations and Endpoints"),
        (lambda b: b.update(entry="x"), "Organizations and Endpoints"),
        (lambda b: b["entry"].append({}), "Organizations and Endpoints"),
        (lambda b: b["entry"].append({"resource": {"resourceType": "Patient"}}), "Organizations and Endpoints"),
        (lambda b: b["entry"].pop(0), "exactly one Organization"),
        (lambda b: b["entry"].pop(1), "isn't in the Bundle"),
        (lambda b: brand(b).pop("name"), "needs a `name`"),
        (lambda b: brand(b).pop("telecom"), "one `telecom`"),
        (lambda b: brand(b).update(telecom=[{"system": "phone", "value": "1"}]), "one `telecom`"),
        (lambda b: brand(b).update(telecom=[{"system": "url", "value": "https://a"}] * 2), "one `telecom`"),
        (lambda b: brand(b).pop("identifier"), "exactly one Organization"),
        (lambda b: brand(b).update(identifier=[{"system": "urn:x"}]), "exactly one Organization"),
        (lambda b: brand(b).update(endpoint=[], extension=[]), "refer to every Endpoint"),
        (lambda b: brand(b).update(endpoint=[{"reference": "Endpoint/other"}]), "isn't in the Bundle"),
        (lambda b: endpoint(b).update(address="https://elsewhere.example/fhir"), "address"),
        (lambda b: endpoint(b).update(address="http://assent.example/fhir"), "https `address`"),
        (lambda b: endpoint(b).pop("extension"), "endpoint-fhir-version"),
        (lambda b: endpoint(b).pop("contact"), "`contact`"),
        (lambda b: endpoint(b).update(connectionType={"code": "dicom-wado-rs"}), "hl7-fhir-rest"),
        (
            lambda b: brand(b).update(_name={"extension": [{"url": ABSENT, "valueCode": "unknown"}]}),
            "asked-declined or asked-unknown only",
        ),
        (lambda b: second_brand(b), "several brands"),
    ],
)
def test_brands_that_apps_could_not_use_are_not_published(edit: Edit, problem: str) -> None:
    written = bundle()
    edit(written)
    with pytest.raises(BrandError, match=problem):
        read_brands(json.dumps(written).encode(), BASE)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_bundle_is_not_published(text: bytes) -> None:
    with pytest.raises(BrandError):
        read_brands(text, BASE)


def test_a_primary_brand_must_be_one() -> None:
    text = sandbox_brands(ISSUER)
    with pytest.raises(BrandError, match="exactly one"):
        read_brands(text, BASE, "urn:x|nobody")
    twice = bundle()
    second_brand(twice, identifier=brand(twice)["identifier"])
    with pytest.raises(BrandError, match="exactly one"):
        read_brands(json.dumps(twice).encode(), BASE, f"urn:ietf:rfc:3986|{ISSUER}")


def test_without_a_file_nothing_is_published_and_a_missing_one_stops_the_start(tmp_path: Path) -> None:
    assert load_brands(Settings.model_validate({})) is None
    with pytest.raises(BrandError, match="can't be read"):
        load_brands(Settings.model_validate({"brands_file": tmp_path / "none.json"}))
