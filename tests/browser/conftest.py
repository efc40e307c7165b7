"""The sandbox, for clients that were not written for Assent."""

from tests.sandbox_server import sandbox as sandbox
