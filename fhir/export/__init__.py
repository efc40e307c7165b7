"""Bulk export for backend services, filtered line by line (docs/decisions/0023-bulk-export.md)."""
