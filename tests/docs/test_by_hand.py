"""The launch by hand works as the document shows it, and what can go wrong ends as its table says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx

from tests.clients.person import Person
from tests.docs.test_docs import BLOCK
from tests.sandbox_server import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "by-hand.md").read_text()
SHOWN = "http://127.0.0.1:8000"


class Reader:
    """Does what the page says, line by line."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.known: dict[str, str] = {}

    def filled(self, line: str) -> str:
        """A line with this sandbox's address, and what was kept from answers."""
        line = line.replace(SHOWN, self.sandbox.issuer)
        line = line.replace(quote(SHOWN, safe=""), quote(self.sandbox.issuer, safe=""))
        for name, value in self.known.items():
            line = line.replace(f"${name}", value)
        return line

    def run(self, line: str) -> tuple[int, str]:
        """Status and body of a `curl`."""
        words = [*shlex.split(self.filled(line)), "-w", "\n%{http_code}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own document
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def launch(self, address: str) -> dict[str, str]:
        """Sign in and allow; what came back in the address."""
        with Person("amelia-okafor", "sandbox") as person:
            returned = person.authorize(self.filled(address))
        return {name: values[0] for name, values in parse_qs(urlsplit(returned).query).items()}


def _lines() -> list[str]:
    blocks = [text for _, text in BLOCK.findall(PAGE)]
    return [line for block in blocks for line in block.splitlines() if not line.startswith("export")]


def test_a_launch_by_hand_goes_as_it_is_shown(sandbox: Sandbox) -> None:
    reader = Reader(sandbox)
    register, redeem, *reads, refresh, revoke = [line for line in _lines() if line.startswith("curl")]
    (address,) = [shlex.split(line)[1] for line in _lines() if line.startswith("echo")]
    reader.known["CLIENT_ID"] = json.loads(reader.run(register)[1])["client_id"]

    callback = "http%3A%2F%2Flocalhost%3A9090%2Fcallback"
    refused = httpx.get(reader.filled(address).replace(callback, callback.replace("localhost", "127.0.0.1")))
    assert (refused.status_code, "request can't be answered" in unescape(refused.text)) == (400, True)
    without = httpx.get(re.sub(r"&aud=[^&]*", "", reader.filled(address)))
    assert parse_qs(urlsplit(without.headers["location"]).query)["error"] == ["invalid_request"]

    reader.known["CODE"] = reader.launch(address)["code"]
    status, body = reader.run(redeem)
    assert status == 200
    tokens = json.loads(body)
    reader.known |= {"TOKEN": tokens["access_token"], "REFRESH_TOKEN": tokens["refresh_token"]}
    assert len(reads) == 3
    assert [reader.run(read)[0] for read in reads] == [200, 200, 200]

    status, body = reader.run(refresh)
    assert status == 200
    reader.known |= {"TOKEN": (renewed := json.loads(body))["access_token"], "REFRESH_TOKEN": renewed["refresh_token"]}
    assert reader.run(reads[0])[0] == 200
    assert reader.run(revoke)[0] == 200
    assert reader.run(reads[0])[0] == 401
    status, body = reader.run(refresh)
    assert (status, json.loads(body)["error"]) == (400, "invalid_grant")
