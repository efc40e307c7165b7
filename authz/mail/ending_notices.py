"""Tells people in advance that sharing ends, once for each end, so that they can renew it."""

from __future__ import annotations

from typing import Final

from sqlalchemy.dialects.postgresql import insert

from authz.context import AuthzContext
from authz.mail.notices import app_named_in
from authz.mail.tables import mail_ending_told
from fhir.consents.ending_consents import ending_consents

_AT_ONCE: Final = 200


async def tell_of_endings(context: AuthzContext) -> int:
    """Write the letters about what ends soon; how many ends were looked at. Of several processes one tells."""
    looked = 0
    while True:
        async with context.engine.begin() as connection:
            now = context.clock()
            found = await ending_consents(context.repository, connection, mail_ending_told, now, _AT_ONCE)
            for consent in found:
                new = insert(mail_ending_told).values(consent_id=consent.id, ends_at=consent.ends)
                first = (await connection.execute(new.on_conflict_do_nothing())).rowcount
                if first and consent.worth_telling and consent.content.get("provision", {}).get("type") == "permit":
                    patient, app = consent.patient, app_named_in(consent.content)
                    await context.notices.about_sharing(connection, patient, "sharing-ends", app, now)
        looked += len(found)
        if len(found) < _AT_ONCE:
            return looked
