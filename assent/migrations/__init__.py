"""Alembic migrations of Assent's own schema; each version spells its tables out, so that it never changes."""
