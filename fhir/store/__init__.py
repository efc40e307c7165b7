"""The FHIR repository in PostgreSQL: Consents and AuditEvents, and the sandbox's records; what changed is announced."""
