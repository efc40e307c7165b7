"""The tables `[upstreams.<name>]`: what they mean, and what stops the start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assent.load_settings import SettingsError, load_settings
from assent.settings import Settings
from assent.upstream_settings import upstreams
from assent.upstream_table import MOST_UPSTREAMS, UpstreamTable
from tests.assent.test_settings import configure

EHR = '[upstreams.ehr]\nurl = "https://ehr.example/fhir/"\n'
GOALS = "[upstreams.goals]\ntypes = ['Goal']\n"
LAB = '[upstreams.lab]\nurl = "https://lab.example/fhir"\n'


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ASSENT_"):
            monkeypatch.delenv(name)


def test_each_type_goes_to_the_upstream_that_names_it_and_the_rest_to_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(
        monkeypatch,
        tmp_path,
        EHR + LAB + 'types = ["Observation", "DocumentReference"]\nauth = "bearer"\n'
        'bearer_token = "hunter2"\ntimeout_seconds = 2\nfailures = 3\n',
    )
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    found = upstreams(settings)
    assert found.bases == ("https://ehr.example/fhir", "https://lab.example/fhir")
    names = {kind: found.source(kind).place.name for kind in ("Patient", "Observation", "DocumentReference", "Binary")}
    assert names == {"Patient": "ehr", "Observation": "lab", "DocumentReference": "lab", "Binary": "lab"}


def test_without_an_upstream_for_the_rest_other_types_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(monkeypatch, tmp_path, EHR + 'types = ["Patient"]\n' + LAB + 'types = ["Observation"]\n')
    found = upstreams(load_settings())
    served = [kind for kind in ("Patient", "Observation", "Condition", "Binary") if found.serves(kind)]
    assert served == ["Patient", "Observation"]


def test_the_one_upstream_of_the_environment_answers_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_UPSTREAM_URL", "https://ehr.example/fhir")
    monkeypatch.setenv("ASSENT_UPSTREAM_AUTH", "basic")
    monkeypatch.setenv("ASSENT_UPSTREAM_USERNAME", "u")
    monkeypatch.setenv("ASSENT_UPSTREAM_PASSWORD", "p")
    tables = load_settings().upstream_tables()
    assert list(tables) == ["upstream"]
    assert (tables["upstream"].types, tables["upstream"].username) == (None, "u")
    assert upstreams(load_settings()).serves("Condition")


def test_a_table_has_the_keys_of_a_single_upstream_with_the_same_meaning() -> None:
    table = {name: field for name, field in UpstreamTable.model_fields.items() if name != "types"}
    single = {name.removeprefix("upstream_"): field for name, field in Settings.model_fields.items()}
    for name, field in table.items():
        other = single[name]
        if name not in ("url", "token_url"):  # their check stands within the optional type there
            assert field.metadata == other.metadata
            assert (field.annotation, field.default) == (other.annotation, other.default)
    named = {name for name in Settings.model_fields if name.startswith("upstream_")}
    assert named - {"upstream_writes"} == {f"upstream_{name}" for name in table}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[upstreams.Lab]\nurl = 'https://lab.example'\n", "must have a name of its own"),
        ("[upstreams.assent]\nurl = 'https://lab.example'\n", "must have a name of its own"),
        ("[upstreams.'a b']\nurl = 'https://lab.example'\n", "must have a name of its own"),
        ("[upstreams.lab]\n", "`url` of `[upstreams.lab]`"),
        ("[upstreams.lab]\nurl = 'http://lab.example'\n", "`url` of `[upstreams.lab]` must begin with `https://`"),
        (LAB + "typs = ['Observation']\n", "`typs` of `[upstreams.lab]`"),
        (LAB + "types = []\n", "`types` of `[upstreams.lab]`"),
        (LAB + "types = ['Observations']\n", "`types` of `[upstreams.lab]` must be resource types of R4"),
        (LAB + "types = ['Consent']\n", "must not name `Consent`, which is Assent's own"),
        (LAB + "types = ['AuditEvent']\n", "must not name `AuditEvent`"),
        (LAB + "types = ['Binary']\n", "must not name `Binary`, which goes with `DocumentReference`"),
        (LAB + "auth = 'bearer'\n", "`bearer_token` is missing, which `auth=bearer` needs"),
        (LAB + "auth = 'bearer'\nbearer_token = 'hunter2 '\n", "`bearer_token` of `[upstreams.lab]` must be a token"),
        (LAB + "password = 'hunter2'\n", "`password` is set but `auth` is `none`"),
        (LAB + "connections = 0\n", "`connections` of `[upstreams.lab]`"),
        (LAB + "timeout_seconds = nan\n", "`timeout_seconds` of `[upstreams.lab]`"),
        (EHR + LAB, "`types` is missing in `[upstreams.lab]`"),
        (EHR + "types = ['Patient', 'Patient']\n", "`Patient` stands in `types` of `ehr` and of `ehr`"),
        (EHR + "types = ['Patient']\n" + LAB + "types = ['Patient']\n", "`types` of `ehr` and of `lab`"),
        (EHR + "types = ['Condition']\n", "no upstream answers for `Patient`"),
        (EHR + GOALS + "url = 'https://ehr.example/fhir'", "`url` of `[upstreams.ehr]` must not"),
        (EHR + GOALS + "url = 'https://EHR.example:443/fhir/x'", "`url` of `[upstreams.goals]` must not"),
        ("upstream_url = 'https://a.example'\n" + EHR, "keep one"),
        ("".join(f"[upstreams.u{n}]\nurl = 'https://u{n}.example'\n" for n in range(MOST_UPSTREAMS + 1)), "at most 16"),
        ("[upstreams]\nlab = 'https://lab.example'\n", "`[upstreams.lab]`"),
        ("upstreams = 'https://lab.example'\n", "`[upstreams]`"),
    ],
)
def test_a_wrong_table_stops_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    configure(monkeypatch, tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_tables_are_for_the_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_UPSTREAMS", '{"lab": {"url": "https://lab.example"}}')
    with pytest.raises(SettingsError, match="`ASSENT_UPSTREAMS` isn't a setting"):
        load_settings()


def test_neighbours_that_begin_alike_are_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path, EHR + GOALS + "url = 'https://ehr.example/fhir2'")
    assert len(load_settings().upstream_tables()) == 2


def test_a_key_file_that_is_none_is_named_by_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    signed_in = (
        "auth = 'backend-services'\ntoken_url = 'https://t.example'\nclient_id = 'x'\nprivate_key_file = '/no'\n"
    )
    configure(monkeypatch, tmp_path, EHR + signed_in)
    with pytest.raises(ValueError, match=r"of `\[upstreams\.ehr\]` names `/no`, which can't be read"):
        upstreams(load_settings())
