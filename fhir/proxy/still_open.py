"""Asks again, before an answer leaves, what was asked before the upstream was: an upstream may have taken long.

Consents and tokens that end meanwhile end for this answer too (docs/leaks.md L62). Nobody waits for it where the
upstream was quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from fhir.proxy.access_records import record_of_refusal
from fhir.proxy.parts import ProxyParts, TokenRefusal
from fhir.proxy.request import ProxyRefusal, ProxyRequest
from fhir.r4.interaction import Interaction
from policies.decide import ReadPlan
from policies.model import Access

LATE: Final = timedelta(seconds=0.5)


def refused_token(found: TokenRefusal) -> ProxyRefusal:
    """The answer to a token that counts for nothing."""
    headers = ((b"www-authenticate", found.challenge("fhir").encode()),)
    return ProxyRefusal(found.status, "login", found.description, headers=headers)


async def check_still_open(
    parts: ProxyParts, request: ProxyRequest, interaction: Interaction, plans: Iterable[ReadPlan], since: datetime
) -> None:
    """Whether what was decided at `since` would be decided so now. Raises ProxyRefusal."""
    now = parts.clock()
    if now - since < LATE:
        return
    found = await parts.gate.still(request.token)
    if not isinstance(found, Access):
        raise refused_token(found)
    for plan in plans:
        if not await parts.plans.hold(plan, now):
            await parts.audit.record(record_of_refusal(request, found, interaction, now))
            text = "what this token opens changed while the answer was made; ask again"
            raise ProxyRefusal(503, "transient", text, headers=((b"retry-after", b"1"),))
