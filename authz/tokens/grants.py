"""Grants: what hangs on one decision. Codes, refresh and access tokens hang on a grant, a grant on a consent: the one
that its patient made with it, or, for a clinician, all that the patient has made for the app
(authz.consents.standing_consents).

RFC 6749 §4.1, §6; RFC 9700 §4.14 (refresh token rotation). What a grant opens is asked of the consents each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.authorize.requests import PendingRequest
from authz.consents.standing_consents import standing_rules
from authz.opaque_secret import hash_of, new_secret
from authz.sign_in.methods import SignInMethods
from fhir.r4.interaction import NOT_WRITTEN
from fhir.store.change_bus import announce
from fhir.store.repository import Repository
from policies.catalogue import Catalogue, Category
from policies.consent_evaluation import Circumstances, applicable
from policies.consent_rule import ConsentRule
from policies.decide import grantee_of
from policies.emergency import emergency_rule
from policies.memberships import Knowledge
from policies.model import Scope
from policies.open_categories import open_categories
from policies.purpose_of_use import BREAK_GLASS
from policies.residual import ResidualRule, residual_rules
from smart.app_state import apart
from smart.scope_intersection import granted_scopes, granted_with_writes
from smart.scope_syntax import format_as_asked, split_scope


@dataclass(frozen=True, slots=True)
class Grant:
    """One decision's grant."""

    id: str
    client_id: str
    user_id: str
    patient_id: str | None
    scope_asked: str
    purpose: str
    consent_id: str | None
    standing: bool
    """Hangs on all the patient's consents for the app, not on one."""
    offline: bool
    nonce: str | None
    launch: Mapping[str, Any] | None
    """What the EHR said about the launch, as in authz.authorize.launch_context_body."""
    categories: tuple[str, ...] | None
    """Codes of the data categories to which `authorization_details` hold it; None where the app sent none."""
    auth_time: datetime
    methods: SignInMethods
    ends: datetime | None
    """When it ends by itself; None when it doesn't."""
    revoked: bool
    fhir_user: str | None
    """The person's, relative to the FHIR base; None for who is no FHIR resource."""
    display_name: str
    """The person's."""

    def is_over(self, now: datetime) -> bool:
        """Whether it was revoked, or ended by itself."""
        return self.revoked or (self.ends is not None and self.ends <= now)

    @property
    def users(self) -> frozenset[str]:
        """Names of the person, for consents."""
        return frozenset() if self.fhir_user is None else frozenset({self.fhir_user})

    @property
    def in_emergency(self) -> bool:
        """Given to a clinician in an emergency (authz.consents.emergency_access); hangs on no consent."""
        return self.purpose == BREAK_GLASS


_READ: Final = ("categories", "methods", "ends", "revoked")
"""What isn't in the row as it is in the grant."""
_COLUMNS: Final = tuple(field for field in fields(Grant) if field.name not in _READ)


@dataclass(frozen=True, slots=True)
class OpenNow:
    """What a grant opens at this moment."""

    scope: str
    """Session scopes and the clinical ones that consent leaves, as SMART v2 scopes."""
    clinical: tuple[Scope, ...]
    consents: tuple[str, ...]
    """References with version."""
    policies: tuple[str, ...] = ()
    """URIs of the policies on which these are built."""
    residual: tuple[ResidualRule, ...] = ()
    """What is kept back of what the scopes name, for gateways that enforce it."""
    categories: tuple[str, ...] | None = None
    """Of those to which the grant is held, the ones of which something is open; None where it is held to none."""
    until: datetime | None = None
    """The end that is known for a grant that is held to categories; None where it has none."""


async def create_grant(
    connection: AsyncConnection,
    request: PendingRequest,
    *,
    user_id: str,
    consent_id: str | None,
    standing: bool = False,
    auth_time: datetime,
    methods: SignInMethods,
    now: datetime,
    code_lifetime: timedelta,
    ends: datetime | None = None,
) -> tuple[str, str]:
    """Store the grant and its authorization code; returns its id and the code."""
    grant_id, code = new_secret()[:22], new_secret()
    details = request.details
    bounds = (ends, None if details is None else details.end(now))
    session, _, _ = split_scope(request.scope)
    await connection.execute(
        insert(tables.grant).values(
            id=grant_id,
            client_id=request.client.client_id,
            user_id=user_id,
            patient_id=request.patient_id,
            scope_asked=request.scope,
            purpose=request.purpose,
            consent_id=consent_id,
            standing=standing,
            launch=request.launch,
            categories=None if details is None else list(details.categories),
            offline="offline_access" in session or "online_access" in session,
            nonce=request.nonce,
            auth_time=auth_time,
            amr=list(methods.amr),
            acr=methods.acr,
            created_at=now,
            expires_at=min((end for end in bounds if end is not None), default=None),
        )
    )
    await connection.execute(
        insert(tables.authorization_code).values(
            code_hash=hash_of(code),
            grant_id=grant_id,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            dpop_jkt=request.dpop_jkt,
            expires_at=now + code_lifetime,
        )
    )
    return grant_id, code


def grant_rows() -> Select[Any]:
    """All grants, as `grant_from_row` reads them."""
    g, account = tables.grant, tables.user_account
    return select(g, account.c.fhir_user, account.c.display_name).join(account, account.c.id == g.c.user_id)


