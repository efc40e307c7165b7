"""Which interaction with consents a request is: decided from method and path alone (FHIR R4 §3.1.0), before the token.

Paths are matched undecoded, as `fhir.r4.interaction` does for everybody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from fhir.proxy.request import ProxyRefusal

# fmt: off
Act = Literal[
    "create", "read", "vread", "update", "patch", "delete", "search-type", "history-instance", "history-type",
    "conditional-update", "conditional-patch", "conditional-delete", "explain", "file", "revoke",
]
# fmt: on
_ID: Final = r"([A-Za-z0-9\-.]{1,64})"
_CONSENT: Final[tuple[tuple[re.Pattern[str], dict[str, tuple[Act, str]]], ...]] = (
    (
        re.compile(r"/Consent"),
        {
            "GET": ("search-type", "s"),
            "POST": ("create", "c"),
            "PUT": ("conditional-update", "u"),
            "PATCH": ("conditional-patch", "u"),
            "DELETE": ("conditional-delete", "d"),
        },
    ),
    (re.compile(r"/Consent/_search"), {"POST": ("search-type", "s")}),
    (re.compile(r"/Consent/_history"), {"GET": ("history-type", "s")}),
    (re.compile(r"/Consent/\$fileConsent"), {"POST": ("file", "c")}),
    (re.compile(r"/Consent/\$revokeConsent"), {"POST": ("revoke", "u")}),
    (
        re.compile(rf"/Consent/{_ID}"),
        {"GET": ("read", "r"), "PUT": ("update", "u"), "PATCH": ("patch", "u"), "DELETE": ("delete", "d")},
    ),
    (re.compile(rf"/Consent/{_ID}/_history"), {"GET": ("history-instance", "r")}),
    (re.compile(rf"/Consent/{_ID}/_history/([0-9]{{1,9}})"), {"GET": ("vread", "r")}),
    (re.compile(rf"/Consent/{_ID}/\$explain"), {"GET": ("explain", "r"), "POST": ("explain", "r")}),
    (re.compile(r"/Provenance"), {"GET": ("search-type", "s")}),
    (re.compile(r"/Provenance/_search"), {"POST": ("search-type", "s")}),
    (re.compile(rf"/Provenance/{_ID}"), {"GET": ("read", "r")}),
)
_ROUTES: Final[dict[Act, str]] = {
    "read": "/fhir/{type}/{id}",
    "update": "/fhir/{type}/{id}",
    "patch": "/fhir/{type}/{id}",
    "delete": "/fhir/{type}/{id}",
    "vread": "/fhir/{type}/{id}/_history/{version}",
    "history-instance": "/fhir/{type}/{id}/_history",
    "history-type": "/fhir/{type}/_history",
    "explain": "/fhir/{type}/{id}/$explain",
    "file": "/fhir/{type}/$fileConsent",
    "revoke": "/fhir/{type}/$revokeConsent",
}


@dataclass(frozen=True, slots=True)
class ConsentInteraction:
    """One supported interaction, and the letter of `cruds` that it takes."""

    act: Act
    letter: str
    kind: str
    id: str = ""
    version: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.letter in "cud"

    @property
    def route(self) -> str:
        """What logs and metrics know of it: never a path, which names consents."""
        return _ROUTES.get(self.act, "/fhir/{type}")


def consent_interaction(method: str, path: str) -> ConsentInteraction:
    """Read it from an undecoded path below the FHIR base (`/Consent/c1`). Raises ProxyRefusal: 404, or 405."""
    for pattern, acts in _CONSENT:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        act = acts.get("GET" if method == "HEAD" else method)
        if act is None:
            allowed = ", ".join(["HEAD", *acts] if "GET" in acts else acts)
            headers = ((b"allow", allowed.encode()),)
            raise ProxyRefusal(405, "not-supported", "the method is not supported here", headers=headers)
        id, version = (*found.groups(), "", "")[:2]
        return ConsentInteraction(*act, path.split("/")[1], id, int(version or 0))
    raise ProxyRefusal(404, "not-found", "there is nothing at this path")
