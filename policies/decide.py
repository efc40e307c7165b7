"""The decision: effective = scopes ∩ consents ∩ catalogue. Deny by default, with the reasons.

`plan_read` decides what a token lets a request do at all; `share_of` adds what a patient's consents say to it;
`decide_resource` decides every resource that the upstream answers, on its own content and by the consents of its own
patient. Masks come after: docs/architecture.md, "A request, end to end".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from policies.catalogue import Catalogue
from policies.classify import Classification, classify
from policies.codes import CLIENT_SYSTEM
from policies.consent_evaluation import (
    Circumstances,
    applicable,
    consent_decision,
    denied_by_name,
    looks_at_details,
    may_permit,
    names_denied,
)
from policies.consent_rule import ConsentRule
from policies.emergency import breaks_glass, emergency_rule
from policies.memberships import NOTHING_KNOWN, Knowledge
from policies.model import (
    PERMISSIONS,
    WRITE_ACTIONS,
    Access,
    Decision,
    Deny,
    Permit,
    Reason,
    ResourceFacts,
    Scope,
)
from policies.scope_match import covers, names_type

_MOST_LIKENESSES: Final = 200
"""Of one plan. Few kinds of resources are under the consents of one patient; a stranger's data might be of many."""


@dataclass(frozen=True, slots=True)
class Share:
    """The consents of one patient that speak about a request."""

    consents: tuple[ConsentRule, ...]
    circumstances: Circumstances


@dataclass(frozen=True)
class ReadPlan:
    """What one request may see, before any resource is looked at."""

    access: Access
    permission: str
    """The SMART permission letter that the interaction needs."""
    scopes: tuple[Scope, ...]
    """All of the token's scopes that can open anything, whatever the type: included resources need theirs too."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """By patient. INVARIANT: data of a patient who isn't in here stays closed, and without any patient all does."""

    @property
    def patient(self) -> str | None:
        """The patient in context; None for a service, to which each patient's own consents speak."""
        return self.access.patient

    @property
    def purpose(self) -> str:
        """A code of v3-PurposeOfUse."""
        return self.access.purpose

    def sharing(self, shares: Mapping[str, Share]) -> ReadPlan:
        """The same plan with what these patients' consents say."""
        return ReadPlan(self.access, self.permission, self.scopes, shares)

    @cached_property
    def decided(self) -> dict[object, Decision]:
        """What `Decisions` found under this plan."""
        return {}

    @cached_property
    def opened(self) -> dict[str, Mapping[str, frozenset[str]]]:
        """What was found to be open under this plan: by type and patient, the codes of categories."""
        return {}

    @cached_property
    def is_detailed(self) -> bool:
        """Whether consents tell single resources apart, so that no two are alike."""
        return any(looks_at_details(rule.root) for share in self.shares.values() for rule in share.consents)

    @cached_property
    def unnamed(self) -> frozenset[str]:
        """What consents keep from the app by name, as `Type/id`: what refers to it doesn't say what it is called."""
        if not self.is_detailed:
            return frozenset()
        return frozenset().union(*(names_denied(s.consents, s.circumstances) for s in self.shares.values()))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Token parameters by which its scopes tell resources apart."""
        return tuple({name for scope in self.scopes for name, _ in scope.parameters})


_NOT_ABOUT: Final = "the resource is not about the patient in context alone"
_ABOUT_NOBODY_SHARING: Final = "the resource is not about one patient alone who shares with this app"
NOT_SHARED: Final = Deny((Reason("consent", "no consent of the patient for this app and purpose is in force"),))


def speaking(
    consents: Iterable[ConsentRule], access: Access, patient: str, catalogue: Catalogue
) -> Iterable[ConsentRule]:
    """The patient's consents, and in an emergency the operator's rule beside them."""
    return (*consents, emergency_rule(patient, catalogue)) if breaks_glass(access) else consents


def grantee_of(client_id: str) -> str:
    """The name under which consents know an app."""
    return f"{CLIENT_SYSTEM}|{client_id}"


def users_of(access: Access) -> frozenset[str]:
    """Names of the person behind a token."""
    return frozenset() if access.user is None else frozenset({access.user})


def circumstances_of(
    access: Access,
    patient: str,
    catalogue: Catalogue,
    now: datetime,
    permission: str = "r",
    knowledge: Knowledge = NOTHING_KNOWN,
) -> Circumstances:
    """What a patient's consents are told about a token: its app, its person, its purpose, and what it wants to do."""
    return Circumstances(
        patient,
        frozenset({grantee_of(access.client_id)}),
        access.purpose,
        now,
        by_name=access.is_service,
        users=users_of(access),
        memberships=knowledge.askers,
        authorships=knowledge.authors,
        links=knowledge.links,
        categories=catalogue.codes,
        wholes=catalogue.wholes,
        within=access.within,
        writes=WRITE_ACTIONS.get(permission, ""),
    )


def plan_read(access: Access, interaction: str, resource_type: str, catalogue: Catalogue) -> ReadPlan | Deny:
    """Decide what the token alone decides: the plan opens nobody's data yet (`share_of`)."""
    permission = PERMISSIONS.get(interaction)
    if permission is None:
        return _deny("default", f"the interaction `{interaction}` is not supported")
    if access.patient is None and not access.is_service:
        return _deny("token", "the token has no patient in context, so patient data stays closed")
    if permission in WRITE_ACTIONS and access.is_service:
        return _deny("token", "a backend service's token writes nothing")
    if permission in WRITE_ACTIONS and breaks_glass(access):
        return _deny("token", "a token for an emergency writes nothing")
    if access.purpose not in (catalogue.purposes if breaks_glass(access) else catalogue.askable):
        return _deny("token", f"the purpose of use `{access.purpose}` is not in the catalogue")
    scopes = open_scopes_of(access)
    if not any(names_type(s, resource_type) and permission in s.permissions for s in scopes):
        return _deny("scope", f"no scope of the token allows `{permission}` on `{resource_type}`")
    if catalogue.mask(access.purpose, resource_type) is None or resource_type not in catalogue.scopes_by_type:
        return _deny("category", f"`{resource_type}` belongs to no category that can be shared for this purpose")
    return ReadPlan(access, permission, scopes)


