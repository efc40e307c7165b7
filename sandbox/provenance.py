"""Provenance: who wrote what at a visit; its targets are of many kinds, the sensitive ones among them."""

from __future__ import annotations

from typing import Final

from sandbox.chart import Chart
from sandbox.directory import NAMES
from sandbox.elements import reference, terminology
from sandbox.visits import Visit

_MOST: Final = 6


def write_provenance(chart: Chart, visit: Visit, targets: list[str]) -> str:
    """One Provenance over up to six things that a visit made. It is never labelled, whatever it points to."""
    organization = visit.clinician.organization
    return chart.add(
        "Provenance",
        {
            "target": [reference(target) for target in targets[:_MOST]],
            "recorded": visit.at(61),
            "activity": terminology("v3-DataOperation", "CREATE", "create"),
            "agent": [
                {
                    "type": terminology("provenance-participant-type", "author", "Author"),
                    "who": reference(visit.clinician.reference, visit.clinician.name),
                    "onBehalfOf": reference(f"Organization/{organization}", NAMES[organization]),
                }
            ],
        },
        profile="us-core-provenance",
    )
