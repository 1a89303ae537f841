"""YAML becomes the catalog; what does not load is named by file, line and key, and never shows a secret."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from workshop import Workshop

import flows.exports
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import RESERVED, data_type_of, load_catalog, load_database, load_target
from catalog.problem import Problem
from catalog.yaml_file import line_of, read_mapping

BASE = """\
name: A
type: periodic_full
database: crm
table: orders
target: drop
file:
  name: a.csv
"""
INCREMENTAL = BASE.replace("periodic_full", "incremental")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    for kind, name in (("databases", "crm"), ("targets", "drop")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{name}.yaml").write_text("url: somewhere\n")
    (tmp_path / "exports").mkdir()
    return tmp_path


def written(catalog: Path, text: str | bytes, name: str = "exports/orders.yaml") -> list[Problem]:
    content = text if isinstance(text, bytes) else text.encode()
    (catalog / name).write_bytes(content)
    return list(load_catalog(catalog).problems)


def the_problem(catalog: Path, text: str | bytes, name: str = "exports/orders.yaml") -> Problem:
    (problem,) = written(catalog, text, name)
    assert problem.severity == "error" and problem.hint and problem.file == name
    return problem


def loaded(catalog: Path, text: str) -> Export:
    assert written(catalog, text) == []
    return load_catalog(catalog).export("orders")


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        (BASE + "tabel: x\n", 8, "tabel", "unknown key 'tabel'; did you mean 'table'?"),
        (BASE + "  csv:\n    delimeter: x\n", 9, "file.csv.delimeter", "unknown key 'delimeter'; did you mean 'deli"),
        (BASE + "nonsense: x\n", 8, "nonsense", "unknown key 'nonsense'"),
        (BASE + "retries: many\n", 8, "retries", "`retries` must be a whole number, not this text"),
        (BASE + "retries: 11\n", 8, "retries", "`retries` must be less than or equal to 10"),
        (BASE + "columns: id\n", 8, "columns", "`columns` must be a list, not this text"),
        (BASE + "columns:\n  - id\n  - 7\n", 10, "columns.1", "`columns` entry 2 must be a column's name or {"),
        (BASE + "columns: [{a: b, c: d}]\n", 8, "columns", "one at a time"),
        (BASE + "columns: [a, {b: a}]\n", 8, "columns", "'a' would stand twice"),
        (BASE + "where: [a]\n", 8, "where", "`where` must be text, not a list"),
        (BASE + "  csv: true\n", 8, "file.csv", "`file.csv` must be keys and values, not true or false"),
        (BASE + "  csv: {header: perhaps}\n", 8, "file.csv.header", "must be true or false"),
        (BASE + "  format: parket\n", 8, "file.format", "or 'xlsx'; did you mean 'parquet'?"),
        (BASE + "data_type: Linked Data\n", 8, "data_type", "must be lower-case letters"),
        (BASE.replace("name: A", "name: 12"), 1, "name", "`name` must be text, not a number"),
        (BASE.replace("name: A", "name: ' '"), 1, "name", "`name` is empty"),
        (BASE.replace("table: orders\n", ""), 1, None, "either `table` or `query`"),
        (BASE.replace("database: crm\n", ""), 1, "database", "the key `database` is missing"),
        (BASE.replace("  name: a.csv\n", ""), 6, "file", "`file` must be keys and values, not nothing"),
        (INCREMENTAL + "cursor:\n  lag: 1m\n", 8, "cursor", "mode `lag` needs `column`"),
        (INCREMENTAL + "cursor:\n  column: x\n  lag: 5 min\n", 10, "cursor.lag", "'5 min' is no duration"),
        (INCREMENTAL + "cursor:\n  column: x\n  lag: 999999999d\n", 10, "cursor.lag", "longer than 100 years"),
        (BASE + "id: orders\n", 8, "id", "`id` is not written"),
        (BASE + "columns: [{__prefect_kind: json}]\n", 8, "columns.0.__prefect_kind", "Prefect takes for itself"),
        (BASE + "7: x\n", 8, "7", "the key 7 is no text"),
        (BASE.replace("crm", "crn"), 3, "database", "there is no databases/crn.yaml; did you mean 'crm'?"),
        (BASE.replace("drop", "drob"), 5, "target", "there is no targets/drob.yaml; did you mean 'drop'?"),
    ],
)
def test_a_mistake_in_a_definition(catalog: Path, text: str, line: int, key: str | None, message: str) -> None:
    problem = the_problem(catalog, text)
    assert (problem.code, problem.export) == (Code.DEFINITION_INVALID, "orders")
    assert (problem.line, problem.key) == (line, key) and message in problem.message
    with pytest.raises(ExportError) as caught:
        load_catalog(catalog).export("orders")
    error = caught.value
    assert (error.message, error.file, error.line, error.key) == (problem.message, problem.file, line, key)


@pytest.mark.parametrize(
    ("schedule", "key", "message", "hint"),
    [
        ("{cron: 0 25 * * *}", "schedule.cron", "'0 25 * * *' is no cron expression", None),
        ("{cron: '@daily'}", "schedule.cron", "it has five fields", None),
        ("{cron: 0 0 31 2 *}", "schedule.cron", "no cron expression", None),
        ("{cron: 0 2 * * *, timezone: Europe/Brussel}", "schedule.timezone", "'Europe/Brussels'?", "02:00 (UTC)"),
        ("{cron: 0 2 * * *, at: soon}", "schedule.at", "`schedule.at` must be a moment", "02:00 (UTC)"),
        ("{cron: 5, timezone: UTC}", "schedule.cron", "`schedule.cron` must be text, not a number", None),
        ("daily", "schedule", "`schedule` must be keys and values, not this text", None),
        ("{timezone: UTC}", "schedule", "either `cron` or `at`", None),
    ],
)
def test_a_bad_schedule(catalog: Path, schedule: str, key: str, message: str, hint: str | None) -> None:
    problem = the_problem(catalog, f"{BASE}schedule: {schedule}\n")
    assert (problem.code, problem.line, problem.key) == (Code.SCHEDULE_INVALID, 8, key)
    assert message in problem.message
    assert (problem.hint or "").count(" 02:00") == (3 if hint else 0) and (hint or "") in (problem.hint or "")


@pytest.mark.parametrize(("name", "code"), [("{dat}.csv", Code.NAME_FIELD_UNKNOWN), ("../a.csv", Code.NAME_INVALID)])
def test_a_bad_name_keeps_its_code_and_hint(catalog: Path, name: str, code: Code) -> None:
    problem = the_problem(catalog, BASE.replace("a.csv", f'"{name}"'))
    assert (problem.code, problem.line, problem.key) == (code, 7, "file.name")
    assert "docs/definition.md" not in (problem.hint or "")


def test_every_mistake_of_a_file_is_named_at_once(catalog: Path) -> None:
    problems = written(catalog, BASE + "tabel: x\ncolums: y\nretries: -1\n")
    assert sorted(problem.line or 0 for problem in problems) == [8, 9, 10]


@pytest.mark.parametrize(
    ("text", "code", "line", "message"),
    [
        (BASE + "where: a: b\n", Code.YAML_SYNTAX, 8, "line 8, column 9: `where: a: b`"),
        (BASE + 'where: "a\n', Code.YAML_SYNTAX, 8, '`where: "a`'),
        (BASE + "columns: [a\n", Code.YAML_SYNTAX, 8, "`columns: [a`"),
        (BASE + "where: {{ $X }}\n", Code.YAML_SYNTAX, 8, "`where: {{ $X }}`"),
        (BASE + "cursor:\n\tcolumn: a\n", Code.YAML_SYNTAX, 9, "'\\t'"),
        (BASE + "where: *nothing\n", Code.YAML_SYNTAX, 8, "undefined alias"),
        (BASE + "where: &a x\nquery: &a y\n", Code.YAML_SYNTAX, 9, "anchor's name stands twice"),
        (BASE + "columns: &a [*a]\n", Code.YAML_SYNTAX, 8, "refers to the part it stands in"),
        (BASE + "where: !python/object x\n", Code.YAML_SYNTAX, 8, "!python/object"),
        (BASE + "---\n" + BASE, Code.YAML_SYNTAX, 8, "another document"),
        (
            BASE + "where: x\nwhere: y\n",
            Code.DEFINITION_INVALID,
            9,
            "a key stands twice in exports/orders.yaml: `where`",
        ),
        (BASE + "where: " + "[" * 5000, Code.YAML_SYNTAX, None, "nested too deeply"),
        ("name: \0\n", Code.YAML_SYNTAX, None, "#x0000"),
        (b"name: caf\xe9\n", Code.YAML_SYNTAX, None, "no UTF-8"),
        ("", Code.DEFINITION_INVALID, 1, "is empty"),
        ("# nothing yet\n", Code.DEFINITION_INVALID, 1, "is empty"),
        ("- a\n", Code.DEFINITION_INVALID, 1, "holds a list"),
        ("orders\n", Code.DEFINITION_INVALID, 1, "holds a str"),
    ],
)
def test_what_is_no_yaml_or_no_definition(
    catalog: Path, text: str | bytes, code: Code, line: int | None, message: str
) -> None:
    problem = the_problem(catalog, text)
    assert (problem.code, problem.line) == (code, line) and message in problem.message
    assert len(problem.message) < 300


def test_the_hint_for_tabs_and_for_references(catalog: Path) -> None:
    assert "not tabs" in (the_problem(catalog, BASE + "cursor:\n\tcolumn: a\n").hint or "")
    (catalog / "exports" / "orders.yaml").unlink()
    assert '"{{ $NAME }}"' in (the_problem(catalog, "url: {{ $URL }}\n", "databases/crm.yaml").hint or "")


def test_yaml_gives_what_was_written(catalog: Path) -> None:
    export = loaded(
        catalog,
        "\ufeff"
        + INCREMENTAL.replace("name: A", "name: no").replace("table: orders", "table: 2026-01-01")
        + '  csv: {null: "-", header: no}\n'
        + "cursor: {column: on, start: 2026-01-01T00:00:00+02:00}\n",
    )
    assert (export.name, export.table) == ("no", "2026-01-01")
    assert (export.file.csv.null, export.file.csv.header) == ("-", False)
    assert export.cursor is not None and export.cursor.column == "on" and export.cursor.start is not None
    assert export.cursor.start.isoformat() == "2026-01-01T00:00:00+02:00"


def test_a_moment_without_seconds(catalog: Path) -> None:
    export = loaded(catalog, BASE.replace("periodic_full", "one_shot") + "schedule: {at: 2026-12-01T10:00}\n")
    assert export.schedule is not None and export.schedule.at is not None
    assert export.schedule.at.isoformat() == "2026-12-01T10:00:00"


def test_anchors_and_merge_keys(catalog: Path) -> None:
    assert loaded(catalog, BASE + "where: &w a = 1\n").where == "a = 1"
    problems = written(catalog, BASE + "schedule: &s\n  colum: x\ncursor:\n  <<: *s\n")
    assert ("cursor.colum", 10) in {(problem.key, problem.line) for problem in problems}


@pytest.mark.parametrize("stem", ["Orders", "2orders", "or-ders", "class", "run", "a" * 101, "_orders"])
def test_an_id_that_is_no_id(catalog: Path, stem: str) -> None:
    problem = the_problem(catalog, BASE, f"exports/{stem}.yaml")
    assert problem.code is Code.DEFINITION_INVALID and repr(stem) in problem.message and problem.export == stem


def test_no_export_can_hide_a_name_of_the_entrypoints() -> None:
    own = {name for name in vars(flows.exports) if not name.startswith("_") and name.islower()}
    assert own <= RESERVED


def test_a_long_id_that_makes_the_name_too_long(catalog: Path) -> None:
    text = BASE.replace("a.csv", '"{export}_{export}_.csv"')
    assert written(catalog, text, f"exports/{'a' * 80}.yaml") == []
    (problem,) = written(catalog, text, f"exports/{'a' * 90}.yaml")
    assert (problem.code, problem.line) == (Code.NAME_INVALID, 7) and "170 bytes" in problem.message


def test_a_file_that_is_not_read_is_said(catalog: Path) -> None:
    assert "rename it to orders.yaml" in (the_problem(catalog, BASE, "exports/orders.yml").hint or "")


def test_a_folder_in_place_of_a_file(catalog: Path) -> None:
    (catalog / "exports" / "orders.yaml").mkdir()
    (problem,) = load_catalog(catalog).problems
    assert problem.code is Code.DEFINITION_INVALID and "cannot be read" in problem.message


def test_connections(catalog: Path) -> None:
    (catalog / "databases" / "crm.yaml").write_text("url: x\ntables: {orders: linked_data}\ntimezone: Europe/Paris\n")
    assert load_database("crm", catalog).timezone == "Europe/Paris" and load_target("drop", catalog).url == "somewhere"
    for load, kind in ((load_database, "databases/cmr"), (load_target, "targets/cmr")):
        with pytest.raises(ExportError, match=f"there is no {kind}.yaml"):
            load("cmr", catalog)
    (problem,) = written(catalog, "url: x\ntimezon: UTC\n", "databases/crm.yaml")
    assert (problem.export, problem.line, problem.message) == (
        None,
        2,
        "unknown key 'timezon'; did you mean 'timezone'?",
    )
    with pytest.raises(ExportError, match="did you mean 'timezone'"):
        load_database("crm", catalog)


def test_an_unknown_export(catalog: Path) -> None:
    written(catalog, BASE)
    with pytest.raises(ExportError) as caught:
        load_catalog(catalog).export("ordres")
    assert caught.value.code is Code.EXPORT_UNKNOWN and "did you mean 'orders'?" in caught.value.message


def test_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no catalog"):
        load_catalog(tmp_path)


def test_the_data_type_comes_from_the_database(catalog: Path) -> None:
    written(catalog, "url: x\ntables: {orders: linked_data}\n", "databases/crm.yaml")
    database = load_database("crm", catalog)
    assert data_type_of(loaded(catalog, BASE), database) == "linked_data"
    assert data_type_of(loaded(catalog, BASE), None) is None
    assert data_type_of(loaded(catalog, BASE + "data_type: form\n"), database) == "form"
    query = BASE.replace("table: orders", "query: SELECT 1")
    assert data_type_of(loaded(catalog, query), database) is None


def test_the_catalog_is_where_the_environment_says(workshop: Workshop) -> None:
    workshop.database("crm", "sqlite://")
    export_id = workshop.export()
    assert load_catalog().export(export_id).target == "drop"


def test_the_shape_of_a_problem(catalog: Path) -> None:
    record = the_problem(catalog, BASE + "tabel: x\n").to_json()
    assert list(record) == ["export", "severity", "code", "message", "hint", "file", "line", "key", "step"]
    assert (record["export"], record["severity"], record["code"]) == ("orders", "error", "DEFINITION_INVALID")


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a:\n  - b: 1\n  - c:\n      null: 2\n")
    assert read_mapping(path) == {"a": [{"b": 1}, {"c": {"null": 2}}]}
    places: list[list[str | int]] = [["a"], ["a", 1], ["a", 1, "c", "null"], ["a", 1, "x"], ["x"]]
    assert [line_of(path, where) for where in places] == [1, 3, 4, 3, None]


def test_a_thousand_definitions_load_quickly(catalog: Path) -> None:
    for number in range(1000):
        (catalog / "exports" / f"orders_{number}.yaml").write_text(BASE.replace("name: A", f"name: {number} orders"))
    started = time.process_time()
    assert len(load_catalog(catalog).exports) == 1000
    assert time.process_time() - started < 6  # 0.6 s where it was written
