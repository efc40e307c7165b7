"""The sandbox, for clients that Assent's authors didn't write."""

from tests.sandbox_server import sandbox as sandbox
