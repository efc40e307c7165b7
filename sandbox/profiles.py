"""What the sandbox's data follow: the profiles of US Core that they name, for `/fhir/metadata`."""

from __future__ import annotations

from typing import Final

from sandbox.records.terminology import US_CORE

_NAMES: Final = {
    "AllergyIntolerance": ("us-core-allergyintolerance",),
    "CarePlan": ("us-core-careplan",),
    "CareTeam": ("us-core-careteam",),
    "Condition": ("us-core-condition-encounter-diagnosis", "us-core-condition-problems-health-concerns"),
    "Coverage": ("us-core-coverage",),
    "Device": ("us-core-implantable-device",),
    "DiagnosticReport": ("us-core-diagnosticreport-lab", "us-core-diagnosticreport-note"),
    "DocumentReference": ("us-core-adi-documentreference", "us-core-documentreference"),
    "Encounter": ("us-core-encounter",),
    "Goal": ("us-core-goal",),
    "Immunization": ("us-core-immunization",),
    "Location": ("us-core-location",),
    "Medication": ("us-core-medication",),
    "MedicationDispense": ("us-core-medicationdispense",),
    "MedicationRequest": ("us-core-medicationrequest",),
    "Observation": (
        "head-occipital-frontal-circumference-percentile",
        "pediatric-bmi-for-age",
        "pediatric-weight-for-height",
        "us-core-average-blood-pressure",
        "us-core-blood-pressure",
        "us-core-bmi",
        "us-core-body-height",
        "us-core-body-temperature",
        "us-core-body-weight",
        "us-core-care-experience-preference",
        "us-core-head-circumference",
        "us-core-heart-rate",
        "us-core-observation-adi-documentation",
        "us-core-observation-clinical-result",
        "us-core-observation-lab",
        "us-core-observation-occupation",
        "us-core-observation-pregnancyintent",
        "us-core-observation-pregnancystatus",
        "us-core-observation-screening-assessment",
        "us-core-observation-sexual-orientation",
        "us-core-pulse-oximetry",
        "us-core-respiratory-rate",
        "us-core-simple-observation",
        "us-core-smokingstatus",
        "us-core-treatment-intervention-preference",
    ),
    "Organization": ("us-core-organization",),
    "Patient": ("us-core-patient",),
    "Practitioner": ("us-core-practitioner",),
    "PractitionerRole": ("us-core-practitionerrole",),
    "Procedure": ("us-core-procedure",),
    "Provenance": ("us-core-provenance",),
    "QuestionnaireResponse": ("us-core-questionnaireresponse",),
    "RelatedPerson": ("us-core-relatedperson",),
    "ServiceRequest": ("us-core-servicerequest",),
    "Specimen": ("us-core-specimen",),
}
PROFILES: Final = tuple(f"{kind}={US_CORE}{name}" for kind, names in _NAMES.items() for name in names)
"""As `Type=canonical URL`, the way a setting names them."""
CAPABILITIES: Final = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"
"""US Core's own CapabilityStatement of a server."""
