"""Bad input: a clear message, a stable code, and nothing half done."""

import re
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres
from prefect_server import free_port
from workshop import Workshop

from catalog.load import load_catalog
from deployments.authoring import problems_of
from deployments.prefect_api import prefect_api, tagged_deployments
from deployments.project import load_project


@dataclass(frozen=True)
class Case:
    """A definition with one mistake, and what is said of it."""

    code: str
    message: str
    keys: dict[str, Any] = field(default_factory=dict)
    incremental: bool = False
    script: str | None = None


CURSOR = {"column": "updated_at"}
CASES = {
    "unknown key": Case("DEFINITION_INVALID", "unknown key 'tabel'; did you mean 'table'?", {"tabel": "orders"}),
    "unknown nested key": Case(
        "DEFINITION_INVALID", "unknown key 'compresion'", {"file": {"name": "a.csv", "compresion": "gzip"}}
    ),
    "unknown type": Case("DEFINITION_INVALID", "'custom' or 'incremental_custom'", {"type": "full"}),
    "neither table nor query": Case("DEFINITION_INVALID", "either `table` or `query`", {"table": None}),
    "incremental without cursor": Case("DEFINITION_INVALID", "needs `cursor", {"type": "incremental"}),
    "missing table": Case("COLUMN_MISSING", "no table 'ordrs'; did you mean 'orders'?", {"table": "ordrs"}),
    "missing column": Case("COLUMN_MISSING", "no column 'custmer'; did you mean 'customer'?", {"columns": ["custmer"]}),
    "missing cursor column": Case(
        "COLUMN_MISSING", "no column 'changed'", {"cursor": {"column": "changed"}}, incremental=True
    ),
    "cursor of another type": Case(
        "CURSOR_TYPE", "'customer' holds text that is no date", {"cursor": {"column": "customer"}}, incremental=True
    ),
    "cursor that is a number": Case(
        "CURSOR_TYPE", "'id' holds int, not a date or timestamp", {"cursor": {"column": "id"}}, incremental=True
    ),
    "bad SQL in where": Case("SQL_ERROR", "syntax error", {"where": "customer == = 1"}),
    "unknown column in where": Case("COLUMN_MISSING", "no such column: nope", {"where": "nope = 1"}),
    "bad SQL in query": Case("SQL_ERROR", "syntax error", {"table": None, "query": "SELECT id FROM orders GROUP"}),
    "a query that writes": Case("QUERY_INVALID", "begins with DELETE", {"table": None, "query": "DELETE FROM orders"}),
    "a query that hides a write": Case(
        "QUERY_INVALID",
        "it would write",
        {"table": None, "query": "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone"},
    ),
    "a second statement in a query": Case(
        "QUERY_INVALID", "more than one statement", {"table": None, "query": "SELECT 1; DROP TABLE orders"}
    ),
    "a second statement in where": Case("QUERY_INVALID", "second statement", {"where": "1 = 1; DROP TABLE orders"}),
    "where that leaves its parentheses": Case("QUERY_INVALID", "closes a parenthesis", {"where": "1 = 1) OR (1 = 1"}),
    "bad cron": Case("SCHEDULE_INVALID", "no cron expression", {"schedule": {"cron": "0 25 * * *"}}),
    "bad timezone": Case(
        "SCHEDULE_INVALID",
        "did you mean 'Europe/Brussels'?",
        {"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Brussel"}},
    ),
    "unknown field in a name": Case("NAME_FIELD_UNKNOWN", "unknown field {dat}", {"file": {"name": "a_{dat}.csv"}}),
    "attribute access in a name": Case(
        "NAME_FIELD_UNKNOWN", "unknown field {date.__class__}", {"file": {"name": "a_{date.__class__}.csv"}}
    ),
    "a name that leaves the target": Case("NAME_INVALID", "begin with a dot", {"file": {"name": "../a.csv"}}),
    "a folder that leaves the target": Case("NAME_INVALID", "begin with a dot", {"folder": "in/../.."}),
    "an absolute folder": Case("NAME_INVALID", "it is empty", {"folder": "/etc"}),
    "unknown database": Case("DEFINITION_INVALID", "no databases/crn.yaml; did you mean 'crm'?", {"database": "crn"}),
    "unknown target": Case("DEFINITION_INVALID", "no targets/drob.yaml; did you mean 'drop'?", {"target": "drob"}),
}


