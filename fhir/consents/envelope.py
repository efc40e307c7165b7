"""What a Consent says outside its provisions, in R4 and R5 alike: whose it is, whether it is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fhir.consents.elements import check_members, members, reference_names, text
from policies.consent_rule import ConsentRule, Period, Provision

COMMON_MEMBERS: Final = frozenset(
    {
        *("resourceType", "id", "meta", "language", "text", "contained", "extension"),
        *("identifier", "status", "category", "sourceAttachment", "sourceReference", "verification", "provision"),
    }
)
_BACKBONES: Final = ("verification", "policy", "policyBasis")
_REFERENCE: Final = frozenset({"id", "extension", "reference", "type", "identifier", "display"})
_ALWAYS: Final = Period()


@dataclass(slots=True)
class Envelope:
    """Everything but the provisions; `problems` collects what isn't understood in it."""

    id: str
    version: str
    active: bool
    patient: str
    problems: list[str]
    policies: tuple[str, ...] = ()

    def rule(
        self, root: Provision, *, about_data: bool = True, period: Period = _ALWAYS, extra: tuple[str, ...] = ()
    ) -> ConsentRule:
        """The whole Consent."""
        return ConsentRule(
            reference=f"Consent/{self.id}/_history/{self.version}",
            id=self.id,
            active=self.active and about_data,
            patient=self.patient,
            root=root,
            period=period,
            not_understood=(*self.problems, *extra),
            policies=self.policies,
        )


def read_envelope(resource: Mapping[str, object], names: frozenset[str], subject: str) -> Envelope:
    """Read it. `names`: the elements that are understood; `subject`: the one that says whose data it is about."""
    problems: list[str] = []
    # A modifier extension and implicit rules change the meaning of everything; neither is among the names.
    check_members(resource, names, "", problems)
    if resource.get("resourceType") != "Consent":
        problems.append("resourceType")
    problems += (f"{name}.modifierExtension" for name in _BACKBONES if _has_modifier(resource.get(name)))
    meta = resource.get("meta")
    return Envelope(
        id=text(resource.get("id")),
        version=text(meta.get("versionId")) if isinstance(meta, dict) else "",
        active=resource.get("status") == "active",
        patient=_patient_id(resource.get(subject), subject, problems),
        problems=problems,
        policies=tuple(_policies(resource)),
    )


def _policies(resource: Mapping[str, object]) -> Iterator[str]:
    listed, basis = resource.get("policy"), resource.get("policyBasis")
    told = [item.get("uri") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    told += [basis.get("url")] if isinstance(basis, dict) else []
    yield from (uri for uri in told if isinstance(uri, str) and uri)


def _has_modifier(value: object) -> bool:
    listed = value if isinstance(value, list) else [value]
    return any(isinstance(item, dict) and "modifierExtension" in item for item in listed)


def _patient_id(value: object, path: str, problems: list[str]) -> str:
    """Logical id of the patient; one on another server isn't understood, and keeps its id so that it denies."""
    if value is None:
        return ""
    literal = members(value, _REFERENCE, path, problems).get("reference")
    names = reference_names(literal, permit=False)
    if not names or not names[-1].startswith("Patient/"):
        return ""
    if isinstance(literal, str) and not literal.startswith("Patient/"):
        problems.append(path)
    return names[-1].removeprefix("Patient/")
