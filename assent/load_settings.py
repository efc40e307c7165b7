"""Reads the settings and says, in one message, everything that is wrong with them."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from assent.settings import ENVIRONMENT_PREFIX, FILE_ONLY, Settings, variable

CONFIG_VARIABLE = "ASSENT_CONFIG"
NOT_SETTINGS = frozenset({CONFIG_VARIABLE, "ASSENT_TEST_DATABASE_URL"})
"""Variables with the prefix that aren't settings: the file's name, and the test suite's server."""


class SettingsError(Exception):
    """The settings don't hold; the text names each offender."""


def load_settings(**given: Any) -> Settings:
    """The settings from the environment and the file; `given` (from the command line) wins, None counts as absent."""
    file = _read_file(os.environ.get(CONFIG_VARIABLE))
    problems = [*_unknown(os.environ), *_unknown_keys(file)]
    if problems:
        raise SettingsError("\n".join(problems))
    try:
        return _with_file(file)(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None


def _read_file(name: str | None) -> dict[str, Any]:
    if not name:
        return {}
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"`{CONFIG_VARIABLE}` names `{name}`, which can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{name}`, named by `{CONFIG_VARIABLE}`, isn't valid TOML: {error}") from None


def _with_file(file: dict[str, Any]) -> type[Settings]:
    """Settings that fall back on the file's content after the command line and the environment."""

    class ConfiguredSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, file))

    return ConfiguredSettings


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = {variable(name) for name in Settings.model_fields if name not in FILE_ONLY} | NOT_SETTINGS
    for name in sorted(environ):
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name not in known:
            yield f"`{name}` isn't a setting; {_suggest(name, known)}"


def _unknown_keys(file: Mapping[str, Any]) -> Iterator[str]:
    known = set(Settings.model_fields)
    for name in sorted(set(file) - known):
        yield f"`{name}` in the file that `{CONFIG_VARIABLE}` names isn't a setting; {_suggest(name, known)}"


def _suggest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return "allowed are " + ", ".join(f"`{one}`" for one in sorted(known))


def _explain(error: ValidationError) -> Iterator[str]:
    """Never the value: it may be a secret."""
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        text = problem["msg"].removeprefix("Value error, ")
        text = text[:1].lower() + text[1:]
        yield f"{_place(problem['loc'])} {_verb(text)}{text}" if problem["loc"] else text


def _place(where: Sequence[int | str]) -> str:
    """The setting: a variable, or table and key of the file."""
    if where[0] not in FILE_ONLY:
        return f"`{variable(str(where[0]))}`"
    table = ".".join(str(part) for part in where[:2])
    return f"`[{table}]`" if len(where) < 3 else f"`{where[2]}` of `[{table}]`"


def _verb(text: str) -> str:
    return "" if text.startswith("must") else "isn't valid: "
