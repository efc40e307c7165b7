"""The part of an introspection answer that tells a gateway what to keep back: `ihe_pcf` (IHE PCF 1.1, ITI-71)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from authz.tokens.grants import OpenNow
from policies.consent_rule import Period
from policies.residual import ResidualRule


def pcf_rules(opened: OpenNow, base: str) -> dict[str, Any]:
    """`doc_id`, `acp` and `residual`, where there are any. `base`: where resources are, for references."""
    found: dict[str, Any] = {}
    if opened.consents:
        found["doc_id"] = [f"{base}/{reference}" for reference in opened.consents]
    if opened.policies:
        found["acp"] = list(opened.policies)
    if opened.residual:
        found["residual"] = residual_said(opened.residual, base)
    return found


def residual_said(rules: Iterable[ResidualRule], base: str) -> list[dict[str, Any]]:
    """`residual`."""
    return [_rule(rule, base) for rule in rules]


def _rule(rule: ResidualRule, base: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "permit" if rule.permit else "forbid"}
    if rule.labels:
        found["securityLabel"] = [{"system": system, "code": code} for system, code in rule.labels]
    if rule.data_period is not None:
        found["dataPeriod"] = _period(rule.data_period)
    if rule.data:
        found["data"] = [{"meaning": meaning, "reference": _reference(name, base)} for meaning, name in rule.data]
    return found


def _period(period: Period) -> dict[str, str]:
    bounds = {"start": period.start, "end": period.end}
    return {name: _instant(bound) for name, bound in bounds.items() if bound is not None}


def _instant(bound: datetime) -> str:
    return bound.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reference(name: str, base: str) -> dict[str, str]:
    return {"reference": name if "://" in name else f"{base}/{name}"}
