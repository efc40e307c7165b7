"""The PostgreSQL that comes along when no other is named (docs/decisions/0002-embedded-postgresql.md)."""
