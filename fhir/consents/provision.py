"""Reads `Consent.provision`, which R4 and R5 write in nearly the same way; a `Dialect` is what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir.consents.elements import (
    check_members,
    items,
    read_actions,
    read_actors,
    read_classes,
    read_codes,
    read_data,
    read_labels,
    read_period,
    read_purposes,
)
from policies.consent_rule import Provision

MAX_DEPTH: Final = 16
MAX_PROVISIONS: Final = 10_000
COMMON_NAMES: Final = frozenset(
    {
        *("id", "extension", "period", "actor", "action", "securityLabel", "purpose"),
        *("code", "dataPeriod", "data", "provision"),
    }
)
_Reader = Callable[[object, str, list[str]], object]
_BY_POLARITY: Final = {"actor": ("actors", read_actors), "data": ("data", read_data)}
_READERS: Final[Mapping[str, tuple[str, _Reader]]] = {
    "period": ("period", read_period),
    "action": ("actions", read_actions),
    "securityLabel": ("labels", read_labels),
    "purpose": ("purposes", read_purposes),
    "class": ("classes", read_classes),
    "resourceType": ("classes", read_classes),
    "documentType": ("document_types", read_classes),
    "code": ("codes", read_codes),
    "dataPeriod": ("data_period", read_period),
}
"""Element -> the attribute of `Provision` that it becomes, and what reads it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one release of FHIR writes a provision."""

    names: frozenset[str]
    """The elements that are understood."""
    polarity: Callable[[Mapping[str, object], bool | None], bool | None]
    """From the provision and what its parent (or the base rule) gives: permit, deny, or None for "it isn't said"."""
    below: Callable[[bool | None], bool | None]
    """From a provision's polarity: what it gives those nested in it."""


class ProvisionReader:
    """Reads the provisions of one Consent; counts them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._seen = 0

    def read(self, item: object, path: str, given: bool | None, depth: int = 0) -> Provision:
        """One provision and those nested in it."""
        problems: list[str] = []
        if not isinstance(item, dict) or not item or depth > MAX_DEPTH:
            return Provision(path, None, not_understood=(path,))
        check_members(item, self._dialect.names, path, problems)
        permit = self._dialect.polarity(item, given)
        if permit is None:
            problems.append(f"{path}.type")
        attributes: dict[str, Any] = {}
        for name in self._dialect.names.intersection(item):
            if name in _READERS:
                attribute, read = _READERS[name]
                attributes[attribute] = read(item[name], f"{path}.{name}", problems)
            elif name in _BY_POLARITY:
                attribute, read_names = _BY_POLARITY[name]
                attributes[attribute] = read_names(item[name], f"{path}.{name}", problems, permit=permit is True)
        nested = self.read_all(item.get("provision"), f"{path}.provision", self._dialect.below(permit), problems, depth)
        return Provision(path, permit, **attributes, provisions=nested, not_understood=tuple(problems))

    def read_all(
        self, value: object, path: str, given: bool | None, problems: list[str], depth: int = 0
    ) -> tuple[Provision, ...]:
        """The provisions of a list; too many of them aren't understood."""
        listed = items(value, path, problems)
        self._seen += len(listed)
        if self._seen > MAX_PROVISIONS:
            problems.append(f"{path}: too many")
            return ()
        return tuple(self.read(nested, f"{path}[{i}]", given, depth + 1) for i, nested in enumerate(listed))
