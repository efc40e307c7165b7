"""`authorization_details` as granted: what of them is open at this moment, and until when (RFC 9396 §7, §9)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from authz.authorize.asked_categories import asked_categories
from authz.context import AuthzContext
from authz.tokens.grants import OpenNow
from smart.consent_details import TYPE


def granted_details(
    context: AuthzContext, opened: OpenNow, scope: str, purpose: str, among: Collection[str] | None = None
) -> dict[str, Any]:
    """The member of an answer, or the claim; empty where the app didn't ask by details.

    `scope`: that of the token, which can be less than what the grant has. `among`: what the token holds, None for all.
    """
    if opened.categories is None:
        return {}
    touched = asked_categories(scope, context.catalogue, writes=True)
    within = opened.categories if among is None else context.catalogue.common(opened.categories, among)
    categories = list(context.catalogue.common(touched, within))
    element = {"type": TYPE, "locations": [context.fhir_base], "categories": categories, "purpose": purpose}
    if opened.until is not None:
        element["until"] = _instant(opened.until)
    return {"authorization_details": [element]}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
