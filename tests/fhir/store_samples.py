"""A few hand-written resources for the tests of the store, and a clock that they can set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)


class SteppingClock:
    """Each look at it is a second later than the one before."""

    def __init__(self) -> None:
        self.now = START - timedelta(seconds=1)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
UCUM = "http://unitsofmeasure.org"

SAMPLES: tuple[bytes, ...] = (
    b"""{"resourceType":"Patient","id":"p1","active":true,
     "identifier":[{"system":"urn:mrn","value":"A-1","type":{"text":"Medical record"}}],
     "name":[{"family":"M\xc3\xbcller","given":["Anna","Maria"]}],"gender":"female","birthDate":"1980-05-17",
     "generalPractitioner":[{"reference":"Practitioner/dr1"}]}""",
    b"""{"resourceType":"Patient","id":"p2","identifier":[{"value":"A-2"}],
     "name":[{"family":"Muller,Jr","given":["Ben"]}],"gender":"male","birthDate":"1980-06",
     "meta":{"tag":[{"system":"urn:t","code":"demo"}]}}""",
    b"""{"resourceType":"Patient","id":"p3","name":[{"family":"Okafor"}]}""",
    b"""{"resourceType":"Practitioner","id":"dr1","name":[{"family":"Weber"}]}""",
    b"""{"resourceType":"Group","id":"p1","type":"person","actual":true}""",
    b"""{"resourceType":"Observation","id":"o1","status":"final","subject":{"reference":"Patient/p1"},
     "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category",
     "code":"laboratory","display":"Laboratory"}]}],
     "code":{"coding":[{"system":"http://loinc.org","code":"4548-4","display":"Hemoglobin A1c"}],"text":"HbA1c"},
     "effectiveDateTime":"2024-03-05T10:00:00+01:00",
     "valueQuantity":{"value":5.40,"unit":"percent","system":"http://unitsofmeasure.org","code":"%"}}""",
    b"""{"resourceType":"Observation","id":"o2","status":"preliminary","subject":{"reference":"Patient/p1"},
     "category":[{"coding":[{"code":"vital-signs"}]}],
     "code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},
     "effectivePeriod":{"start":"2024-01-01","end":"2024-02-15"},
     "valueQuantity":{"value":72,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}""",
    b"""{"resourceType":"Observation","id":"o3","status":"final","subject":{"reference":"Patient/p2"},
     "code":{"text":"Free text only"},"effectivePeriod":{"start":"2024-03"}}""",
    b"""{"resourceType":"Observation","id":"o4","status":"final",
     "subject":{"identifier":{"system":"urn:mrn","value":"A-9"}},
     "code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},
     "performer":[{"reference":"https://elsewhere.example/fhir/Practitioner/9"}]}""",
    b"""{"resourceType":"ValueSet","id":"v1","url":"https://example.org/sets/a","status":"active"}""",
    b"""{"resourceType":"ValueSet","id":"v2","url":"https://example.org/sets/a/b","status":"active"}""",
    b"""{"resourceType":"RiskAssessment","id":"r1","status":"final","subject":{"reference":"Patient/p1"},
     "prediction":[{"probabilityDecimal":0.25}]}""",
)
