"""`assent explain`: a decision and the chain of its reasons, for a token or a consent and one interaction."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
import typer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.commands.connection import command_engine, now, refuse
from assent.commands.consent import consent_id, misused, patient_id
from assent.commands.output import NO, JsonOption, show_record, show_rows
from assent.explained_resource import Found, found_of
from assent.explanation import Explanation, Rules, explain_plan, name_of
from assent.interaction_explanation import explain_interaction
from assent.load_settings import load_settings
from assent.migrate import SCHEMA
from assent.policy_files import load_catalogue
from assent.sandbox_mode.upstream import SCHEMA as SANDBOX_SCHEMA
from assent.secret_file import secret_for
from assent.settings import Settings
from assent.upstream_settings import upstreams
from authz.consents.access import NamesNobody, NotRegistered, access_asked, why_not_live
from authz.consents.explain_request import PERSONS, is_person
from authz.tokens.access_tokens import MAX_TOKEN, AccessTokens, TokenRefused
from authz.tokens.gate import TokenGate
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal
from fhir.consents.directory import Directory
from fhir.consents.directory_lookup import DirectoryLookup
from fhir.consents.reading import read_consent
from fhir.consents.register import ConsentRegister, StoredConsents, TooManyConsents
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.r4.asked_interaction import NAMES, UnfitQuestion, asked_interaction
from fhir.r4.definitions import Definitions, load_definitions
from fhir.r4.interaction import Interaction
from fhir.r4.own_types import OWN_TYPES
from fhir.store.change_bus import ChangeBus
from fhir.store.repository import Repository
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import OwnSource, Source, read_if_given
from fhir.upstream.upstreams import TypeNotServed
from policies.decide import users_of
from policies.model import Access, Reason

_NO_UPSTREAM: Final = "no upstream answers for `{}`; name it in `types` of one"
_NO_DATA: Final = "there is no upstream to read from; set ASSENT_UPSTREAM_URL, or run `assent sandbox` once"


class CannotExplain(Exception):
    """There is nothing to decide about; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asks: whose access, and which interaction."""

    token: str | None
    consent: str | None
    patient: str | None
    """Of whom it is asked, for a service's token."""
    interaction: Interaction
    parameters: tuple[tuple[str, str], ...] = ()
    client: str = ""
    purpose: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """What answers it."""

    settings: Settings
    engine: AsyncEngine
    definitions: Definitions
    repository: Repository
    bus: ChangeBus


def explain_command(
    token: Annotated[str | None, typer.Option(metavar="-", help="`-`: the token is on standard input.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File that holds the token.")] = None,
    consent: Annotated[str | None, typer.Option(metavar="ID", help="A consent, instead of a token.")] = None,
    patient: Annotated[str | None, typer.Option(metavar="ID", help="Of whom, for a service's token.")] = None,
    read: Annotated[str | None, typer.Option(metavar="TYPE/ID", help="The resource that is read.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TYPE?QUERY", help="The search that is asked.")] = None,
    interaction: Annotated[str | None, typer.Option(metavar="NAME", help=f"Any of {', '.join(NAMES)}.")] = None,
    about: Annotated[str | None, typer.Option(metavar="TYPE[/ID]", help="What the interaction is about.")] = None,
    client: Annotated[str, typer.Option(metavar="ID", help="With --consent: another app than it names.")] = "",
    purpose: Annotated[str, typer.Option(metavar="CODE", help="With --consent: the purpose of use.")] = "",
    user: Annotated[str, typer.Option(metavar="TYPE/ID", help="With --consent: the person behind the app.")] = "",
    json: JsonOption = False,
) -> None:
    """Say what a token or a consent opens, and why. Exit code 0 when it is permitted, 1 when it is denied."""
    if token not in (None, "-"):
        raise misused(
            "a token in an argument can be seen by every process here and stays in the shell's history; "
            "use `--token -` (standard input) or `--token-file`"
        )
    if [token, token_file, consent].count(None) != 2:
        raise misused("give one of `--token -`, `--token-file` and `--consent`")
    if consent is None and (client or purpose or user):
        raise misused("`--client`, `--purpose` and `--user` go with `--consent`: a token says its own")
    if user and not is_person(user):
        raise misused(f"`--user` takes `Type/id`, of {', '.join(PERSONS)}")
    asked, parameters = _interaction(read, search, interaction, about)
    text_of_token = None if consent is not None else _token(token_file)
    question = Question(
        text_of_token,
        None if consent is None else consent_id(consent),
        None if patient is None else patient_id(patient),
        asked,
        parameters,
        client,
        purpose,
        user,
    )
    settings = load_settings()
    try:
        explanation = asyncio.run(_answer(settings, question))
    except (CannotExplain, UpstreamFailure, TooManyConsents, ValueError) as failed:
        raise refuse(str(failed)) from None
    _show(explanation, as_json=json)
    if explanation.decision == "deny":
        raise typer.Exit(NO)


