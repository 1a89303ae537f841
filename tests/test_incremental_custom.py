"""`type: incremental_custom`: rows pass through a function of one's own; all else is an incremental export's."""

from __future__ import annotations

import gc
import json
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from custom_modules import UPPER, CustomModules, customised, lines
from plain_run import run_plainly
from prefect_server import NIGHTLY, deployment_of, run_again
from workshop import Workshop

from catalog.errors import Code, ExportError

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


def test_the_rows_that_are_delivered_have_passed_through_the_function(prefect: Workshop, module: str) -> None:
    export_id = customised(prefect, module)
    report = prefect.json("run", export_id)
    assert report["status"] == "succeeded" and report["rows"] == 3
    ((header, *rows),) = lines(prefect)
    assert header == ["id", "length", "customer", "total", "updated_at"]
    assert rows[0] == ["1", "5", "ANAÏS", "10.5", "2026-01-01 08:00:00"] and rows[1][:3] == ["2", "", ""]
    assert "type:incremental_custom" in deployment_of(export_id).tags
    assert f"- rows pass through {module}:upper" in (deployment_of(export_id).description or "")


def test_each_window_has_its_own_rows_and_a_header_when_there_are_none(workshop: Workshop, module: str) -> None:
    export_id, database = customised(workshop, module), workshop.folder / "crm.sqlite"
    run_plainly(workshop, export_id, FEBRUARY)
    run_plainly(workshop, export_id, FEBRUARY.replace(day=2))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO orders VALUES (4, 'Zoë', 1, '2026-02-02 08:00:00')")
    run_plainly(workshop, export_id, FEBRUARY.replace(day=3))
    first, second, third = lines(workshop)
    assert len(first) == 4 and second == [first[0]] and [row[:3] for row in third[1:]] == [["4", "3", "ZOË"]]


