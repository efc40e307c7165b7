"""The error of a file that a setting names."""

from __future__ import annotations


class NamedFileError(ValueError):
    """A file that a setting names can't be used; the text names the setting."""
