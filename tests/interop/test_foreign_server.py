"""Assent in front of FHIR servers that it doesn't know: one patient's record, the part that was shared, no more."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.app import REDIRECT_URI, App
from tests.clients.person import Person
from tests.interop.conftest import ForeignServer
from tests.interop.synthea_records import records, records_dir
from tests.sandbox_server import assent_process, environment, free_port

SCOPE = "launch/patient openid fhirUser offline_access patient/*.rs"
ALLOWED = {"Demographics", "Lab results", "Immunizations"}
PASSWORD = "seven quiet lanterns"  # noqa: S105 - of an account that lives as long as the test
MOST_PAGES = 40
MOST_OBSERVATIONS = 190
SLOW_SECONDS = "120"
"""Medplum takes ten seconds to find a patient's observations, more on a busy machine."""

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Shared:
    """An app to which one patient allowed a part of their record."""

    app: App
    issuer: str
    upstream: ForeignServer
    patient: str
    somebody_else: str


def two_patients() -> tuple[dict[str, Any], dict[str, Any]]:
    """One with many observations, though not more than a page can hold, and the first of the others."""
    counts: dict[str, int] = {}
    for observation in records(records_dir(), "Observation"):
        subject = observation["subject"]["reference"].removeprefix("Patient/")
        counts[subject] = counts.get(subject, 0) + 1
    most = max(sorted(counts), key=lambda subject: counts[subject] if counts[subject] <= MOST_OBSERVATIONS else 0)
    patients = list(records(records_dir(), "Patient"))
    return next(p for p in patients if p["id"] == most), next(p for p in patients if p["id"] != most)


def assent(settings: dict[str, str], *arguments: str, typed: str = "") -> dict[str, Any]:
    """Run an `assent` command; answers what it prints as JSON."""
    done = subprocess.run(  # noqa: S603 - this interpreter, our module
        [sys.executable, "-m", "assent", *arguments, "--json"],
        env=settings,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def shared(foreign_server: ForeignServer) -> Iterator[Shared]:
    """Assent with one account and one app, from the command line, after that patient allowed three categories."""
    patient, other = two_patients()
    name = f"{patient['name'][0]['given'][0]} {patient['name'][0]['family']}"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="assent-interop-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        settings = environment(
            place / "data",
            ASSENT_PORT=str(port),
            ASSENT_UPSTREAM_URL=foreign_server.base_url,
            ASSENT_UPSTREAM_TIMEOUT_SECONDS=SLOW_SECONDS,
        )
        who = ["--fhir-user", f"Patient/{patient['id']}", "--patient", f"{patient['id']}={name}"]
        assent(settings, "user", "add", "synthea", *who, typed=f"{PASSWORD}\n")
        client = assent(settings, "client", "add", "Foreign Reader", "--redirect-uri", REDIRECT_URI, "--scope", SCOPE)
        with assent_process(["serve"], settings, port, place / "log") as issuer:
            app = App(f"{issuer}/fhir", client["client_id"], SCOPE)
            with Person("synthea", PASSWORD) as person:
                app.redeem(person.authorize(app.authorize_url(), ALLOWED))
            yield Shared(app, issuer, foreign_server, patient["id"], other["id"])


