"""Decisions about consents: by patients, by clinicians, by recorders over REST, and in emergencies."""
