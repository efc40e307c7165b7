"""What FHIR R4 itself defines, and how a resource is read as JSON: no database, no network, no decisions."""