def pages(app: App, path: str) -> Iterator[dict[str, Any]]:
    """The Bundles of a search, from page to page."""
    following: str | None = path
    for _ in range(MOST_PAGES):
        if following is None:
            return
        answer = app.read(following)
        assert answer.status_code == 200, answer.text
        bundle: dict[str, Any] = answer.json()
        yield bundle
        following = next((link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"), None)
    raise AssertionError(f"more than {MOST_PAGES} pages")


def found(app: App, path: str) -> list[dict[str, Any]]:
    """The resources that a search found, on all its pages."""
    return [entry["resource"] for bundle in pages(app, path) for entry in bundle.get("entry", ())]


def test_upstream_itself_shows_everybody(foreign_server: ForeignServer) -> None:
    """The control: what is missing below is missing because of Assent."""
    assert foreign_server.resources > 10_000
    for patient in two_patients():
        raw = httpx.get(f"{foreign_server.base_url}/Patient/{patient['id']}", timeout=60).json()
        assert raw["text"] == patient["text"]
    found = httpx.get(f"{foreign_server.base_url}/Claim?_count=3", timeout=60).json()
    assert len(found["entry"]) == 3


def test_patient_is_read_minimized(shared: Shared) -> None:
    answer = shared.app.read(f"Patient/{shared.patient}")
    assert answer.status_code == 200
    patient = answer.json()
    raw = httpx.get(f"{shared.upstream.base_url}/Patient/{shared.patient}", timeout=60).json()
    assert (patient["id"], patient["birthDate"], patient["name"]) == (shared.patient, raw["birthDate"], raw["name"])
    assert "text" in raw
    assert "text" not in patient
    assert "disability-adjusted-life-years" in json.dumps(raw)
    assert "disability-adjusted-life-years" not in answer.text
    assert "SUBSETTED" in {tag["code"] for tag in patient["meta"]["tag"]}


def test_search_finds_what_was_allowed_over_all_pages(shared: Shared) -> None:
    labs = found(shared.app, f"Observation?category=laboratory&_count={shared.upstream.page_size}")
    expected = {
        o["id"]
        for o in records(records_dir(), "Observation")
        if o["subject"]["reference"] == f"Patient/{shared.patient}"
        and any(coding["code"] == "laboratory" for category in o["category"] for coding in category["coding"])
    }
    assert {lab["id"] for lab in labs} == expected
    assert len(labs) == len(expected)
    assert {lab["subject"]["reference"] for lab in labs} == {f"Patient/{shared.patient}"}


def test_search_without_category_leaves_out_what_was_not_allowed(shared: Shared) -> None:
    observations = found(shared.app, f"Observation?_count={shared.upstream.page_size}")
    assert observations
    codes = {coding["code"] for o in observations for category in o["category"] for coding in category["coding"]}
    assert codes == {"laboratory"}


@pytest.mark.parametrize("path", ["Condition", "MedicationRequest?status=active", "Claim", "Encounter?_count=1"])
def test_types_not_allowed_are_denied(shared: Shared, path: str) -> None:
    answer = shared.app.read(path)
    assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")


def test_other_patients_are_invisible(shared: Shared) -> None:
    other = shared.somebody_else
    theirs = next(o for o in records(records_dir(), "Immunization") if o["patient"]["reference"] == f"Patient/{other}")
    absent = shared.app.read("Immunization/no-such-resource")
    for path in (f"Patient/{other}", f"Immunization/{theirs['id']}"):
        answer = shared.app.read(path)
        assert answer.status_code in (403, 404), path
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert theirs["id"] not in answer.text.replace(path, "")
    # Whether a record exists must not show: another patient's is answered like one that isn't there.
    assert shared.app.read(f"Immunization/{theirs['id']}").status_code == absent.status_code
    for path in (f"Immunization?patient={other}", f"Patient?_id={other}", f"Immunization?_id={theirs['id']}"):
        answer = shared.app.read(path)
        if answer.status_code == 200:
            assert not answer.json().get("entry"), path
        else:
            assert answer.status_code in (403, 404), path


def test_nothing_names_the_upstream(shared: Shared) -> None:
    paths = ("metadata", f"Patient/{shared.patient}", "Immunization?_count=2", "Condition", "Observation?nonsense=1")
    for path in paths:
        answer = shared.app.read(path)
        assert shared.upstream.base_url not in answer.text, path
        assert shared.upstream.base_url not in str(answer.headers), path


def test_unknown_parameter_is_refused_whatever_the_upstream_makes_of_it(shared: Shared) -> None:
    answer = shared.app.read("Immunization?nonsense=1")
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


def test_everything_ends_with_revocation(shared: Shared) -> None:
    with Person("synthea", PASSWORD) as person:
        person.revoke(shared.issuer, "Foreign Reader")
    assert shared.app.read(f"Patient/{shared.patient}").status_code in (401, 403)
    assert shared.app.refresh().json()["error"] == "invalid_grant"
