"""The records of 50 Synthea patients, as gzipped NDJSON by resource type, and how they get into a foreign server.

They aren't part of this repository: `ASSENT_SYNTHEA_DIR` says where they are, else a `shared/data/synthea` beside it.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 200
"""Resources in one transaction: large enough to be quick, small enough for any server's default limits."""

FIRST = ("Organization", "Practitioner", "Patient", "Encounter")
"""Types that others refer to; the rest follows in any order."""


class RecordsUnavailable(Exception):
    """The records aren't on this machine; the text says where they were looked for."""


def records_dir() -> Path:
    """The directory of the records; raises `RecordsUnavailable`."""
    directory = Path(os.environ.get("ASSENT_SYNTHEA_DIR", ROOT.parent / "shared" / "data" / "synthea"))
    if not (directory / "Patient.ndjson.gz").is_file():
        raise RecordsUnavailable(f"no Synthea records in `{directory}`; set ASSENT_SYNTHEA_DIR to where they are")
    return directory


def types(directory: Path) -> list[str]:
    """Resource types for which there are records, those first that others refer to."""
    found = sorted(path.name.removesuffix(".ndjson.gz") for path in directory.glob("*.ndjson.gz"))
    return [name for name in FIRST if name in found] + [name for name in found if name not in FIRST]


def records(directory: Path, resource_type: str) -> Iterator[dict[str, Any]]:
    """The resources of one type."""
    with gzip.open(directory / f"{resource_type}.ndjson.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def load(base_url: str, directory: Path) -> int:
    """Put every record, under its own id, into the FHIR server at `base_url`; answers how many there were."""
    with (
        httpx.Client(base_url=base_url, timeout=120, headers={"Content-Type": "application/fhir+json"}) as client,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        loaded = 0
        for resource_type in types(directory):
            transactions = _transactions(records(directory, resource_type))
            loaded += sum(pool.map(lambda entries: _post(client, entries), transactions))
        return loaded


def _transactions(resources: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chosen := list(islice(resources, ENTRIES)):
        yield chosen


def _post(client: httpx.Client, resources: list[dict[str, Any]]) -> int:
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    answer.raise_for_status()
    refused = [
        entry["response"] for entry in answer.json()["entry"] if not entry["response"]["status"].startswith("20")
    ]
    if refused:
        raise AssertionError(f"the foreign server refused {len(refused)} resources, the first with {refused[0]}")
    return len(entries)
