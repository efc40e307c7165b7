"""The upstreams for `assent doctor`: whether each answers, what it turned out to be, and whether they fit together.

What is found is for the operator. The server relies on none of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from assent.settings import SINGLE_UPSTREAM, Settings, variable
from assent.upstream_settings import upstreams
from fhir.r4.definitions import Definitions, load_definitions
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.probe import Answer, Found, NoStatement, Question, probe
from fhir.upstream.same_people import compare_people
from fhir.upstream.upstreams import Upstream

log = structlog.get_logger("assent.upstream_checks")

Said = tuple[Literal["ok", "failed", "skipped"], str]
_TOLD: dict[Question, dict[Answer, str]] = {
    "count": {"yes": "bounds pages by `_count`", "no": "doesn't heed `_count`"},
    "elements": {"yes": "heeds `_elements`", "no": "doesn't heed `_elements`"},
    "refuses-unknown": {"yes": "refuses unknown parameters", "no": "ignores unknown parameters"},
    "narrows": {"yes": "narrows searches by patient"},
}


def upstream_checks(settings: Settings) -> list[tuple[str, Callable[[], Awaitable[Said]]]]:
    """A name and a check for each upstream, and one for all together where there are several."""
    names = list(settings.upstream_tables())
    if not names:
        return [("upstream", _none)]
    checks = [(_title(settings, name), _one(settings, name)) for name in names]
    if len(names) > 1:
        checks.append(("upstreams", lambda: _together(settings)))
    return checks


async def log_upstreams(settings: Settings) -> None:
    """Say in the log what the upstreams turned out to be; the server doesn't wait for it."""
    for name, look in upstream_checks(settings):
        try:
            state, text = await look()
        except Exception as error:  # a setting that can't work stops the start elsewhere, with its message
            state, text = "failed", type(error).__name__
        (log.warning if state == "failed" else log.info)("upstream_looked_at", upstream=name, state=state, found=text)


def _title(settings: Settings, name: str) -> str:
    return f"upstream {name}" if settings.upstreams else SINGLE_UPSTREAM


async def _none() -> Said:
    return "skipped", "no upstream is set; set ASSENT_UPSTREAM_URL, or use `assent sandbox`"


def _one(settings: Settings, name: str) -> Callable[[], Awaitable[Said]]:
    async def check() -> Said:
        behind = upstreams(settings)
        try:
            upstream = next(one for one in behind if one.name == name)
            return await describe(settings, upstream, load_definitions())
        finally:
            await behind.close()

    return check


async def describe(settings: Settings, upstream: Upstream, definitions: Definitions) -> Said:
    """The capability statement (FHIR R4 §3.1.0.9) and behaviour, asked for with the credentials that Assent uses."""
    try:
        found = await probe(upstream, definitions)
    except UpstreamFailure as failure:
        return "failed", _why(settings, upstream, failure)
    except NoStatement as missing:
        return "failed", f"`{upstream.base}/metadata` answers `{missing.status}`; it must be a FHIR R4 base URL"
    if not found.speaks_r4:
        return "failed", f"`{upstream.base}` speaks FHIR `{found.version}`; Assent needs R4 (4.0.1)"
    if found.does.get("narrows") == "no":
        return "failed", (
            f"`{upstream.base}` finds resources for a patient who isn't there: it ignores the `patient` parameter; "
            "nobody is shown more by that, but every search reads through everybody's data"
        )
    if found.does.get("links") == "no":
        return "failed", (
            f"`{upstream.base}` gives links to further pages that don't lead below that URL, so they aren't followed "
            "and every search with more than one page fails; have it give links by the URL at which it is asked, or "
            "set the URL that it gives"
        )
    return "ok", _said(upstream, found)


def _said(upstream: Upstream, found: Found) -> str:
    told = [texts[answer] for name, texts in _TOLD.items() if (answer := found.does.get(name, "unknown")) in texts]
    behaves = f"; it {', '.join(told)}" if told else ""
    return f"`{upstream.base}` speaks FHIR {found.version} and answered in {found.milliseconds} ms{behaves}"


def _why(settings: Settings, upstream: Upstream, failure: UpstreamFailure) -> str:
    auth, url = (f"`{key}` of `[upstreams.{upstream.name}]`" for key in ("auth", "url"))
    if not settings.upstreams:
        auth, url = variable("upstream_auth"), variable("upstream_url")
    if failure.status in (401, 403):
        return f"`{upstream.base}` answers `{failure.status}`; check {auth} and its credentials"
    status = "" if failure.status in (None, 200) else f" (`{failure.status}`)"
    return f"{failure.text}{status}; check {url}, now `{upstream.base}`"


async def _together(settings: Settings) -> Said:
    """Ids of patients must mean the same people everywhere."""
    behind = upstreams(settings)
    try:
        home = behind.source("Patient").place.name
        one = next(upstream for upstream in behind if upstream.name == home)
        compared = 0
        for other in (upstream for upstream in behind if upstream.name != home):
            both, different = await compare_people(one.client, other.client)
            compared += both
            if different:
                return "failed", (
                    f"of {both} patients whom `{home}` and `{other.name}` have, {different} are not the same person; "
                    "ids of patients must mean the same everywhere: don't serve these together"
                )
    finally:
        await behind.close()
    if not compared:
        return "ok", f"no patient of `{home}` could be compared: make sure that ids mean the same people everywhere"
    return "ok", f"{compared} patients compared: their ids mean the same people"
