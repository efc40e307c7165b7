"""What apps write: merged with what they can't see, decided before and after (docs/decisions/0022-writes.md)."""
