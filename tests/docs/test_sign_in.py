"""docs/sign-in.md: its client metadata, its settings and its commands are tried as they stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from assent.identity_provider import identity_provider
from assent.load_settings import load_settings
from authz.sign_in.identity_provider import Problem
from tests.clients.hospital import Hospital
from tests.clients.identity_provider import Browser
from tests.clients.person import Person
from tests.clients.test_identity_provider import signs_in

PAGE = (Path(__file__).parents[2] / "docs" / "sign-in.md").read_text()
BLOCKS = re.findall(r"^ *```([a-z]*)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [shlex.split(line) for language, block in BLOCKS if not language for line in block.splitlines()]
USER_COMMANDS = [words[1:] for words in COMMANDS if words[1:2] == ["user"]]


def test_the_settings_shown_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_PUBLIC_URL", "https://share.example")
    for words in COMMANDS:
        if words[0] == "export":
            for assignment in words[1:]:
                name, _, value = assignment.partition("=")
                monkeypatch.setenv(name, value)
    provider = identity_provider(load_settings())
    assert provider is not None
    (shown,) = [json.loads(block) for language, block in BLOCKS if language == "json"]
    assert [provider.redirect_uri] == shown["redirect_uris"]
    assert provider.client_id == shown["client_id"]


def test_the_commands_shown_work_in_their_order_with_the_client_shown(hospital: Hospital) -> None:
    (shown,) = [json.loads(block) for language, block in BLOCKS if language == "json"]
    told = {name: value for name, value in shown.items() if name not in ("client_id", "redirect_uris")}
    hospital.provider.set_up([hospital.callback], **told)
    assert [words[1] for words in USER_COMMANDS] == ["link", "add", "link", "unlink", "forget-passkeys"]
    browser = Browser()
    try:
        for words in USER_COMMANDS:
            done = hospital.assent(*words)
            assert done.exit_code == 0, (words, done.stderr)
            if words[1] == "link":
                browser.forget()
                with Person("", "") as person:
                    page = person.open(signs_in(hospital, person, browser, words[words.index("--subject") + 1]))
                    assert page.status == 200, words
    finally:
        browser.close()
        hospital.assent("user", "unlink", "amelia-okafor")


def test_every_problem_has_a_row() -> None:
    reasons = re.findall(r"^\|[^|]+\|([^|]+)\|", PAGE, re.MULTILINE)
    told = set(re.findall(r"`([a-z-]+)", " ".join(reasons)))
    raised: set[tuple[Problem, str]] = set()
    for file in ("federation", "id_token", "idp_http", "idp_metadata"):
        source = (Path(__file__).parents[2] / "authz" / "sign_in" / f"{file}.py").read_text()
        raised |= set(re.findall(r'SignInRefused\("([a-z-]+)", f?"([a-z-]+)', source))
    for problem, reason in raised:
        if problem not in ("untrusted", "no-sign-out"):  # of those the page shows examples
            assert reason in told or reason.split("-")[0] + "-" in told or reason == "too-often", reason
