"""Steps 2 and 3 of a request: whose consents decide, and the plan that they make (docs/architecture.md).

A person's token has one patient in context. A service's has none: a read is decided by the consents of the patient
whom the resource turns out to be about, a search by those of the patients it names, else of all who share with the
service (docs/decisions/0013-system-scopes.md). Consents are asked anew for every request, and on every page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from fhir.consents.directory import Knows
from fhir.consents.register import ConsentRegister, TooManyConsents
from fhir.proxy.narrowing import is_about_nobody, named_patients, opening
from fhir.proxy.search_request import SearchRefused, SearchRequest
from fhir.r4.decided_types import decided_types
from fhir.r4.interaction import Interaction
from policies.catalogue import Catalogue
from policies.consent_rule import ConsentRule, earliest, unchanged_until
from policies.decide import NOT_SHARED, ReadPlan, Share, grantee_of, plan_read, share_of, users_of
from policies.model import Access, Deny, ResourceFacts
from policies.open_categories import open_categories

MOST_PATIENTS: Final = 50
"""Patients across whom one search of a service goes: each id stands in the upstream's URL."""
_MOST_KEPT: Final = 2_000


class Sharing(Protocol):
    """Knows who may share with an app."""

    async def naming(self, grantee: str, now: datetime, limit: int) -> Sequence[str]:
        """Ids of at most `limit` patients of whom a consent in force names the grantee."""


class _Kept(NamedTuple):
    """A plan that was made, and from what: it is the plan still while its token's consents are the same ones.

    INVARIANT: who asks is compared as an object, which the token gate hands out anew once anything about it changed,
    and so are the rules, which the register reads anew once any of them changed. Holding `access` keeps its `id` its
    own.
    """

    access: Access
    rules: tuple[ConsentRule, ...]
    since: datetime
    until: datetime | None
    plan: ReadPlan | Deny

    def holds(self, access: Access, rules: tuple[ConsentRule, ...], now: datetime) -> bool:
        """Whether the plan would be made again."""
        same = self.access is access and self.rules is rules
        return same and self.since <= now and (self.until is None or now < self.until)


class ReadPlans:
    """Makes plans. Those of tokens with a patient in context are kept for the token's next request."""

    def __init__(self, register: ConsentRegister, sharing: Sharing, catalogue: Catalogue, directory: Knows) -> None:
        self._register = register
        self._directory = directory
        self._sharing = sharing
        self._catalogue = catalogue
        self._kept: OrderedDict[tuple[int, str, str], _Kept] = OrderedDict()

    async def begin(self, access: Access, interaction: Interaction, now: datetime) -> ReadPlan | Deny:
        """The plan before anything is asked upstream. A service's opens nobody's data yet."""
        rules = () if access.patient is None else await self._register.rules(access.patient)
        key = (id(access), interaction.code, interaction.resource_type)
        known = self._kept.get(key)
        if known is not None and known.holds(access, rules, now):
            return known.plan
        plan = self._by_token(access, interaction)
        until = unchanged_until(rules, now)
        if isinstance(plan, ReadPlan) and plan.patient is not None:
            knowledge = await self._directory.knowledge(rules, users_of(access))
            until = earliest((until, knowledge.until))
            share = share_of(plan, plan.patient, rules, self._catalogue, now, knowledge)
            plan = NOT_SHARED if share is None else plan.sharing({plan.patient: share})
        self._kept[key] = _Kept(access, rules, now, until, plan)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return plan

    def _by_token(self, access: Access, interaction: Interaction) -> ReadPlan | Deny:
        kinds = decided_types(interaction, self._catalogue)
        plans = [plan_read(access, interaction.code, kind, self._catalogue) for kind in kinds]
        return next((plan for plan in plans if isinstance(plan, ReadPlan)), plans[0])

    async def for_patient(self, plan: ReadPlan, patient: str, now: datetime) -> ReadPlan:
        """A service's plan for one patient; who shares nothing with it isn't told from who isn't there."""
        plan = await self._by(plan, (patient,), now)
        return plan if any(map(self._opens, plan.shares.values())) else plan.sharing({})

    async def hold(self, plan: ReadPlan, now: datetime) -> bool:
        """Whether the consents that made the plan still say the same."""
        for patient, share in plan.shares.items():
            again = await self._share(plan, patient, now)
            if again is None or again.consents != share.consents:
                return False
        return True

    async def who_may_share(self, plan: ReadPlan, now: datetime, most: int) -> Sequence[str]:
        """Ids of at most `most` patients whose consents can open anything to a service: all others' open nothing."""
        return await self._sharing.naming(grantee_of(plan.access.client_id), now, most)

    async def for_resource(self, plan: ReadPlan, facts: ResourceFacts, now: datetime) -> ReadPlan:
        """A service's plan for a resource that was read: made by the patient whom the resource is about."""
        if not facts.owners:
            return await self._by_anyone(plan, now)
        return await self._by(plan, facts.owners if len(facts.owners) == 1 else (), now)

    async def for_search(self, plan: ReadPlan, search: SearchRequest, now: datetime) -> ReadPlan:
        """The plan for a guarded search. Raises SearchRefused when it goes across too many patients."""
        if plan.patient is None:
            plan = await self._across_patients(plan, search, now)
        return opening(plan, search.resource_type, self._catalogue)

    async def _across_patients(self, plan: ReadPlan, search: SearchRequest, now: datetime) -> ReadPlan:
        about_nobody = is_about_nobody(search.resource_type, self._catalogue)
        if about_nobody and not any(kind == "_revinclude" for kind, _ in search.includes):
            return await self._by_anyone(plan, now)
        patients = named_patients(search)
        if patients is None:
            patients = tuple(await self._sharing.naming(grantee_of(plan.access.client_id), now, MOST_PATIENTS + 1))
        if len(patients) > MOST_PATIENTS:
            text = f"the search goes across more than {MOST_PATIENTS} patients; name a patient"
            raise SearchRefused(400, "too-costly", text)
        plan = await self._by(plan, patients, now)
        return plan if not about_nobody or any(map(self._opens, plan.shares.values())) else plan.sharing({})

    async def _by(self, plan: ReadPlan, patients: Iterable[str], now: datetime) -> ReadPlan:
        found = {patient: await self._share(plan, patient, now) for patient in patients}
        return plan.sharing({patient: share for patient, share in found.items() if share is not None})

    async def _by_anyone(self, plan: ReadPlan, now: datetime) -> ReadPlan:
        """What is about nobody needs one patient who shares with the service, whoever it is."""
        for patient in await self._sharing.naming(grantee_of(plan.access.client_id), now, MOST_PATIENTS):
            share = await self._share(plan, patient, now)
            if share is not None and self._opens(share):
                return plan.sharing({patient: share})
        return plan

    def _opens(self, share: Share) -> bool:
        """Whether a patient shares anything at all: a consent can also say no to everything."""
        opened = open_categories(share.consents, share.circumstances, self._catalogue)
        return any(not (category.always or category.sensitive) for category in opened)

    async def _share(self, plan: ReadPlan, patient: str, now: datetime) -> Share | None:
        try:
            rules = await self._register.rules(patient)
            knowledge = await self._directory.knowledge(rules, users_of(plan.access))
            return share_of(plan, patient, rules, self._catalogue, now, knowledge)
        except TooManyConsents:
            return None  # an error would tell a service that the patient is there
