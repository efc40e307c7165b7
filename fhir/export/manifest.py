"""What a client is told of its export: how far it is, and where its files are (Bulk Data Access 2.0, status request).

It follows from what was asked alone: one file for each type, whatever the upstream has of it and in however many
files. So neither what is withheld nor how much of it there is can be seen here (docs/leaks.md L41).
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

import msgspec

from fhir.export.jobs import Finished, Job

Headers = tuple[tuple[bytes, bytes], ...]


def job_url(base: str, job_id: str) -> str:
    """Where a client asks for its job."""
    return f"{base}/$export/{job_id}"


def progress_headers(job: Job, now: datetime) -> Headers:
    """For 202: when to ask again, by the age of the job alone, and nothing of what the upstream says of it."""
    age = int((now - job.created_at).total_seconds())
    return ((b"x-progress", b"in progress"), (b"retry-after", str(min(60, max(1, age // 10))).encode()))


def expiry_header(job: Job) -> Headers:
    """How long the files can be had."""
    return ((b"expires", format_datetime(job.expires_at.replace(microsecond=0), usegmt=True).encode()),)


def manifest(base: str, job: Job, finished: Finished) -> bytes:
    """The manifest as JSON. Numbers of resources aren't known, and would tell of what is withheld."""
    files = [{"type": kind, "url": f"{job_url(base, job.id)}/{kind}.ndjson"} for kind in job.types]
    told = {
        "transactionTime": finished.transaction_time,
        "request": job.request,
        "requiresAccessToken": True,
        "output": files,
        "error": [],
    }
    return msgspec.json.encode(told)
