"""FHIR Consents: read into rules, written from decisions, checked, and kept at hand for every decision."""
