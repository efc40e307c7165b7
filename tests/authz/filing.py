"""`$fileConsent` and `$revokeConsent` for tests: a consent with its document, and the Parameters they are sent in."""

from __future__ import annotations

from typing import Any

import httpx

from tests.authz.consent_recorder import RecorderClient, consent
from tests.leaks.world import ISSUER

BASE = f"{ISSUER}/fhir"
MRN = {"system": "urn:mrn", "value": "007"}
TWINS = {"system": "urn:mrn", "value": "twin"}
ANA: dict[str, Any] = {"identifier": MRN}
LOINC = "http://loinc.org"


def document(**more: object) -> dict[str, Any]:
    """A scan of a signed form; None takes an element away."""
    whole = {
        "resourceType": "DocumentReference",
        "id": "scan-1",
        "status": "current",
        "subject": ANA,
        "type": {"coding": [{"system": LOINC, "code": "64292-6"}]},
        "category": [{"coding": [{"system": LOINC, "code": "57016-8"}]}],
        "content": [{"attachment": {"contentType": "application/pdf", "url": "https://desk.example/scans/1"}}],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def answers(**more: object) -> dict[str, Any]:
    """A form that was filled in."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "form-1",
        "status": "completed",
        "subject": ANA,
        "questionnaire": "https://desk.example/Questionnaire/sharing",
        "item": [{"linkId": "1", "answer": [{"valueBoolean": True}]}],
        **more,
    }


def fast(provision: object = None, **more: object) -> dict[str, Any]:
    """A Consent as FASTConsent has it."""
    return consent(
        provision,
        **{
            "identifier": [{"system": "urn:desk", "value": "1"}],
            "patient": ANA,
            "performer": [ANA],
            "sourceReference": {"reference": "DocumentReference/scan-1"},
            **more,
        },
    )


def parameters(**given: dict[str, Any]) -> dict[str, Any]:
    """The operation's input: a resource where it has a type, a Reference otherwise."""
    members = {n: "resource" if "resourceType" in v else "valueReference" for n, v in given.items()}
    return {"resourceType": "Parameters", "parameter": [{"name": n, members[n]: v} for n, v in given.items()]}


async def file(clerk: RecorderClient, **given: dict[str, Any]) -> httpx.Response:
    return await clerk.send(
        "POST", "Consent/$fileConsent", parameters(**{"consent": fast(), "document": document()} | given)
    )


async def filed(clerk: RecorderClient, **given: dict[str, Any]) -> str:
    """Path of the Consent."""
    answer = await file(clerk, **given)
    assert answer.status_code == 200, answer.text
    return answer.headers["location"].removeprefix(f"{BASE}/").partition("/_history")[0]


async def revoke(clerk: RecorderClient, path: str, **given: dict[str, Any]) -> httpx.Response:
    given = {"consent": {"reference": path}, "patient": ANA} | given
    sent = parameters(**given)
    return await clerk.send("POST", "Consent/$revokeConsent", sent)
