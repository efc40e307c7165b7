"""L10-L13 and L30-L39: nothing withheld comes along with what is shown."""

from __future__ import annotations

import pytest

from tests.leaks.world import World


@pytest.mark.leak("L10")
async def test_l10_an_include_never_brings_another_patient(leaky: World) -> None:
    app = await leaky.app(["laboratory", "demographics"])
    found = await app.ids("Observation?_id=two-patients&_include=Observation:focus&_include=Observation:subject")
    assert "Patient/bob" not in found
    assert set(found) == {"Observation/two-patients", "Patient/ana"}


@pytest.mark.leak("L11")
async def test_l11_a_reverse_include_brings_only_what_is_shared(leaky: World) -> None:
    app = await leaky.app(["demographics", "vital-signs"])
    found = await app.ids("Patient?_revinclude=Observation:subject")
    assert set(found) == {"Patient/ana", *(f"Observation/vital{n}" for n in range(4))}


@pytest.mark.leak("L12")
@pytest.mark.parametrize(
    "query",
    [
        "_include=*",
        "_include=Observation:*",
        "_include:iterate=Observation:subject",
        "_revinclude=*:subject",
        "_include=x",
    ],
)
async def test_l12_wildcard_and_iterated_includes_are_refused(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    assert (await app.get(f"Observation?{query}")).status_code == 400


@pytest.mark.leak("L13")
async def test_l13_the_provider_of_a_withheld_result_is_not_included(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    found = await app.ids("Observation?_include=Observation:performer&_count=100")
    assert "Practitioner/doc" in found
    assert "Practitioner/hivdoc" not in found


@pytest.mark.smart(119, 245)
async def test_sensitive_results_come_only_with_their_own_category(leaky: World) -> None:
    without = set(await (await leaky.app(["laboratory"])).ids("Observation?_count=100"))
    granted = set(await (await leaky.app(["laboratory", "hiv"])).ids("Observation?_count=100"))
    assert granted - without == {"Observation/hiv-by-code", "Observation/hiv-by-label", "Observation/bare-code"}
    other = set(await (await leaky.app(["laboratory", "other-sensitive"])).ids("Observation?_count=100"))
    assert other - without == {"Observation/odd-label"}


async def test_a_bundles_confidentiality_tells_nothing_of_what_is_withheld(leaky: World) -> None:
    granted = (await (await leaky.app(["laboratory", "hiv"])).get("Observation?_count=100")).json()
    assert [label["code"] for label in granted["meta"]["security"]] == ["R"]
    without = (await (await leaky.app(["laboratory"])).get("Observation?_count=100")).json()
    assert "meta" not in without


@pytest.mark.leak("L30")
@pytest.mark.parametrize("wanted", ["Patient/ana", "Observation/narrated"])
async def test_l30_no_narrative_comes_along(leaky: World, wanted: str) -> None:
    app = await leaky.app(["laboratory", "demographics"])
    answer = await app.get(wanted)
    assert answer.status_code == 200
    assert "NARRATIVE-SECRET" not in answer.text
    assert "SUBSETTED" in answer.text


@pytest.mark.leak("L31")
async def test_l31_no_contained_patient_comes_along(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    assert "CONTAINED" not in (await app.get("Observation/contained-patient")).text


@pytest.mark.leak("L32")
async def test_l32_no_display_names_a_person_or_a_withheld_condition(leaky: World) -> None:
    app = await leaky.app(["laboratory", "encounters"])
    assert "display" not in (await app.get("Observation/two-patients")).text
    encounter = await app.get("Encounter/enc")
    assert encounter.status_code == 200
    assert "DISPLAY-SECRET" not in encounter.text


@pytest.mark.leak("L33")
async def test_l33_a_modifier_extension_that_nobody_understands_withholds_the_resource(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    assert (await app.get("Observation/modified")).status_code == 404


async def test_a_condition_is_withheld_by_its_code_alone(leaky: World) -> None:
    app = await leaky.app(["conditions"])
    assert await app.ids("Condition") == ["Condition/flu"]
    both = await leaky.app(["conditions", "substance-use"])
    assert await both.ids("Condition?_sort=_id") == ["Condition/flu", "Condition/opioid"]


@pytest.mark.leak("L50")
async def test_l50_without_a_patient_in_context_nothing_is_open(leaky: World) -> None:
    app = await leaky.app(["laboratory"], scope="launch/patient patient/Condition.rs")
    assert (await app.get("Observation")).status_code == 403
    assert (await app.get("Condition")).status_code == 403  # conditions weren't ticked


async def test_numbers_and_unknown_parts_of_kept_elements_are_byte_true(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    assert '"note":[{"text":"note 0"}]' in (await app.get("Observation/lab0")).text
