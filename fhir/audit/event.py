"""What happened, as a FHIR R4 AuditEvent (§6.4) shaped by IHE Basic Audit Log Patterns (BALP).

Who asked (the app, the person), whose record, what was shown, under which consent and for which purpose. What was
asked for but not shown is named by the query alone. Ids and queries come from outside, so everything is bounded.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

Kind = Literal[
    "authorize",
    "token",
    "read",
    "search",
    "write",
    "revoke",
    "sign-in",
    "consent",
    "introspect",
    "app",
    "export",
    "state",
    "emergency",
]
Action = Literal["C", "R", "U", "D", "E"]
Outcome = Literal["0", "4", "8", "12"]
"""Success, minor failure (a refusal), serious failure, major failure (AuditEvent.outcome)."""

CLIENT_SYSTEM: Final = "urn:assent:client"
USER_SYSTEM: Final = "urn:assent:user"
CATEGORY_DETAIL: Final = "data-category"
"""Type of the details, beside the patient, that say which kinds of data were shown."""
UPSTREAM_DETAIL: Final = "upstream"
"""Type of the details, beside them, that say by which upstreams it was answered: the operator's names for these."""
DONE: Final = "done"
"""Description of a write that took place; what was only intended says so."""
EVENT_SYSTEM: Final = "urn:assent:audit-event"
MAX_ENTITIES: Final = 2_000
"""References that one event names; how many more there were stands in a detail."""
MAX_QUERY: Final = 8_192
_MAX_TEXT: Final = 256

_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_EVENT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_SOURCE_TYPE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"

_REFERENCE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.-]{1,64}(/_history/[A-Za-z0-9.-]{1,64})?")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_EMERGENCIES: Final = {
    "C": {"system": _DCM, "code": "110127", "display": "Emergency Override Started"},
    "D": {"system": _DCM, "code": "110138", "display": "Emergency Override Stopped"},
}
_REST_ACTIONS: Final = {"C": "create", "R": "read", "U": "update", "D": "delete", "E": "operation"}


class AuditRecord(msgspec.Struct, frozen=True):
    """One thing that happened. `patient` is an id; `entities` and `consents` are `Type/id`; `categories`, codes."""

    kind: Kind
    action: Action
    outcome: Outcome
    recorded: datetime
    request_id: str
    client_id: str | None = None
    client_name: str | None = None
    user: str | None = None
    patient: str | None = None
    purpose: str | None = None
    entities: tuple[str, ...] = ()
    query: str | None = None
    description: str | None = None
    consents: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    """Data categories of what was shown."""
    interaction: str = ""
    """The restful-interaction code of a read or search that is narrower than `read` and `search`."""
    upstreams: tuple[str, ...] = ()
    """Names of the upstreams that what was shown came from, or that what was written went to."""
    actors: tuple[str, ...] = ()
    """Clients that used the app's token in its place (RFC 8693 §4.1)."""
    reason: str = ""
    """Why, as a person told it: beside the purpose."""


def audit_event(record: AuditRecord) -> dict[str, object]:
    """The AuditEvent of a record, without an id."""
    kind, subtype = _codings(record)
    event: dict[str, object] = {
        "resourceType": "AuditEvent",
        "type": kind,
        "subtype": [subtype, *_narrower(record)],
        "action": record.action,
        "recorded": record.recorded.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "outcome": record.outcome,
    }
    if record.description:
        event["outcomeDesc"] = _text(record.description)
    if record.purpose:
        purpose: dict[str, object] = {"coding": [_coding(_REASON, _text(record.purpose))]}
        event["purposeOfEvent"] = [purpose | {"text": _text(record.reason)} if record.reason else purpose]
    event["agent"] = _agents(record)
    event["source"] = {
        "observer": {"display": "Assent"},
        "type": [_coding(_SOURCE_TYPE, "4", "Application Server")],
    }
    entities = _entities(record)
    if entities:
        event["entity"] = entities
    return event


def _codings(record: AuditRecord) -> tuple[dict[str, str], dict[str, str]]:
    """`type` and `subtype`: BALP's for what is RESTful, DICOM's for signing in, our own below DICOM's for the rest."""
    rest = _coding(_EVENT_TYPE, "rest", "RESTful Operation")
    match record.kind:
        case "read":
            return rest, _coding(_INTERACTION, "read", "read")
        case "search":
            return rest, _coding(_INTERACTION, "search", "search")
        case "consent" | "state" | "write":
            code = _REST_ACTIONS[record.action]
            return rest, _coding(_INTERACTION, code, code)
        case "sign-in":
            return _coding(_DCM, "110114", "User Authentication"), _coding(_DCM, "110122", "Login")
        case "export":
            return _coding(_DCM, "110106", "Export"), _coding(EVENT_SYSTEM, "export", "export")
        case "emergency":
            subtype = _EMERGENCIES.get(record.action) or _coding(EVENT_SYSTEM, "emergency-review", "emergency-review")
            return _coding(_DCM, "110113", "Security Alert"), subtype
        case _:
            return _coding(_DCM, "110113", "Security Alert"), _coding(EVENT_SYSTEM, record.kind, record.kind)


