"""The `assent` command, also as `python -m assent`."""

from __future__ import annotations

import gc


def main() -> None:
    """Import and run it."""
    # What importing makes stays; looking through it for garbage, again and again, is a sixth of the time to the prompt.
    gc.disable()
    from assent.cli import main as command

    gc.freeze()
    gc.enable()
    command()


if __name__ == "__main__":
    main()
