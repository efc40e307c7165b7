"""Commands through their real entry point: what they print and how they end."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from assent import cli
from assent.commands.output import show_record
from assent.policy_files import load_catalogue
from authz.clients.clients import new_client_id
from policies.model import Coding
from tests.conformance.launching import key_pair


def execute(url: str, statement: str) -> None:
    """Change the database behind the commands' back."""

    async def go() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(go())


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `assent <arguments>`."""
    monkeypatch.setattr(sys, "argv", ["assent", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ASSENT_DATA_DIR", str(tmp_path / ".assent"))
    return tmp_path / ".assent"


def test_migrate_says_what_it_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    code, out, _ = run(capsys, monkeypatch, "migrate", "--json")
    assert code == 0
    assert json.loads(out)["changed"] is True
    code, out, _ = run(capsys, monkeypatch, "migrate", "--json")
    assert json.loads(out)["changed"] is False


def test_doctor_finds_everything_in_order(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", database_url)
    code, out, _ = run(capsys, monkeypatch, "doctor", "--json")
    checks = {check["name"]: check["state"] for check in json.loads(out)}
    assert code == 0
    fine = dict.fromkeys(("database", "keys", "clock", "audit", "policies"), "ok")
    assert checks == {**fine, "upstream": "skipped", "sign-in": "skipped"}


def test_doctor_says_no_when_the_database_is_not_migrated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    code, out, _ = run(capsys, monkeypatch, "doctor")
    assert code == 1
    assert "there is no schema yet" in out


def test_unreachable_database_and_upstream_are_said_without_the_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", "postgresql://assent:hunter2@127.0.0.1:9/assent")
    monkeypatch.setenv("ASSENT_UPSTREAM_URL", "http://127.0.0.1:9")
    code, out, _ = run(capsys, monkeypatch, "doctor", "--json")
    states = {check["name"]: check["state"] for check in json.loads(out)}
    assert code == 1
    assert (states["database"], states["upstream"]) == ("failed", "failed")
    assert "hunter2" not in out
    code, out, err = run(capsys, monkeypatch, "migrate")
    assert code == 1
    assert "ASSENT_DATABASE_URL" in err
    assert "hunter2" not in out + err


def test_policy_check_accepts_what_comes_with_assent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "policy", "check", "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_policy_check_counts_the_words_and_says_when_a_folder_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, out, _ = run(capsys, monkeypatch, "policy", "check", "--json")
    assert json.loads(out)["sensitive_words"] > 100
    folder = _policy_copy(tmp_path)
    (folder / "sensitive_words.yaml").unlink()
    code, out, _ = run(capsys, monkeypatch, "policy", "check", str(folder), "--json")
    assert (code, json.loads(out)["sensitive_words"]) == (0, 0)


def test_policy_check_tells_what_is_still_in_english(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, out, _ = run(capsys, monkeypatch, "policy", "check", "--json")
    assert json.loads(out)["still_in_english"] == []
    folder = _policy_copy(tmp_path)
    words = folder / "words.es.yaml"
    here, _, rest = words.read_text(encoding="utf-8").partition("  medications:\n")
    words.write_text(here + rest.split("\n", 2)[2], encoding="utf-8")
    code, out, _ = run(capsys, monkeypatch, "policy", "check", str(folder), "--json")
    assert (code, json.loads(out)["still_in_english"]) == (0, ["es: medications"])


def test_policy_check_says_no_to_an_empty_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, monkeypatch, "policy", "check", str(tmp_path), "--json")
    assert code == 1
    assert "`categories.yaml` is missing" in json.loads(out)["error"]


def test_policy_show_and_docs_name_every_category(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = run(capsys, monkeypatch, "policy", "show", "--json")
    titles = [row["title"] for row in json.loads(out)]
    assert len(titles) >= 24
    code, page, _ = run(capsys, monkeypatch, "policy", "docs")
    assert code == 0
    assert all(title in page for title in titles)


def _policy_copy(folder: Path) -> Path:
    copied = shutil.copytree(Path(__file__).parents[2] / "policies" / "catalogue_files", folder / "policy")
    return Path(copied)


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("masks.yaml", "address.state", "address.planet", "Patient: R4 has no element `planet` here"),
        ("categories.yaml", "type: Immunization", "type: Imunization", "R4 has no resource type `Imunization`"),
        (
            "categories.yaml",
            "type: Immunization",
            "type: Task",
            "no mask of `masks.yaml` names `Task`",
        ),
        ("categories.yaml", "part_of: conditions", "part_of: illnesses", "there is no category `illnesses`"),
        ("categories.yaml", "part_of: conditions", "part_of: problem-list", "`problem-list` can't have parts"),
        ("categories.yaml", "part_of: conditions", "part_of: hiv", "`hiv` can't have parts"),
        ("categories.yaml", "part_of: conditions", "part_of: directory", "`directory` can't have parts"),
        ("categories.yaml", "part_of: conditions", "part_of: allergies", "beyond what `allergies` has"),
        ("categories.yaml", "part_of: conditions", "part_of: conditions\n    always: true", "leave `always`"),
        ("categories.yaml", "part_of: conditions", "part_of: conditions\n    emergency: false", "leave `always`"),
        (
            "categories.yaml",
            "        category: http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item\n",
            "",
            "all of `conditions`, not a part",
        ),
        ("masks.yaml", "  limited:\n    - http", "  narrow:\n    - http", "masks.extensions"),
        ("sensitivities.yaml", "code: hiv", "code: aids", "there is no sensitive category `hiv`"),
        ("code_sets/assent.json", '"licence": "CC BY 4.0"', '"license": "CC BY 4.0"', "`license` is not known here"),
        ("code_sets/assent.json", '{"sources"', '"sources"', "`code_sets/assent.json` can't be read as JSON"),
    ],
)
def test_policy_check_names_the_mistake(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    error: str,
) -> None:
    folder = _policy_copy(tmp_path)
    content = (folder / name).read_text(encoding="utf-8")
    assert old in content
    (folder / name).write_text(content.replace(old, new, 1), encoding="utf-8")
    code, out, _ = run(capsys, monkeypatch, "policy", "check", str(folder), "--json")
    assert code == 1
    assert error in json.loads(out)["error"]


def test_value_sets_are_imported_into_a_policy_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = _policy_copy(tmp_path)
    local = {"system": "urn:example:local", "concept": [{"code": "HIV-CLINIC", "display": "told to nobody"}]}
    value_set = {"resourceType": "ValueSet", "url": "urn:example:vs", "version": "2", "compose": {"include": [local]}}
    source, output = tmp_path / "clinic.json", folder / "code_sets" / "clinic.json"
    source.write_text(json.dumps(value_set), encoding="utf-8")
    options = ("--sensitivity", "hiv", "--licence", "our own", "--output", str(output))
    code, out, _ = run(capsys, monkeypatch, "policy", "import-codes", str(source), *options)
    assert (code, out) == (0, "codes written: 1\n")
    assert "told to nobody" not in output.read_text(encoding="utf-8")
    catalogue = load_catalogue(folder)
    assert catalogue.sensitive_codes.of(Coding("urn:example:local", "HIV-CLINIC")) == {"hiv"}
    (imported,) = {s.source for s in catalogue.code_sets if s.system == "urn:example:local"}
    told = (imported.name, imported.publisher, imported.version, imported.licence)
    assert told == ("urn:example:vs", "not stated", "2", "our own")
    source.write_text("{}", encoding="utf-8")
    code, _, err = run(capsys, monkeypatch, "policy", "import-codes", str(source), *options)
    assert code == 1
    assert "it is no ValueSet" in err


def test_client_is_added_listed_rotated_and_disabled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    add = ("client", "add", "My app", "--kind", "confidential-symmetric", "--redirect-uri", "https://app.example/cb")
    code, out, _ = run(capsys, monkeypatch, *add, "--json")
    added = json.loads(out)
    assert code == 0
    code, out, _ = run(capsys, monkeypatch, "client", "rotate", added["client_id"], "--json")
    assert json.loads(out)["client_secret"] != added["client_secret"]
    assert run(capsys, monkeypatch, "client", "disable", added["client_id"])[0] == 0
    _, out, _ = run(capsys, monkeypatch, "client", "list", "--json")
    assert [(row["name"], row["disabled"]) for row in json.loads(out)] == [("My app", True)]
    assert "secret" not in {key for row in json.loads(out) for key in row}
    assert run(capsys, monkeypatch, "client", "disable", "nobody")[0] == 1
    code, _, err = run(capsys, monkeypatch, "client", "add", "Bad", "--redirect-uri", "http://app.example/cb")
    assert (code, "must be https" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "`--redirect-uri` must name at least one URI"),
        (("--kind", "backend"), "needs `--jwks` or `--jwks-url`"),
        (("--redirect-uri", "https://app.example/cb", "--scope", "x" * 4_001), "`--scope` may have at most"),
        (("--redirect-uri", "https://app.example/cb", "--purpose", "BTG"), "`--purpose` must be one of"),
        (("--redirect-uri", "https://app.example/cb", "--purpose", "anything"), "TREAT"),
    ],
)
def test_a_client_that_can_not_be_added_is_refused_by_the_options_name(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    empty_database_url: str,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    code, _, err = run(capsys, monkeypatch, "client", "add", "Bad", *arguments)
    assert (code, said in err) == (1, True)


def test_the_operator_says_what_a_client_must_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    add = ("client", "add", "Careful", "--redirect-uri", "https://app.example/cb")
    assert run(capsys, monkeypatch, *add, "--require", "dpop", "--require", "pushed-request")[0] == 0
    for wrong, said in (
        ("everything", "`--require` takes dpop, pushed-request, signed-request, certificate, not `everything`"),
        ("dpop_bound_access_tokens", "not `dpop_bound_access_tokens`"),
        ("signed-request", "`--require signed-request` needs `--jwks` or `--jwks-url`"),
    ):
        code, _, err = run(capsys, monkeypatch, *add, "--require", wrong)
        assert (code, said in err) == (1, True), err
    _, out, _ = run(capsys, monkeypatch, "client", "list", "--json")
    demanded = ["dpop_bound_access_tokens", "require_pushed_authorization_requests"]
    assert [row["requires"] for row in json.loads(out)] == [demanded]


def test_an_app_that_waits_for_review_is_approved_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    add = ("client", "add", "Waiting", "--redirect-uri", "https://app.example/cb", "--json")
    wanted = json.loads(run(capsys, monkeypatch, *add)[1])["client_id"]

    def waiting() -> list[bool]:
        return [row["awaits_review"] for row in json.loads(run(capsys, monkeypatch, "client", "list", "--json")[1])]

    assert (waiting(), run(capsys, monkeypatch, "client", "approve", wanted)[0]) == ([False], 1)
    execute(empty_database_url, "UPDATE assent.client SET review_since = now()")
    assert (waiting(), run(capsys, monkeypatch, "client", "approve", wanted)[0]) == ([True], 0)
    assert (waiting(), run(capsys, monkeypatch, "client", "approve", wanted)[0]) == ([False], 1)


def test_no_client_id_looks_like_an_option() -> None:
    assert not [client_id for client_id in (new_client_id() for _ in range(2_000)) if client_id.startswith("-")]


def test_the_keys_of_a_client_are_replaced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("ASSENT_PUBLIC_URL", "https://assent.example")
    first, second, private, none = (tmp_path / name for name in ("first", "second", "private", "none"))
    first.write_text(json.dumps({"keys": [key_pair("ES384", "first")[0]]}))
    second.write_text(json.dumps({"keys": [key_pair("ES384", "second")[0]]}))
    private.write_text(json.dumps({"keys": [{**key_pair("ES384")[0], "d": "AQAB"}]}))
    add = ("client", "add", "Service", "--kind", "backend", "--json")
    code, out, err = run(capsys, monkeypatch, *add, "--jwks", str(first))
    client_id = json.loads(out)["client_id"]
    assert (code, json.loads(out)["key_ids"], "assent client keys" in err) == (0, ["first"], True)
    replace = ("client", "keys", client_id, "--json")
    _, out, err = run(capsys, monkeypatch, *replace, "--jwks", str(second))
    assert (json.loads(out)["key_ids"], json.loads(out)["jwks_uri"]) == (["second"], None)
    assert "assent client keys" in err
    _, out, err = run(capsys, monkeypatch, *replace, "--jwks-url", "https://app.example/jwks")
    assert (json.loads(out)["key_ids"], json.loads(out)["jwks_uri"], err) == ([], "https://app.example/jwks", "")
    for arguments, ends in (
        ((), 2),
        (("--jwks", str(first), "--jwks-url", "https://app.example/jwks"), 2),
        (("--jwks", str(none)), 2),
        (("--jwks", str(private)), 1),
        (("--jwks-url", "https://10.0.0.1/jwks"), 1),
        (("--jwks-url", "http://127.0.0.1/jwks"), 1),
    ):
        assert run(capsys, monkeypatch, *replace, *arguments)[0] == ends, arguments
    assert run(capsys, monkeypatch, "client", "keys", "nobody", "--jwks", str(first))[0] == 1
    _, out, _ = run(capsys, monkeypatch, "client", "list", "--json")
    assert [row["jwks_uri"] for row in json.loads(out)] == ["https://app.example/jwks"]
    code, out, _ = run(capsys, monkeypatch, *add, "--jwks-url", "https://app.example/jwks")
    assert (code, json.loads(out)["jwks_uri"]) == (0, "https://app.example/jwks")
    assert run(capsys, monkeypatch, *add)[0] == 1
    public = ("client", "add", "App", "--redirect-uri", "https://app.example/cb", "--json")
    app = json.loads(run(capsys, monkeypatch, *public)[1])["client_id"]
    code, _, err = run(capsys, monkeypatch, "client", "keys", app, "--jwks", str(first))
    assert (code, "has no keys" in err) == (1, True)


def test_user_is_added_once_with_a_password_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    add = ("user", "add", "jane", "--fhir-user", "Patient/p1", "--patient", "p1=Jane Doe", "--json")
    for expected in (0, 1):
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
        code, out, err = run(capsys, monkeypatch, *add)
        assert code == expected
        assert "correct horse" not in out + err
    _, out, _ = run(capsys, monkeypatch, "user", "list", "--json")
    assert [row["username"] for row in json.loads(out)] == ["jane"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert run(capsys, monkeypatch, "user", "add", "joe")[0] == 2


@pytest.mark.parametrize(
    ("options", "patients"),
    [
        (("--fhir-user", "Patient/p1"), ["p1"]),
        (("--fhir-user", "Patient/p1", "--patient", "c1=Ann", "--role", "representative"), ["c1", "p1"]),
        (("--patient", "c1=Ann"), ["c1"]),
        (("--fhir-user", "Practitioner/d1", "--role", "clinician"), []),
    ],
)
def test_who_is_a_patient_decides_for_themselves(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    empty_database_url: str,
    options: tuple[str, ...],
    patients: list[str],
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    code, out, _ = run(capsys, monkeypatch, "user", "add", "jane", *options, "--json")
    assert (code, sorted(json.loads(out)["patients"])) == (0, patients)


def test_keys_are_made_listed_and_rotated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", empty_database_url)
    _, out, _ = run(capsys, monkeypatch, "keys", "list", "--json")
    before = {row["kid"] for row in json.loads(out)}
    code, out, _ = run(capsys, monkeypatch, "keys", "rotate", "--json")
    new = set(json.loads(out)["new"])
    assert code == 0
    assert new
    _, out, _ = run(capsys, monkeypatch, "keys", "list", "--json")
    assert before | new <= {row["kid"] for row in json.loads(out)}


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("serve", "--port", "0"), ("policy", "nonsense"), ("doctor", "x")]
)
def test_misuse_exits_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert run(capsys, monkeypatch, *arguments)[0] == 2


def test_serve_without_an_upstream_exits_2_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "serve")
    assert code == 2
    assert "ASSENT_UPSTREAM_URL" in err


def test_module_runs_like_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "assent", "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "doctor" in ended.stdout


def test_tables_are_for_people_and_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    record = {"ok": True, "disabled": False, "none": None, "since": moment, "kinds": ["a", "b"]}
    show_record(record, as_json=False)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    shown = [["ok", "yes"], ["disabled", "no"], ["none"], ["since", "2026-01-02 03:04:05+00:00"], ["kinds", "a, b"]]
    assert lines == shown
    show_record(record, as_json=True)
    assert json.loads(capsys.readouterr().out) == record | {"since": "2026-01-02T03:04:05.000678+00:00"}