def nothing_left(workshop: Workshop) -> None:
    assert workshop.files() == {}
    assert not (workshop.folder / "spool").exists() or not any((workshop.folder / "spool").rglob("*.*"))
    with prefect_api() as client:
        assert tagged_deployments(client, load_project().tag) == []
    assert not (workshop.folder / "state" / "ledger.sqlite").exists()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_check_and_run_refuse_it_and_leave_nothing(prefect: Workshop, case: Case) -> None:
    prefect.sqlite()
    make = prefect.incremental if case.incremental else prefect.export
    export_id = make(**case.keys)
    (problem,) = prefect.json("check", export_id, exit_code=1)
    assert (problem["code"], problem["severity"], problem["export"]) == (case.code, "error", export_id)
    assert case.message in problem["message"] and problem["hint"]
    for command in ("run", "activate"):
        if command == "activate" and "schedule" not in case.keys:
            continue
        error = prefect.json(command, export_id, exit_code=1)["error"]
        assert error["code"] == case.code and case.message in error["message"]
    words = prefect.run("run", export_id, exit_code=1)
    assert words.stderr.startswith(f"Error: {case.code}: ") and "\nTry: " in words.stderr
    nothing_left(prefect)


def test_a_problem_in_the_yaml_names_file_line_and_key(workshop: Workshop) -> None:
    workshop.sqlite()
    path = workshop.catalog_folder / "exports" / "orders.yaml"
    path.write_text(
        "name: A\ntype: periodic_full\ndatabase: crm\ntable: orders\ntarget: drop\nfile:\n  name: a.csv\n  formt: csv\n"
    )
    (problem,) = workshop.json("check", "orders", exit_code=1)
    assert (problem["file"], problem["line"], problem["key"]) == ("exports/orders.yaml", 8, "file.formt")


def test_a_problem_that_the_database_knows_names_the_file_and_line_too(workshop: Workshop) -> None:
    workshop.sqlite()
    for export_id, keys in {"fine": {}, "gone": {"table": "orderz"}, "old": {"columns": ["id", "totel"]}}.items():
        workshop.export(export_id, file={"name": f"{export_id}.csv"}, **keys)
    found = [(each["file"], each["line"], each["key"]) for each in workshop.json("check", exit_code=1)]
    assert found == [("exports/gone.yaml", 4, "table"), ("exports/old.yaml", 8, "columns")]
    said = workshop.run("check", exit_code=1).stdout
    assert "error: COLUMN_MISSING: exports/gone.yaml:4: there is no table 'orderz'" in said


def test_of_an_edited_text_its_own_line_is_named(workshop: Workshop, tmp_path: Path) -> None:
    workshop.sqlite()
    export_id = workshop.export()
    edited = tmp_path / f"{export_id}.yaml"
    written = (workshop.catalog_folder / "exports" / edited.name).read_text()
    edited.write_text("# one line more\n" + written.replace("table: orders", "table: orderz"))
    (problem,) = problems_of(load_catalog(workshop.catalog_folder), export_id, edited)
    assert (str(problem.code), problem.file, problem.line) == ("COLUMN_MISSING", f"{tmp_path.name}/{edited.name}", 5)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("name: [", "YAML_SYNTAX", "is no YAML"),
        ("", "DEFINITION_INVALID", "is empty"),
        ("- a\n- b\n", "DEFINITION_INVALID", "not keys and values"),
        ("name: a\nname: b\n", "DEFINITION_INVALID", "a key stands twice"),
        ("name:\n\t- a\n", "YAML_SYNTAX", "is no YAML"),
        ("id: orders\nname: a\n", "DEFINITION_INVALID", "`id` is not written"),
    ],
)
def test_what_is_no_definition_at_all(workshop: Workshop, content: str, code: str, message: str) -> None:
    (workshop.catalog_folder / "exports" / "orders.yaml").write_text(content)
    (problem,) = workshop.json("check", exit_code=1)
    assert problem["code"] == code and message in problem["message"]


@pytest.mark.parametrize("stem", ["Orders", "2orders", "or-ders", "class", "run"])
def test_an_id_that_is_no_identifier(workshop: Workshop, stem: str) -> None:
    workshop.sqlite()
    workshop.export(stem)
    (problem,) = workshop.json("check", stem, exit_code=1)
    assert problem["code"] == "DEFINITION_INVALID" and repr(stem) in problem["message"]


ON_AN_ID = [
    ["activate"],
    ["backfill", "--since", "2026-01-01T00:00", "--until", "2026-01-02T00:00"],
    ["check"],
    ["copy"],
    ["delete", "--yes"],
    ["download"],
    ["edit"],
    ["ledger"],
    ["preview"],
    ["relaunch"],
    ["report"],
    ["run"],
    ["runs"],
    ["show"],
    ["unschedule", "--yes"],
]