def _interaction(
    read: str | None, search: str | None, name: str | None, about: str | None
) -> tuple[Interaction, tuple[tuple[str, str], ...]]:
    """`--read` and `--search` are short for what is asked most."""
    if [read, search, name].count(None) != 2 or (name is None) is not (about is None):
        raise misused("give one of `--read Type/id`, `--search 'Type?query'` and `--interaction NAME --about Type/id`")
    place, _, query = (search or "").partition("?")
    if read is not None:
        place, name = read, "vread" if "/_history/" in read else "read"
    try:
        found = asked_interaction(name or "search-type", about or place)
    except UnfitQuestion as unfit:
        raise misused(str(unfit)) from None
    if read is not None and not found.id:
        raise misused("`--read` takes `Type/id`, such as `Condition/c1`")
    return found, tuple(parse_qsl(query, keep_blank_values=True))


def _token(file: Path | None) -> str:
    """The token's text; a longer one than a token can be isn't read to its end."""
    if file is None:
        return sys.stdin.read(MAX_TOKEN + 2).strip()
    try:
        with file.open(encoding="ascii") as reader:
            return reader.read(MAX_TOKEN + 2).strip()
    except (OSError, UnicodeDecodeError):
        raise misused(f"`{file}` can't be read as a token") from None


async def _answer(settings: Settings, question: Question) -> Explanation:
    definitions = load_definitions()
    catalogue = load_catalogue(settings.policy_dir)
    facts = FactsReader(definitions, catalogue, upstream_bases=_bases(settings))
    rules = Rules(catalogue, definitions, Masks(catalogue, definitions), facts, f"{settings.public_url}/fhir")
    rules = replace(rules, writes=settings.upstream_writes)
    async with command_engine(settings) as engine:
        repository = Repository(engine, definitions, schema=SCHEMA, clock=now)
        # A bus that isn't started isn't healthy: token and consents are asked of the database, as a server does then.
        bus = ChangeBus(engine.url.render_as_string(hide_password=False))
        bench = Bench(settings, engine, definitions, repository, bus)
        at = now()
        access, said, named = await (_of_consent(bench, question) if question.consent else _of_token(bench, question))
        interaction = question.interaction
        if access is None:
            return Explanation(name_of(interaction), "deny", said)
        register = ConsentRegister(StoredConsents(repository), bus)
        patient = _patient(access, question.patient or named)
        consents = () if patient is None else await register.rules(patient)
        async with _sources(bench) as source_of:
            lookup = DirectoryLookup(source_of, _bases(settings))
            directory = Directory(lookup, now, timedelta(seconds=settings.directory_seconds))
            knowledge = await directory.knowledge(consents, users_of(access))
            plan, so_far = explain_plan(rules, access, interaction, patient, consents, at, knowledge)
            so_far = Explanation(so_far.interaction, so_far.decision, (*said, *so_far.reasons))
            if plan is None:
                return so_far

            async def read(kind: str, id: str, version: str) -> Found:
                body = await read_if_given(source_of(kind), kind, id, version)
                return await found_of(facts, source_of, kind, body)

            try:
                return await explain_interaction(rules, plan, so_far, interaction, question.parameters, read)
            except TypeNotServed:
                kind = interaction.resource_type
                raise CannotExplain(_NO_UPSTREAM.format(kind) if _bases(settings) else _NO_DATA) from None