def _narrower(record: AuditRecord) -> list[dict[str, str]]:
    """Beside BALP's own subtype, so that who looks for reads finds a history too."""
    return [_coding(_INTERACTION, record.interaction, record.interaction)] if record.interaction else []


def _agents(record: AuditRecord) -> list[dict[str, object]]:
    """The app, the person and Assent. Data flows to who reads; a query flows from who asks (BALP Read and Query)."""
    source = _coding(_DCM, "110153", "Source Role ID")
    destination = _coding(_DCM, "110152", "Destination Role ID")
    client_role, server_role = (destination, source) if record.kind == "read" else (source, destination)
    agents: list[dict[str, object]] = []
    if record.client_id:
        who: dict[str, object] = {
            "type": "Device",
            "identifier": {"system": CLIENT_SYSTEM, "value": _text(record.client_id)},
        }
        if record.client_name:
            who["display"] = _text(record.client_name)
        agents.append({"type": {"coding": [client_role]}, "who": who, "requestor": True})
    for actor in record.actors:
        device = {"type": "Device", "identifier": {"system": CLIENT_SYSTEM, "value": _text(actor)}}
        application = _coding(_DCM, "110150", "Application")
        agents.append({"type": {"coding": [application]}, "who": device, "requestor": False})
    if record.user:
        recipient = _coding(_PARTICIPATION, "IRCP", "information recipient")
        named = _named(record.user, USER_SYSTEM)
        agents.append({"type": {"coding": [recipient]}, "who": named, "requestor": not record.client_id})
    agents.append({"type": {"coding": [server_role]}, "who": {"display": "Assent"}, "requestor": False})
    return agents


def _entities(record: AuditRecord) -> list[dict[str, object]]:
    system_object = _coding(_ENTITY_TYPE, "2", "System Object")
    entities: list[dict[str, object]] = []
    if record.patient:
        patient = _entity(_patient(record.patient), _coding(_ENTITY_TYPE, "1", "Person"), "1", "Patient")
        details = [(CATEGORY_DETAIL, code) for code in record.categories]
        details += [(UPSTREAM_DETAIL, name) for name in record.upstreams]
        if details:
            patient["detail"] = [{"type": name, "valueString": _text(value)} for name, value in details]
        entities.append(patient)
    entities += [
        _entity(_named(name, None), system_object, "4", "Domain Resource") for name in record.entities[:MAX_ENTITIES]
    ]
    omitted = len(record.entities) - MAX_ENTITIES
    if omitted > 0:
        entities[-1]["detail"] = [{"type": "omitted", "valueString": str(omitted)}]
    if record.query:
        # A query that is no Unicode text is still worth recording; failing here would leave no trace of it.
        raw = record.query.encode(errors="backslashreplace")[:MAX_QUERY]
        query = base64.b64encode(raw).decode("ascii")
        entities.append({"type": system_object, "role": _coding(_ROLE, "24", "Query"), "query": query})
    consent = _coding("http://hl7.org/fhir/resource-types", "Consent", "Consent")
    entities += [_entity(_named(name, None), consent, "13", "Security Resource") for name in record.consents[:100]]
    if record.request_id:
        # BALP: joins the events of every party that handled one request.
        what = {"identifier": {"value": _text(record.request_id)}}
        entities.append({"what": what, "type": _coding(_BALP_ENTITY, "XrequestId")})
    return entities


def _entity(what: dict[str, object], kind: dict[str, str], role: str, role_name: str) -> dict[str, object]:
    return {"what": what, "type": kind, "role": _coding(_ROLE, role, role_name)}


def _patient(patient: str) -> dict[str, object]:
    given = patient.removeprefix("Patient/")
    return {"reference": f"Patient/{given}"} if _ID.fullmatch(given) else {"display": _text(given)}


def _named(name: str, system: str | None) -> dict[str, object]:
    """A reference for `Type/id`; what isn't one is never made to look like one."""
    if _REFERENCE.fullmatch(name):
        return {"reference": name}
    if system is None:
        return {"display": _text(name)}
    return {"identifier": {"system": system, "value": _text(name)}}


def _coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    coding = {"system": system, "code": code}
    return coding if display is None else coding | {"display": display}


def _text(value: str) -> str:
    """FHIR strings hold no control characters (§2.24.0.1), and ours are short."""
    return "".join(c if c.isprintable() else " " for c in value[:_MAX_TEXT]).strip() or "?"