@pytest.mark.parametrize("words", ON_AN_ID, ids=[words[0] for words in ON_AN_ID])
def test_an_id_that_is_a_path_is_unknown(prefect: Workshop, words: list[str]) -> None:
    prefect.sqlite()
    target = prefect.catalog_folder / "targets" / "drop.yaml"
    before = target.read_bytes()
    for path in ("a/b", "../targets/drop"):
        more = [prefect.id("new")] if words == ["copy"] else []
        error = prefect.json(words[0], path, *more, *words[1:], exit_code=1)["error"]
        assert error["code"] == "EXPORT_UNKNOWN" and repr(path) in error["message"]
    assert target.read_bytes() == before
    nothing_left(prefect)


def test_a_path_is_no_id_of_a_new_export(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    options = ["--type", "periodic_full", "--database", "crm", "--table", "orders", "--file-name", "o.csv"]
    for path in ("a/b", "../targets/other", "", "a" * 300):
        for words in (["copy", export_id, path], ["create", path, *options, "--target", "drop"]):
            error = prefect.json(*words, exit_code=1)["error"]
            assert error["code"] == "DEFINITION_INVALID" and f"{path!r} is no id" in error["message"]
    assert {path.stem for path in prefect.catalog_folder.rglob("*.yaml")} == {export_id, "crm", "drop"}


def test_two_exports_of_one_name(prefect: Workshop) -> None:
    prefect.sqlite()
    one, other = prefect.export(prefect.id("one"), name="Orders"), prefect.export(prefect.id("other"), name="orders")
    problems = [problem for problem in prefect.json("check", exit_code=1) if problem["severity"] == "error"]
    assert {problem["code"] for problem in problems} == {"DEFINITION_DUPLICATE"} and len(problems) == 2
    assert one in problems[0]["message"] and other in problems[0]["message"]
    assert prefect.json("run", one, exit_code=1)["error"]["code"] == "DEFINITION_DUPLICATE"
    nothing_left(prefect)


def test_two_exports_that_resolve_to_one_path(prefect: Workshop) -> None:
    prefect.sqlite()
    schedule = {"cron": "0 2 * * *"}
    one = prefect.export(prefect.id("one"), schedule=schedule)
    prefect.export(prefect.id("other"), schedule=schedule)
    warnings = prefect.json("check")
    assert {(found["severity"], found["code"]) for found in warnings} == {("warning", "DEFINITION_DUPLICATE")}
    error = prefect.json("activate", one, exit_code=1)["error"]
    assert error["code"] == "DEFINITION_DUPLICATE" and "write the same file orders.csv on drop" in error["message"]
    nothing_left(prefect)


def test_a_schedule_finer_than_the_date_pattern(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(file={"name": "o_{date:%Y%m%d}.csv"}, schedule={"cron": "0 */6 * * *"})
    (warning,) = prefect.json("check", export_id)
    assert warning["severity"] == "warning" and warning["code"] == "NAME_NOT_UNIQUE"
    error = prefect.json("activate", export_id, exit_code=1)["error"]
    assert error["code"] == "NAME_NOT_UNIQUE" and "would both write o_" in error["message"]
    nothing_left(prefect)


def test_a_second_run_of_one_day_cannot_take_the_name_of_the_first(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(file={"name": "o_{date:%Y}.csv"})
    first = prefect.json("run", export_id)
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["error_code"] == "NAME_NOT_UNIQUE" and "finer date" in failed["error"]["hint"]
    assert list(prefect.files()) == [first["files"][0]["name"]] and len(prefect.ledger.windows(export_id)) == 1


def test_null_cursors(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.sqlite(script="UPDATE orders SET updated_at = NULL WHERE id < 3;")
    failed = prefect.json("run", prefect.incremental(), exit_code=1)
    assert failed["error_code"] == "CURSOR_NULL" and "2 rows have NULL" in failed["error_message"]
    assert prefect.files() == {}
    skipping = prefect.incremental(prefect.id("skipping"), cursor={"nulls": "skip"})
    assert prefect.json("run", skipping)["rows"] == 1


def test_a_missing_secret(prefect: Workshop) -> None:
    prefect.database("crm", "postgresql://me:{{ $NO_SUCH_VARIABLE }}@127.0.0.1/x")
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "SECRET_MISSING" and "NO_SUCH_VARIABLE" in failed["error_message"]
    assert failed["relaunchable"] is True and prefect.files() == {}


def test_a_missing_secret_block(prefect: Workshop) -> None:
    prefect.database("crm", "postgresql://me:{{ prefect.blocks.secret.no-such-block }}@127.0.0.1/x")
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "SECRET_MISSING" and "no-such-block" in failed["error_message"]


def test_a_secret_written_out(workshop: Workshop) -> None:
    workshop.database("crm", "postgresql://me:hunter2@127.0.0.1/x")
    workshop.export()
    result = workshop.run("check", "--json", exit_code=1)
    assert "SECRET_LITERAL" in result.stdout and "hunter2" not in result.stdout


def test_an_unreachable_database(prefect: Workshop) -> None:
    prefect.database("crm", f"postgresql://me@127.0.0.1:{free_port()}/x")
    export_id = prefect.export(retries=0)
    (warning,) = prefect.json("check", export_id)
    assert (warning["severity"], warning["code"]) == ("warning", "SOURCE_UNREACHABLE")
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["error_code"] == "SOURCE_UNREACHABLE" and failed["relaunchable"] and prefect.files() == {}


def test_a_database_that_refuses(prefect: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "wr@ng/secret")
    prefect.database("crm", f"postgresql://test:{{{{ $WRONG }}}}@127.0.0.1:{postgres.port}/postgres")
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "SOURCE_AUTH" and "test@127.0.0.1" in failed["error_message"]
    assert "wr@ng" not in str(failed) and "wr%40ng" not in str(failed)


def test_a_value_the_encoding_cannot_hold(prefect: Workshop) -> None:
    prefect.sqlite(script="CREATE TABLE orders (id INTEGER, customer TEXT); INSERT INTO orders VALUES (1, '李');")
    failed = prefect.json("run", prefect.export(file={"name": "a.csv", "csv": {"encoding": "cp1252"}}), exit_code=1)
    assert failed["error_code"] == "VALUE_UNENCODABLE" and "row 1, column 'customer'" in failed["error_message"]
    assert prefect.files() == {} and "李" not in str(failed)


def test_an_empty_result_that_must_not_be(prefect: Workshop) -> None:
    prefect.sqlite()
    failed = prefect.json("run", prefect.export(where="id > 9", file={"name": "a.csv", "empty": "fail"}), exit_code=1)
    assert failed["error_code"] == "EMPTY_RESULT" and prefect.files() == {}


def missing(folder: Path) -> None:
    folder.rmdir()


def read_only(folder: Path) -> None:
    # Not chmod: root writes everywhere. A file where the folder should be is denied to everybody.
    folder.rmdir()
    folder.write_text("in the way")


@pytest.mark.parametrize("spoil", [missing, read_only])
def test_a_target_that_cannot_be_used(prefect: Workshop, spoil: Callable[[Path], None]) -> None:
    prefect.sqlite()
    spoil(prefect.drop)
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "TARGET_DENIED" and str(prefect.drop) in failed["error_message"]
    assert failed["relaunchable"] is True


MANY = """CREATE TABLE orders (id INTEGER, word TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO orders SELECT i, hex(randomblob(32)) FROM n;"""


def test_a_full_target(prefect: Workshop, small_disk: Path) -> None:
    prefect.sqlite(script=MANY)
    prefect.target("drop", str(small_disk))
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "TARGET_FULL" and failed["relaunchable"] is True
    assert list(small_disk.iterdir()) == []


def test_a_target_mounted_read_only(prefect: Workshop, small_disk: Path) -> None:
    prefect.sqlite()
    prefect.target("drop", str(small_disk))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "TARGET_DENIED" and failed["relaunchable"] is True
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert list(small_disk.iterdir()) == []


def test_a_full_spool(prefect: Workshop, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect.sqlite(script=MANY)
    monkeypatch.setenv("EXPORTS_SPOOL", str(small_disk / "spool"))
    failed = prefect.json("run", prefect.export(), exit_code=1)
    assert failed["error_code"] == "SPOOL_FULL" and "MB free" in failed["error_message"]
    left = [path for path in small_disk.rglob("*") if path.is_file() and path.parent.name != ".marks"]
    assert prefect.files() == {} and left == []


def test_sqlite_is_opened_for_reading_alone(workshop: Workshop) -> None:
    path = workshop.sqlite()
    before = path.read_bytes()
    workshop.export(where="(SELECT count(*) FROM orders) > 0")
    workshop.run("check")
    assert path.read_bytes() == before
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_an_unknown_export_is_named_with_the_nearest(workshop: Workshop) -> None:
    workshop.sqlite()
    workshop.export("orders")
    for command in ("check", "preview"):
        error = workshop.json(command, "ordrs", exit_code=1)["error"]
        assert error["code"] == "EXPORT_UNKNOWN" and re.search("did you mean 'orders'", error["message"])


def test_a_broken_connection_is_told_of_the_export_that_needs_it(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.database("crm", "sqlite:///crm.sqlite", timezone="Mars")
    export_id = prefect.export()
    (problem,) = prefect.json("check", export_id, exit_code=1)
    assert (problem["severity"], problem["file"]) == ("error", "databases/crm.yaml")
    assert prefect.json("run", export_id, exit_code=1)["error"]["code"] == problem["code"]
    nothing_left(prefect)
