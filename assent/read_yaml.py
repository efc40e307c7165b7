"""YAML as plain data: its objects are never made. By libyaml where that is there, since every start reads a lot."""

from __future__ import annotations

from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str | bytes) -> Any:
    """The document; yaml.YAMLError when it is none."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - both are safe loaders