def open_scopes_of(access: Access) -> tuple[Scope, ...]:
    """The token's scopes that can open anything.

    A service's are `system/` ones; a person's `patient/` ones, and `user/` ones within the patient in context.
    """
    contexts = ("system",) if access.is_service else ("patient", "user")
    return tuple(s for s in access.scopes if s.context in contexts)


def share_of(
    plan: ReadPlan,
    patient: str,
    consents: Iterable[ConsentRule],
    catalogue: Catalogue,
    now: datetime,
    knowledge: Knowledge = NOTHING_KNOWN,
) -> Share | None:
    """What a patient's consents say to the plan's app; None when none of them speaks about it.

    A service is allowed by name or not at all: there, a consent for whatever app, or for a group, doesn't count as one.
    """
    around = circumstances_of(plan.access, patient, catalogue, now, plan.permission, knowledge)
    found = applicable(speaking(consents, plan.access, patient, catalogue), around)
    if not any(may_permit(rule, around) for rule in found):
        return None
    return Share(found, around)


def decide_resource(
    plan: ReadPlan, facts: ResourceFacts, catalogue: Catalogue, kind: Classification | None = None
) -> Decision:
    """Decide one resource on its own content. `kind`: what `classify` says of the facts, where it is known already."""
    if kind is None:
        kind = classify(facts, catalogue)
    if not kind.everyday:
        return _deny("category", "the resource belongs to no category that can be shared")
    if not plan.shares:
        return NOT_SHARED
    if plan.permission in WRITE_ACTIONS and kind.everyday & catalogue.always:
        return _deny("category", "what is about no patient isn't written by apps")
    if kind.everyday <= catalogue.always:
        if facts.owners or facts.foreign:
            return _deny("compartment", "a resource that should be about no patient names one")
        share = plan.shares.get(plan.patient or "")
    else:
        share = _share_about(plan, facts)
        if share is None:
            return _deny("compartment", _NOT_ABOUT if plan.patient is not None else _ABOUT_NOBODY_SHARING)
    if not any(plan.permission in scope.permissions and covers(scope, facts) for scope in plan.scopes):
        return _deny("scope", "no scope of the token covers the resource")
    if kind.everyday <= catalogue.always and _is_denied_by_name(plan, facts, kind):
        return _deny("consent", "a consent keeps from this app what it names, and names this")
    if kind.everyday <= catalogue.always and not kind.sensitive:
        return Permit((Reason("category", "the resource is about no patient", _source(kind)),))
    if share is None:
        return _deny("sensitivity", "the resource is sensitive and about no patient whose consents could open it")
    return _by_consents(share, facts, kind)


def _is_denied_by_name(plan: ReadPlan, facts: ResourceFacts, kind: Classification) -> bool:
    return plan.is_detailed and any(
        denied_by_name(share.consents, share.circumstances, facts, kind) for share in plan.shares.values()
    )


class Decisions:
    """Decides resources under one plan, and those that no rule of it could tell apart once."""

    def __init__(self, plan: ReadPlan, catalogue: Catalogue) -> None:
        self._plan = plan
        self._catalogue = catalogue

    def of(self, facts: ResourceFacts, kind: Classification) -> Decision:
        """As `decide_resource`."""
        if self._plan.is_detailed:
            return decide_resource(self._plan, facts, self._catalogue, kind)
        known = self._plan.decided
        likeness = self._likeness(facts, kind)
        decision = known.get(likeness)
        if decision is None:
            decision = decide_resource(self._plan, facts, self._catalogue, kind)
            if len(known) < _MOST_LIKENESSES:
                known[likeness] = decision
        return decision

    def _likeness(self, facts: ResourceFacts, kind: Classification) -> tuple[object, ...]:
        """INVARIANT: everything that `decide_resource` looks at, but what only consents with details do."""
        return (
            *(facts.resource_type, facts.owners, facts.foreign, facts.labels, facts.profiles),
            *(kind.everyday, kind.sensitive, kind.labels),
            *map(facts.tokens.get, self._plan.parameters),
        )


def _share_about(plan: ReadPlan, facts: ResourceFacts) -> Share | None:
    """The consents of the one patient whom the resource is about; None where it is about others, or more besides."""
    if facts.foreign or len(facts.owners) != 1:
        return None
    (owner,) = facts.owners
    return plan.shares.get(owner)


def _by_consents(share: Share, facts: ResourceFacts, kind: Classification) -> Decision:
    decision = consent_decision(share.consents, share.circumstances, facts, kind)
    if share.circumstances.writes and isinstance(decision, Permit):
        # Who may not see it may not change it either, whatever a consent says of changing.
        reading = consent_decision(share.consents, replace(share.circumstances, writes=""), facts, kind)
        decision = reading if isinstance(reading, Deny) else decision
    if isinstance(decision, Deny) and kind.sensitive:
        why = Reason("sensitivity", f"the resource is sensitive: {', '.join(sorted(kind.sensitive))}", _source(kind))
        return Deny((*decision.reasons, why))
    return decision


def _deny(rule: str, text: str) -> Deny:
    return Deny((Reason(rule, text),))  # type: ignore[arg-type]  # literal at every call site, checked by the tests


def _source(kind: Classification) -> str:
    return ",".join(f"category/{code}" for code in sorted(kind.everyday | kind.sensitive))
