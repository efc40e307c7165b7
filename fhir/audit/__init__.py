"""The durable record of what happened: journal, AuditEvents, hash chain, checkpoints, evidence packs."""
