"""The table of settings in docs/settings.md; a test holds the page to it."""

from __future__ import annotations

from pydantic_core import PydanticUndefined

from assent.settings import FILE_ONLY, Settings, variable


def settings_table() -> str:
    """One Markdown row for each setting: variable, TOML key, default, meaning."""
    rows = ["| environment variable | TOML key | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        spelled = "" if name in FILE_ONLY else f"`{variable(name)}`"
        rows.append(f"| {spelled} | `{name}` | {_default(field.default)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(value: object) -> str:
    if value in (None, "", (), {}, PydanticUndefined):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
