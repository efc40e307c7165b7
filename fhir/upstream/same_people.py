"""Whether an id of a patient means the same person at two upstreams: a sample of birth dates, compared and forgotten.

Assent takes a reference to `Patient/p1` for the same patient wherever it stands, so several upstreams must share the
ids of patients. They can't be made to by looking; that they don't, can be seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from fhir.upstream.client import UpstreamClient
from fhir.upstream.failure import UpstreamFailure

SAMPLE: Final = 5
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class _Patient(msgspec.Struct):
    resourceType: str = ""  # noqa: N815  # FHIR's own spelling
    id: str = ""
    birthDate: str = ""  # noqa: N815


class _Entry(msgspec.Struct):
    resource: _Patient = msgspec.field(default_factory=_Patient)


class _Page(msgspec.Struct):
    entry: list[_Entry] = []


async def compare_people(one: UpstreamClient, other: UpstreamClient) -> tuple[int, int]:
    """Of a few patients of one upstream: how many the other one has too, and how many of these are somebody else.

    Who can't be asked about isn't counted.
    """
    both = different = 0
    for patient in await _sample(one):
        theirs = await _read(other, patient.id)
        if theirs is not None and theirs.birthDate and patient.birthDate:
            both += 1
            different += theirs.birthDate != patient.birthDate
    return both, different


async def _sample(client: UpstreamClient) -> Sequence[_Patient]:
    try:
        answer = await client.get("Patient", [("_count", str(SAMPLE))])
        page = msgspec.json.decode(answer.body, type=_Page)
    except (UpstreamFailure, msgspec.DecodeError):
        return ()
    found = [entry.resource for entry in page.entry[:SAMPLE]]
    return [p for p in found if p.resourceType == "Patient" and _ID.fullmatch(p.id) and p.id not in (".", "..")]


async def _read(client: UpstreamClient, patient_id: str) -> _Patient | None:
    try:
        answer = await client.get(f"Patient/{patient_id}", ())
        return msgspec.json.decode(answer.body, type=_Patient) if answer.status == 200 else None
    except (UpstreamFailure, msgspec.DecodeError):
        return None
