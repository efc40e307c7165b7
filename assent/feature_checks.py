"""Checks by `assent doctor` of what is off unless the operator switched it on: writes, emergencies, statements, e-mail.

A feature that is off has no check. Nothing is changed by looking: an upstream is never written to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Set
from typing import Final, Literal

from assent.client_addresses import key_addresses
from assent.mail.transport import MailServerUnusable, smtp_transport
from assent.policy_files import load_catalogue
from assent.settings import SINGLE_UPSTREAM, Settings, variable
from assent.statement_issuers import load_statements
from assent.upstream_settings import upstreams
from authz.clients.key_fetch import KeyFetcher, KeysUnavailable
from authz.clients.key_sets import ALGORITHMS
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.upstreams import Upstream
from fhir.upstream.versioning_said import versioning_said
from policies.purpose_of_use import BREAK_GLASS
from smart.scope_syntax import split_scope

Said = tuple[Literal["ok", "failed", "skipped"], str]
_NOT_KNOWN: Final = "whether it does can't be known without writing"
_MOST_NAMED: Final = 5


def feature_checks(settings: Settings) -> list[tuple[str, Callable[[], Awaitable[Said]]]]:
    """A name and a check for each feature that is on."""
    found: list[tuple[str, Callable[[], Awaitable[Said]]]] = []
    if settings.upstream_writes:
        for name in settings.upstream_tables():
            title = f"writes {name}" if settings.upstreams else "writes"
            found.append((title, _writes(settings, name)))
    if settings.emergency_access:
        found.append(("emergency", lambda: _emergency(settings)))
    if settings.statement_issuers_file is not None:
        found.append(("statements", lambda: _statements(settings)))
    if settings.mail_url is not None:
        found.append(("mail", lambda: _mail(settings)))
    return found


def _writes(settings: Settings, name: str) -> Callable[[], Awaitable[Said]]:
    async def check() -> Said:
        table = settings.upstream_tables()[name]
        scopes = split_scope(table.scope)[1]
        if table.auth == "backend-services" and not any(set("cud") & set(scope.permissions) for scope in scopes):
            key = variable("upstream_scope") if name == SINGLE_UPSTREAM else f"`scope` of `[upstreams.{name}]`"
            return "failed", (
                f"apps may write, but {key} is `{table.scope}`, which asks `{table.url}` for reading alone; "
                "widen it, such as to `system/*.cruds`"
            )
        behind = upstreams(settings)
        try:
            upstream = next(one for one in behind if one.name == name)
            others = {kind for one in behind if one is not upstream for kind in one.types or ()}
            return await _versions(upstream, others)
        except UpstreamFailure as failure:
            return "failed", f"`{table.url}` can't be asked whether it keeps versions: {failure.text}"
        finally:
            await behind.close()

    return check


async def _versions(upstream: Upstream, others: Set[str]) -> Said:
    """By what it says of itself; INVARIANT: nothing is written to find out. `others`: types that are kept elsewhere."""
    answer = await upstream.client.get("metadata", ())
    said = versioning_said(answer.body) if answer.status == 200 else {}
    mine = {kind: how for kind, how in said.items() if kind in (upstream.types or said.keys() - others)}
    without = sorted(kind for kind, how in mine.items() if how == "no-version")
    if without:
        return "failed", (
            f"`{upstream.base}` says that it keeps no versions of {_named(without)}: what somebody else wrote "
            "in the meantime would be lost; don't let apps write there"
        )
    if not mine or len(mine) == Counter(mine.values())[""]:
        return "ok", f"`{upstream.base}` doesn't say whether it heeds `If-Match`: make sure that it does"
    unsaid = sorted(kind for kind, how in mine.items() if how != "versioned-update")
    if unsaid:
        return "ok", (
            f"`{upstream.base}` doesn't say of {_named(unsaid)} that it heeds `If-Match` (`versioned-update`): "
            "make sure that it does"
        )
    return (
        "ok",
        f"`{upstream.base}` says of {len(mine)} types that it heeds `If-Match` (`versioned-update`); {_NOT_KNOWN}",
    )


def _named(kinds: list[str]) -> str:
    more = len(kinds) - _MOST_NAMED
    return ", ".join(f"`{kind}`" for kind in kinds[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


async def _emergency(settings: Settings) -> Said:
    catalogue = load_catalogue(settings.policy_dir)
    if BREAK_GLASS not in catalogue.purposes:
        return "failed", (
            f"{variable('emergency_access')} is on, but the catalogue has no purpose `{BREAK_GLASS}`, so nobody is "
            "offered it; add one to `categories.yaml` of the policy folder, with a mask"
        )
    closed = ", ".join(f"`{category.code}`" for category in catalogue.closed_in_emergency if category.sensitive)
    return "ok", f"clinicians may open records for `{BREAK_GLASS}`; closed then too: {closed or 'nothing'}"


async def _statements(settings: Settings) -> Said:
    """The file, and whether the keys of each issuer can be had. Raises StatementIssuersError."""
    trusted = load_statements(settings)
    fetcher = KeyFetcher(key_addresses(settings), timeout=5.0, algorithms=ALGORITHMS)
    try:
        for issuer in trusted.issuers:
            if issuer.jwks_uri is not None and not (await fetcher.fetch(issuer.jwks_uri, None)).keys:
                return "failed", f"issuer `{issuer.issuer}` has no keys at `{issuer.jwks_uri}` that can sign statements"
    except KeysUnavailable as failed:
        return "failed", f"the keys of `{issuer.issuer}` can't be had at `{issuer.jwks_uri}` (`{failed.reason}`)"
    finally:
        await fetcher.close()
    if not trusted.are_taken:
        return "ok", f"`{settings.statement_issuers_file}` names nobody: no statement is taken"
    names = ", ".join(f"`{issuer.issuer}`" for issuer in trusted.issuers)
    return "ok", f"statements by {names} are taken, and the keys of each can be had"


async def _mail(settings: Settings) -> Said:
    """Whether the mail server lets Assent in. No letter is sent. Raises NamedFileError."""
    transport = smtp_transport(settings)
    if transport is None:
        return "skipped", "no mail server is set"
    try:
        await transport.check()
    except MailServerUnusable as unusable:
        return "failed", f"`{settings.mail_url}` {unusable}"
    signed_in = " and takes the password" if settings.mail_username else ""
    return "ok", (
        f"`{settings.mail_url}` answers{signed_in}; "
        f"whether it takes letters from `{settings.mail_from}` shows when one is sent"
    )
