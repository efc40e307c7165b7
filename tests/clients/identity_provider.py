"""npm's `oidc-provider` as a process, and a person's browser at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import httpx
from joserfc.jwk import RSAKey

from tests.clients.node_modules_folder import installed
from tests.clients.test_node_clients import NodeApp, running

CLIENT_ID = "assent"
SECRET = "a secret of the tests: + & / % of forty characters"  # noqa: S105 - of a test
AMR = ("otp", "pwd")
METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
ACR = "https://idp.example/two-factors"


def new_key(kid: str) -> RSAKey:
    """A key that signs ID tokens."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass(slots=True)
class OidcProvider:
    """The provider; `set_up` begins it anew, without anybody signed in."""

    issuer: str
    _process: NodeApp
    key: RSAKey = field(default_factory=lambda: new_key("k1"))
    _told: dict[str, Any] = field(default_factory=dict)

    def set_up(
        self, callbacks: Sequence[str], key: RSAKey | None = None, *, methods: Sequence[str] = METHODS, **client: Any
    ) -> None:
        """`methods`: how clients may authenticate; `client`: members of the client's metadata beside the usual ones."""
        self.key = key or self.key
        about: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": SECRET, "redirect_uris": list(callbacks)}
        jwks = {"keys": [self.key.as_dict(private=True)]}
        told = {"issuer": self.issuer, "clients": [about | client], "jwks": jwks, "methods": list(methods)}
        self._told = told | {"amr": list(AMR), "acr": ACR}
        self._process.tell(self._told)
        assert self._process.hear() == {"ready": True}

    def go_down(self) -> None:
        """Hang up on everybody, until it is set up anew."""
        self._process.tell(self._told | {"down": True})
        assert self._process.hear() == {"ready": True}


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """A provider that isn't set up yet, on a port of its own."""
    installed("oidc-provider")
    with running("identity_provider") as process:
        process.tell({"port": 0})
        yield OidcProvider(process.hear()["issuer"], process)


class Browser:
    """Somebody's browser at the provider; it remembers who is signed in there."""

    def __init__(self) -> None:
        self._http = httpx.Client(timeout=30)
        self.asked = False
        """Whether the provider asked who they are, the last time."""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def forget(self) -> None:
        """Forget who is signed in there."""
        self._http.cookies.clear()

    def go(self, url: str, login: str | None, back_to: str) -> str:
        """Follow Assent's redirect, sign in when asked (None: cancel); the address at Assent to which it leads back."""
        self.asked = False
        response = self._http.get(url)
        for _ in range(12):
            if response.next_request is None:
                assert response.status_code == 200, response.text[:400]
                assert 'name="login"' in response.text, response.text[:400]
                self.asked = True
                response = self._http.post(str(response.url), data={"login": login or ""})
                continue
            target = urljoin(str(response.url), response.headers["location"])
            if target.startswith(back_to):
                return target
            response = self._http.get(target)
        raise AssertionError("the provider didn't send the browser back")