BROKEN = {
    "raises": ("    text = 'Anaïs is secret'\n    raise ValueError(text)", "ValueError at flows/custom/{name}.py:3"),
    "leaves": ("    raise SystemExit", "SystemExit at flows/custom/{name}.py:2"),
    "asks a database of its own": (
        "    import sqlalchemy\n"
        "    with sqlalchemy.create_engine('sqlite://').connect() as other:\n"
        "        other.exec_driver_sql(f'SELECT [{batch[\"customer\"][0]}]')",
        "OperationalError at flows/custom/{name}.py:4",
    ),
    "returns nothing": ("    pass", "gave a NoneType, not a DataFrame"),
    "names a column twice": ("    batch.columns = ['a'] * 4\n    return batch", "two columns named 'a'"),
    "gives what no file holds": ("    batch['customer'] = [[float('inf')]] * 3\n    return batch", "column 'customer'"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_function_that_fails_ends_the_run_with_its_code_and_never_with_a_row(
    prefect: Workshop, custom_modules: CustomModules, broken: str
) -> None:
    name, (body, said) = f"breaks_{prefect.suffix}", BROKEN[broken]
    custom_modules.write(name, "def upper(batch):\n    return batch\n")
    export_id = customised(prefect, name, column_order=None, schedule=NIGHTLY)
    prefect.run("activate", export_id)
    custom_modules.write(name, f"def upper(batch):\n{body}\n")
    with_error = prefect.run("run", export_id, "--json", exit_code=1)
    report = json.loads(with_error.stdout)
    assert report["error_code"] == "TRANSFORM_FAILED" and report["relaunchable"], report
    message = report["error_message"]
    assert message.startswith(f"{name}:upper ") and said.format(name=name) in message
    assert "Anaïs" not in with_error.output and prefect.files() == {}

    custom_modules.write(name, UPPER)
    prefect.run("relaunch", export_id)
    assert run_again(prefect, report["run_id"], export_id)["rows"] == 3


def test_columns_that_change_between_batches_fail_the_run(workshop: Workshop, custom_modules: CustomModules) -> None:
    custom_modules.write(
        f"m_{workshop.suffix}",
        "def f(batch):\n    return batch if 1 in set(batch['id']) else batch.assign(more=1)\n",
    )
    export_id = workshop.incremental(type="incremental_custom", transform=f"m_{workshop.suffix}:f")
    workshop.sqlite(script=many_rows(15_000))
    with pytest.raises(ExportError) as raised:
        run_plainly(workshop, export_id, FEBRUARY)
    assert raised.value.code is Code.TRANSFORM_FAILED and "more" in raised.value.message
    assert workshop.files() == {}


def many_rows(count: int) -> str:
    return f"""CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, updated_at DATETIME);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
    INSERT INTO orders SELECT i, 'customer ' || i, '2026-01-01 08:00:00' FROM n;"""


def test_rows_may_be_left_out_and_none_of_them_is_taken_for_a_late_one(
    workshop: Workshop, custom_modules: CustomModules
) -> None:
    custom_modules.write(f"m_{workshop.suffix}", "def odd(batch):\n    return batch[batch['id'] % 2 == 1]\n")
    workshop.sqlite()
    export_id = workshop.incremental(
        type="incremental_custom", transform=f"m_{workshop.suffix}:odd", cursor={"lookback": "1h"}
    )
    warnings = []
    for day in (1, 2, 3):
        warnings += run_plainly(workshop, export_id, FEBRUARY.replace(day=day)).told.warnings
    assert [row[0] for row in lines(workshop)[0]] == ["id", "1", "3"] and warnings == []


def test_memory_does_not_grow_with_the_rows(workshop: Workshop, module: str) -> None:
    peaks = []
    # The first is for what is imported and kept.
    for count in (1_000, 30_000, 120_000):
        (workshop.folder / "crm.sqlite").unlink(missing_ok=True)
        workshop.sqlite(script=many_rows(count))
        export_id = workshop.incremental(
            workshop.id(f"rows{count}"),
            type="incremental_custom",
            transform=f"{module}:upper",
            cursor={"lookback": "0s"},
            file={"name": f"{count}.csv"},
        )
        tracemalloc.start()
        run_plainly(workshop, export_id, FEBRUARY)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1], peaks


CHECKED: list[tuple[dict[str, Any], str, str]] = [
    ({"transform": "nowhere:f"}, "DEFINITION_INVALID", "there is no flows/custom/nowhere.py"),
    ({"transform": "{module}:uper"}, "DEFINITION_INVALID", "no function uper; did you mean 'upper'?"),
    ({"transform": "no function"}, "DEFINITION_INVALID", "transform"),
    ({"column_order": ["id", "lenght"]}, "COLUMN_MISSING", "'lenght'"),
    ({"column_order": ["id", "id"]}, "DEFINITION_INVALID", "twice"),
    ({"transform": None, "column_order": None}, "DEFINITION_INVALID", "type: incremental"),
    ({"type": "incremental"}, "DEFINITION_INVALID", "`transform` is for `type: incremental_custom`"),
    ({"columns": ["id", "updated_at"]}, "TRANSFORM_FAILED", "KeyError"),
]


@pytest.mark.parametrize(("keys", "code", "said"), CHECKED)
def test_check_finds_what_is_wrong(workshop: Workshop, module: str, keys: dict[str, Any], code: str, said: str) -> None:
    wanted = {key: value.format(module=module) if isinstance(value, str) else value for key, value in keys.items()}
    customised(workshop, module, **wanted)
    errors = [found for found in workshop.json("check", exit_code=1) if found["severity"] == "error"]
    assert errors[0]["code"] == code and said in errors[0]["message"], errors


def test_check_names_the_file_that_is_no_python(workshop: Workshop, module: str, custom_modules: CustomModules) -> None:
    helper = f"helps_{workshop.suffix}"
    custom_modules.write(helper, "\n\ndef (")
    custom_modules.write(module, f"from flows.custom import {helper}\n{UPPER}")
    customised(workshop, module)
    (problem,) = workshop.json("check", exit_code=1)
    assert (problem["code"], problem["file"], problem["line"]) == (
        "DEFINITION_INVALID",
        f"flows/custom/{helper}.py",
        3,
    )
    assert f"flows/custom/{helper}.py is no Python" in problem["message"] and problem["hint"] == "mend line 3"

    custom_modules.write(module, "exec('def (')")
    (problem,) = workshop.json("check", exit_code=1)
    assert problem["file"] == f"flows/custom/{module}.py"
    assert f"raised SyntaxError at {problem['file']}:1" in problem["message"]


def test_nothing_is_left_open_by_a_function_that_gives_no_rows(
    workshop: Workshop, module: str, custom_modules: CustomModules, caplog: pytest.LogCaptureFixture
) -> None:
    custom_modules.write(module, "def upper(batch):\n    return (yield)")
    said = workshop.run("preview", customised(workshop, module), exit_code=1).output
    gc.collect()
    # What SQLAlchemy logs of a cursor that outlives its connection.
    assert "gave a generator, not a DataFrame" in said and "closed database" not in caplog.text


def test_an_asynchronous_function_is_refused_by_us_alone(
    workshop: Workshop, module: str, custom_modules: CustomModules, recwarn: pytest.WarningsRecorder
) -> None:
    custom_modules.write(module, "async def upper(batch):\n    return batch")
    (problem,) = workshop.json("check", customised(workshop, module), exit_code=1)
    assert "gave a coroutine, not a DataFrame" in problem["message"] and "`async def`" in problem["hint"]
    gc.collect()
    assert [warning for warning in recwarn if "never awaited" in str(warning.message)] == []


def test_the_shipped_example_gives_no_personal_data(prefect: Workshop) -> None:
    prefect.sqlite(
        script="""CREATE TABLE profiles (id INTEGER PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT,
        country TEXT);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, profile_id INTEGER, status TEXT, total NUMERIC(12,2),
        currency TEXT, updated_at DATETIME);
        INSERT INTO profiles VALUES (1, ' Ana@Example.com', 'Anaïs', 'De Smet', 'BE');
        INSERT INTO orders VALUES (7, 1, 'paid', 10.5, 'EUR', '2026-01-01 08:00:00');"""
    )
    shipped = Path(__file__).parent.parent / "catalog" / "exports" / "orders_masked.yaml"
    text = shipped.read_text().replace("demo_crm", "crm").replace("demo_drop", "drop").replace("folder: partner\n", "")
    (prefect.catalog_folder / "exports" / f"{prefect.id()}.yaml").write_text(text)
    assert prefect.json("run", prefect.id())["rows"] == 1
    ((header, row),) = lines(prefect)
    assert header == ["id", "email_sha256", "initials", "country", "status", "total", "currency", "updated_at"]
    sha256 = "8e43ca37701228e74983efdbd0cff5c16b3b1e5d4e29a7c05626d4d25a018e11"
    assert row == ["7", sha256, "A. D.", "BE", "paid", "10.5", "EUR", "2026-01-01 08:00:00"]