def _patient(access: Access, asked: str | None) -> str | None:
    """Whose consents decide. Raises CannotExplain."""
    if access.is_service and asked is None:
        raise CannotExplain("the token is a service's own; say with `--patient` of whose data you ask")
    if not access.is_service and asked not in (None, access.patient):
        raise CannotExplain("the token is no service's: it is good for the patient in its context only")
    return asked if access.is_service else access.patient


_Whose = tuple[Access | None, tuple[Reason, ...], str | None]
"""An access, where it comes from, and the patient whom a consent names for a service's."""


async def _of_token(bench: Bench, question: Question) -> _Whose:
    """The token as the server sees it: its signature and claims, then whether it is live."""
    keys = SigningKeys(bench.engine, await secret_for(bench.settings, bench.engine), now)
    await keys.reload()
    issuer = bench.settings.public_url
    tokens = AccessTokens(keys, issuer=issuer, audience=f"{issuer}/fhir", clock=now)
    token = question.token or ""
    if isinstance(tokens.verify(token), TokenRefused):
        text = f"the token has expired, or is not one that `{issuer}` (ASSENT_PUBLIC_URL) signed for its FHIR base"
        return None, (Reason("token", text),), None
    live = await TokenGate(tokens, bench.engine, bench.bus, now).live(token)
    if isinstance(live, TokenRefused):
        return None, (Reason("token", "the token, its grant or its app has been revoked or disabled"),), None
    access, claims = live
    until = datetime.fromtimestamp(access.expires_at, now().tzinfo).isoformat()
    return access, (Reason("token", f"the token is valid until `{until}`", str(claims["scope"])),), None


async def _of_consent(bench: Bench, question: Question) -> _Whose:
    """The access of the app that the consent names, or of the one that is asked about."""
    consent = question.consent or ""
    stored = await bench.repository.read("Consent", consent)
    if stored is None or stored.deleted:
        raise CannotExplain(f"there is no consent `{consent}`; see `assent consent list`")
    content: dict[str, Any] = msgspec.json.decode(stored.body)
    rule = read_consent(content)
    async with bench.engine.connect() as connection:
        try:
            access, told = await access_asked(connection, rule, question.client, question.purpose, question.user)
        except NotRegistered as unknown:
            raise CannotExplain(f"`--{unknown}` is none that is registered for that app, or no app's") from None
        except NamesNobody:
            text = f"the consent `{consent}` names no app or no patient, so it says nothing about any access"
            raise CannotExplain(text) from None
        dead = await why_not_live(connection, access.client_id)
    said = (Reason("consent", f"its status is `{content.get('status')}`", rule.reference), told)
    if dead is not None:
        return None, (*said, dead), None
    return access, said, rule.patient if access.is_service else None


@asynccontextmanager
async def _sources(bench: Bench) -> AsyncIterator[Callable[[str], Source]]:
    """Where resources of a type are. The sandbox's upstream has an address for its own process only: its schema."""
    own = OwnSource(bench.repository, AuditIndexing(AuditJournal(bench.engine, schema=SCHEMA), bench.repository).settle)
    behind = upstreams(bench.settings) if bench.settings.upstream_tables() else None
    sandbox = None
    if behind is None and await _has_sandbox(bench.engine):
        sandbox = OwnSource(Repository(bench.engine, bench.definitions, schema=SANDBOX_SCHEMA, clock=now))

    def source_of(kind: str) -> Source:
        if kind in OWN_TYPES:
            return own
        if behind is not None:
            return behind.source(kind)
        if sandbox is None:
            raise TypeNotServed
        return sandbox

    try:
        yield source_of
    finally:
        if behind is not None:
            await behind.close()


def _bases(settings: Settings) -> tuple[str, ...]:
    return tuple(table.url for table in settings.upstream_tables().values())


async def _has_sandbox(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        found = await connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{SANDBOX_SCHEMA}.fhir_resource"})
    return found is not None


def _show(explanation: Explanation, *, as_json: bool) -> None:
    if as_json:
        show_record(asdict(explanation), as_json=True)
        return
    typer.echo(f"{explanation.decision}: {explanation.interaction}")
    show_rows([asdict(reason) for reason in explanation.reasons], ("rule", "text", "source"), as_json=False)
    told = {"removed": explanation.removed, "masked": explanation.masked, "upstream": explanation.upstream}
    show_record({name: value for name, value in told.items() if value}, as_json=False)
