"""The language of FHIR searches: parameters and their values, read strictly (FHIR R4 §3.1.1)."""
