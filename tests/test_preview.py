"""`exports preview`: what the next run would do, with the file's own beginning, and nothing done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from plain_run import run_plainly
from workshop import Workshop

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TEXTS = {
    "csv": {"name": "o.csv"},
    "csv with options": {
        "name": "o.csv",
        "csv": {"delimiter": ";", "quote": "all", "null": "\\N", "line_end": "\r\n", "decimal_mark": ","},
    },
    "csv in another encoding": {"name": "o.csv", "csv": {"encoding": "cp1252", "header": False}},
    "jsonl": {"name": "o.jsonl", "format": "jsonl"},
}


@pytest.mark.parametrize("file", TEXTS.values(), ids=TEXTS)
def test_the_text_is_the_very_beginning_of_the_file(workshop: Workshop, file: dict[str, Any]) -> None:
    workshop.sqlite()
    export_id = workshop.export(file=file)
    shown = {rows: workshop.json("preview", export_id, "--rows", rows)["text"] for rows in ("2", "10")}
    run_plainly(workshop, export_id, NOON)
    encoding = file.get("csv", {}).get("encoding", "utf-8")
    content = workshop.files()[file["name"]].decode(encoding)
    assert shown["10"] == content and content.startswith(shown["2"]) and 0 < len(shown["2"]) < len(content)
    words = workshop.run("preview", export_id).stdout
    lines = content.replace("\r\n", "\n")
    assert words.endswith(f"\n\nthe first 3 rows, as {file.get('format', 'csv')}:\n\n{lines}")


def test_compression_does_not_hide_the_text(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.export(columns=["id"], file={"name": "o.csv.gz", "compression": "gzip"})
    assert workshop.json("preview", export_id)["text"] == "id\n1\n2\n3\n"


def test_parquet_shows_types_and_values(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.export(file={"name": "o.parquet", "format": "parquet"})
    head, *rows = [line.split("\t") for line in workshop.json("preview", export_id)["text"].splitlines()]
    run_plainly(workshop, export_id, NOON)
    table = pq.read_table(workshop.drop / "o.parquet")
    assert head == [f"{field.name}: {field.type}" for field in table.schema]
    assert [row[1] for row in rows] == ['"Anaïs"', "null", '""']
    assert rows[0] == ["1", '"Anaïs"', "10.50", "2026-01-01 08:00:00"]


def test_a_sheet_shows_what_stands_in_its_cells(workshop: Workshop) -> None:
    script = "CREATE TABLE t (id BIGINT, sure BOOLEAN, day DATE, much DOUBLE);"
    workshop.sqlite(
        script=f"{script} INSERT INTO t VALUES (12345678901234567, 1, '2026-03-01', 2.5), (7, 0, NULL, 1e3);"
    )
    export_id = workshop.export(table="t", file={"name": "o.xlsx", "format": "xlsx"})
    lines = workshop.json("preview", export_id)["text"].splitlines()
    assert lines == ["id\tsure\tday\tmuch", "12345678901234567\tTRUE\t2026-03-01\t2.5", "7\tFALSE\t\t1000.0"]
    run_plainly(workshop, export_id, NOON)
    first = next(load_workbook(workshop.drop / "o.xlsx").active.iter_rows(min_row=2, values_only=True))
    assert first[0] == "12345678901234567" and first[1] is True


@pytest.mark.parametrize(("empty", "text"), [("header", "id\n"), ("skip", ""), ("zero_bytes", "")])
def test_no_rows_are_what_the_file_makes_of_them(workshop: Workshop, empty: str, text: str) -> None:
    workshop.sqlite()
    export_id = workshop.export(columns=["id"], where="id > 99", file={"name": "o.csv", "empty": empty})
    shown = workshop.json("preview", export_id)
    assert shown["text"] == text and shown["rows"] == []
    assert "no rows, as csv:" in workshop.run("preview", export_id).stdout


def test_names_are_resolved_and_nothing_is_changed(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.incremental(columns=["id"], file={"name": "o_{until:%Y%m%d}.csv"}, folder="in/{date:%Y}")
    before = sorted(workshop.folder.rglob("*"))
    shown = workshop.json("preview", export_id)
    today = datetime.now(UTC)
    assert shown["files"] == [f"o_{today:%Y%m%d}.csv"] and shown["folder"] == f"in/{today:%Y}"
    assert shown["targets"] == ["drop"] and shown["format"] == "csv"
    assert {"sql", "window", "files", "columns", "rows"} <= shown.keys() and "WHERE" in shown["sql"]
    assert f"file:    in/{today:%Y}/o_{today:%Y%m%d}.csv to drop" in workshop.run("preview", export_id).stdout
    new = {path.name for path in set(workshop.folder.rglob("*")) - set(before)}
    assert new <= {"state", "ledger.sqlite"} and workshop.files() == {} and workshop.ledger.windows(export_id) == []


def test_a_value_that_the_file_cannot_hold_is_said_before_a_run(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.export(columns=["id", "customer"], file={"name": "o.csv", "csv": {"encoding": "ascii"}})
    error = workshop.json("preview", export_id, exit_code=1)["error"]
    assert error["code"] == "VALUE_UNENCODABLE" and "row 1, column 'customer'" in error["message"]