async def find_grant(connection: AsyncConnection, grant_id: str) -> Grant | None:
    """One grant."""
    row = (await connection.execute(grant_rows().where(tables.grant.c.id == grant_id))).first()
    return None if row is None else grant_from_row(row._mapping)


async def revoke_grants(connection: AsyncConnection, now: datetime, *conditions: Any) -> list[str]:
    """End the grants that match; everything that hangs on them counts for nothing from now on. Returns their ids."""
    g = tables.grant
    ended = (
        update(g).where(g.c.revoked_at.is_(None), *conditions).values(revoked_at=func.coalesce(g.c.revoked_at, now))
    ).returning(g.c.id)
    ids = list((await connection.execute(ended)).scalars())
    for grant_id in ids:
        await announce(connection, "grant", grant_id)
    return ids


def open_now(
    rules: Sequence[ConsentRule],
    catalogue: Catalogue,
    grant: Grant,
    now: datetime,
    knowledge: Knowledge,
    *,
    writes: bool = False,
) -> OpenNow | None:
    """What the consents leave of what was asked; None when what the grant hangs on is gone.

    `rules`: all that the patient has decided, as for a read: another consent may deny what this one opens. `writes`:
    whether this server lets apps write at all.
    """
    session, asked, _ = split_scope(grant.scope_asked)
    clinical, state = apart(asked)
    if not clinical or grant.standing or grant.in_emergency:
        # What an app keeps about a patient hangs on what that patient shares with it by a decision of their own.
        state = tuple(scope for scope in state if scope.context == "user")
    if not clinical:
        return OpenNow(_text(session, state, grant), state, ())
    if grant.patient_id is None:
        return None
    around = Circumstances(
        grant.patient_id,
        frozenset({grantee_of(grant.client_id)}),
        grant.purpose,
        now,
        users=grant.users,
        memberships=knowledge.askers,
        authorships=knowledge.authors,
        links=knowledge.links,
        categories=catalogue.codes,
        wholes=catalogue.wholes,
        within=None if grant.categories is None else frozenset(grant.categories),
    )
    if not (grant.standing or grant.in_emergency) and grant.consent_id not in {r.id for r in applicable(rules, around)}:
        return None  # the decision on which it hangs is over, whatever else the patient has decided
    opened = tuple(_shown(c, grant.purpose, catalogue) for c in open_categories(rules, around, catalogue))
    if not any(not c.always and not c.sensitive for c in opened):
        return None
    everyday = [c for c in catalogue.categories.values() if c.scopes]
    # Who consented for a clinician's use of an app wasn't asked whether that clinician may change the record; nor was
    # anybody in an emergency.
    if writes and not grant.standing and not grant.in_emergency:
        granted = {"rs": opened} | {
            letters: tuple(map(_written, open_categories(rules, replace(around, writes=action), catalogue)))
            for letters, action in (("c", "collect"), ("ud", "correct"))
        }
        kept = granted_with_writes(clinical, granted, everyday)
    else:
        kept = granted_scopes(clinical, opened, everyday)
    left = (*kept, *state)
    spoke = tuple(rule for rule in applicable(rules, around) if rule.kind == "consent")
    found = OpenNow(
        _text(session, left, grant),
        left,
        tuple(rule.reference for rule in spoke),
        policies=tuple(dict.fromkeys(uri for rule in spoke for uri in rule.policies)),
        residual=residual_rules(rules, around, catalogue, opened),
    )
    if grant.categories is None:
        return found
    held = catalogue.common(grant.categories, (category.code for category in opened))
    return replace(found, categories=held, until=_until(spoke, grant))


def _until(spoke: Sequence[ConsentRule], grant: Grant) -> datetime | None:
    """The end of the grant, or of the decision on which it hangs, whichever comes first."""
    own = [end for rule in spoke if rule.id == grant.consent_id for end in (rule.period.end, rule.root.period.end)]
    return min((end for end in (grant.ends, *own) if end is not None), default=None)


def _shown(category: Category, purpose: str, catalogue: Catalogue) -> Category:
    """The category without types of which the purpose's mask shows nothing."""
    lines = tuple(line for line in category.scopes if catalogue.mask(purpose, line.resource_type) is not None)
    return category if len(lines) == len(category.scopes) else replace(category, scopes=lines)


def _written(category: Category) -> Category:
    """The category without what no app writes."""
    lines = () if category.always else category.scopes
    return replace(category, scopes=tuple(line for line in lines if line.resource_type not in NOT_WRITTEN))


def _text(session: Sequence[str], scopes: Sequence[Scope], grant: Grant) -> str:
    return " ".join(part for part in (*session, format_as_asked(scopes, grant.scope_asked)) if part)


async def emergency_rules(
    connection: AsyncConnection, repository: Repository, catalogue: Catalogue, patient_id: str
) -> tuple[ConsentRule, ...]:
    """The patient's active consents and the operator's rule; none when there are more consents than can be judged."""
    consents = await standing_rules(connection, repository, patient_id)
    return () if consents is None else (*consents, emergency_rule(patient_id, catalogue))


def grant_from_row(row: Mapping[str, Any]) -> Grant:
    """A row of `grant_rows` as a grant."""
    kept = {field.name: row[field.name] for field in _COLUMNS}
    methods = SignInMethods(tuple(row["amr"]), row["acr"])
    categories = None if row["categories"] is None else tuple(row["categories"])
    return Grant(
        **kept, categories=categories, methods=methods, ends=row["expires_at"], revoked=row["revoked_at"] is not None
    )
