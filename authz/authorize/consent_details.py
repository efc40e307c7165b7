"""What a request asks by `authorization_details`, held to its scopes and to what is registered (RFC 9396 §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from authz.authorize.asked_categories import asked_categories
from authz.clients.clients import Client
from authz.oauth_errors import OAuthError
from policies.catalogue import Catalogue
from smart.consent_details import AskedDetails, InvalidDetails, read_details


@dataclass(frozen=True, slots=True)
class ConsentDetails:
    """The bounds of a decision: a person is offered nothing beyond them, and nothing beyond them is ever opened."""

    categories: tuple[str, ...]
    """Codes, in the catalogue's order."""
    hours: int | None = None
    """The longest that it may last; None for no bound."""
    names_purpose: bool = False
    """Whether they say what for; that stands with the request."""

    def end(self, now: datetime) -> datetime | None:
        """The end of a grant that is made now."""
        return None if self.hours is None else now + timedelta(hours=self.hours)

    @property
    def row(self) -> dict[str, Any]:
        """As it is kept with a pending request."""
        return asdict(self)


def details_from_row(row: Mapping[str, Any]) -> ConsentDetails:
    """What `row` gave."""
    # A process of the release before may have kept it, without what that didn't know.
    return ConsentDetails(tuple(row["categories"]), row["hours"], row.get("names_purpose", False))


def asked_details(parameters: Mapping[str, str], catalogue: Catalogue, audience: str) -> AskedDetails | None:
    """What is asked besides scopes; None when nothing is. Raises OAuthError."""
    text = parameters.get("authorization_details")
    if text is None:
        return None
    try:
        return read_details(text, catalogue=catalogue, audience=audience)
    except InvalidDetails as wrong:
        raise _refused(str(wrong)) from wrong


def held_to_scope(asked: AskedDetails | None, scope: str, catalogue: Catalogue) -> ConsentDetails | None:
    """The bounds, within what the scopes ask for. Raises OAuthError when that is nothing."""
    if asked is None:
        return None
    touched = asked_categories(scope, catalogue, writes=True)
    categories = touched if asked.categories is None else catalogue.common(touched, asked.categories)
    if not any(category.code in categories for category in catalogue.everyday):
        # A sensitive category cuts across the others, so on its own it would open nothing.
        raise _refused("none of its categories, beside sensitive ones, is one for which the scopes ask")
    hours = None if asked.duration is None else asked.duration.hours
    return ConsentDetails(categories, hours, asked.purpose is not None)


def purpose_in(
    asked: AskedDetails | None, client: Client, parameters: Mapping[str, str], catalogue: Catalogue
) -> str | None:
    """The purpose that the details name, of those registered for the app. Raises OAuthError."""
    if asked is None or asked.purpose is None:
        return None
    if asked.purpose not in client.purposes or asked.purpose not in catalogue.askable:
        raise _refused("its `purpose` is not one that is registered for this app")
    if parameters.get("purpose_of_use", asked.purpose) != asked.purpose:
        raise _refused("its `purpose` is another one than `purpose_of_use`")
    return asked.purpose


def _refused(why: str) -> OAuthError:
    return OAuthError("invalid_authorization_details", f"`authorization_details` can't be taken: {why}")
