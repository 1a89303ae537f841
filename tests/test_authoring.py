"""`exports copy` and `exports edit`: what a person wrote stays as it was written, but for what was changed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plain_run import run_plainly
from prefect_server import NIGHTLY, deployment_of, status_of
from workshop import Workshop

from catalog.definition import Export

WRITTEN = """# Drop of the night; ask Anaïs before you change it.
name: "Orders of the night"   # shown to people
type: incremental
database: crm
table: orders
cursor: {column: updated_at, lag: 0s}

file:
    name: 'orders_{date:%Y%m%dT%H%M%S%f}.csv'    # one per run
target: drop
schedule: {cron: "0 2 * * *", timezone: Europe/Brussels}
"""


def written(workshop: Workshop, text: str = WRITTEN) -> str:
    workshop.sqlite()
    export_id = workshop.id()
    path_of(workshop, export_id).write_text(text.replace("of the night", workshop.suffix))
    return export_id


def path_of(workshop: Workshop, export_id: str) -> Path:
    return workshop.catalog_folder / "exports" / f"{export_id}.yaml"


def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    """An editor that does `body` with the `text` of `path`."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n{body}\n")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)


def test_a_copy_is_a_draft_that_differs_in_its_name_alone(prefect: Workshop) -> None:
    export_id = written(prefect)
    prefect.run("activate", export_id)
    new_id = prefect.id("copied")
    found = prefect.json("copy", export_id, new_id)
    original, copied = (path_of(prefect, each).read_text() for each in (export_id, new_id))
    name = f"Orders {prefect.suffix}"
    assert copied == original.replace(f'"{name}"', f'"{name} (copy)"') and found["name"] == f"{name} (copy)"
    assert (status_of(prefect, export_id), status_of(prefect, new_id)) == ("scheduled", "draft")
    assert prefect.json("copy", export_id, prefect.id("second"))["name"] == f"{name} (copy 2)"


def test_a_name_in_lines_of_its_own_is_replaced_by_another(prefect: Workshop) -> None:
    name = next(line for line in WRITTEN.splitlines() if line.startswith("name:"))
    export_id = written(prefect, WRITTEN.replace(name, "name: >-\n  Orders\n  of the night"))
    found = prefect.json("copy", export_id, prefect.id("copied"))
    assert found["name"] == f"Orders {prefect.suffix} (copy)"


def test_a_copy_begins_anew(prefect: Workshop) -> None:
    export_id = written(prefect)
    run_plainly(prefect, export_id, datetime(2026, 2, 1, tzinfo=UTC))
    new_id = prefect.id("copied")
    prefect.run("copy", export_id, new_id, "--name", f"Another {prefect.suffix}")
    ran = run_plainly(prefect, new_id, datetime(2026, 2, 2, tzinfo=UTC))
    assert sum(file.rows for file in prefect.ledger.delivered_by_run(ran.run_id)) == 3


@pytest.mark.parametrize("broken", ["type: [", "target: drop", None], ids=["no YAML", "no definition", "gone"])
def test_what_does_not_load_any_more_is_copied_as_it_is_deployed(prefect: Workshop, broken: str | None) -> None:
    export_id = written(prefect)
    prefect.run("activate", export_id)
    if broken is None:
        path_of(prefect, export_id).unlink()
    else:
        path_of(prefect, export_id).write_text(broken)
    prefect.run("copy", export_id, prefect.id("copied"))
    assert prefect.load(prefect.id("copied")).model_dump(exclude={"id", "name"}) == Export.model_validate(
        deployment_of(export_id).parameters["definition"]
    ).model_dump(exclude={"id", "name"})


@pytest.mark.parametrize("new_id", ["Orders", "2nd", "class", "a/b"])
def test_what_is_no_id_is_refused(prefect: Workshop, new_id: str) -> None:
    error = prefect.json("copy", written(prefect), new_id, exit_code=1)["error"]
    assert error["code"] == "DEFINITION_INVALID"


def test_a_copy_takes_nobodys_place(prefect: Workshop) -> None:
    export_id, other = written(prefect), prefect.export(prefect.id("other"))
    before = path_of(prefect, other).read_bytes()
    assert prefect.json("copy", export_id, other, exit_code=1)["error"]["code"] == "DEFINITION_DUPLICATE"
    taken = prefect.json("copy", export_id, prefect.id("third"), "--name", other.upper(), exit_code=1)
    assert taken["error"]["code"] == "DEFINITION_DUPLICATE"
    assert path_of(prefect, other).read_bytes() == before and not path_of(prefect, prefect.id("third")).exists()


def test_what_is_gone_from_the_catalog_is_copied_as_it_is_deployed(prefect: Workshop) -> None:
    export_id = written(prefect)
    prefect.run("activate", export_id)
    path_of(prefect, export_id).unlink()
    new_id = prefect.id("copied")
    prefect.run("copy", export_id, new_id)
    assert prefect.load(new_id).file.name == "orders_{date:%Y%m%dT%H%M%S%f}.csv"


def test_an_edit_changes_what_was_edited(prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    export_id = written(prefect)
    before = path_of(prefect, export_id).read_text()
    editor(monkeypatch, tmp_path, "path.write_text(text.replace('0 2 * * *', '30 3 * * *'))")
    found = prefect.json("edit", export_id)
    assert found["changed"] and found["version"] == prefect.load(export_id).hash
    assert path_of(prefect, export_id).read_text() == before.replace("0 2 * * *", "30 3 * * *")


def test_an_editor_that_changes_nothing_saves_nothing(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "")
    assert not prefect.json("edit", written(prefect))["changed"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("path.write_text(text.replace('table: orders', 'table: ordres'))", "COLUMN_MISSING"),
        ("path.write_text(text.replace('cursor:', 'cursr:'))", "DEFINITION_INVALID"),
        ("path.write_text(text + 'a: {')", "YAML_SYNTAX"),
        ("sys.exit(3)", "DEFINITION_INVALID"),
    ],
)
def test_what_check_refuses_is_not_saved_and_not_lost(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, code: str
) -> None:
    export_id = written(prefect)
    before = path_of(prefect, export_id).read_bytes()
    editor(monkeypatch, tmp_path, body)
    error = prefect.json("edit", export_id, exit_code=1)["error"]
    kept = Path(error["hint"].rpartition(" ")[2])
    assert error["code"] == code and path_of(prefect, export_id).read_bytes() == before
    assert kept.read_text().startswith("# Drop ")


def test_what_another_has_written_meanwhile_stays(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export_id = written(prefect)
    real = path_of(prefect, export_id)
    theirs = f"pathlib.Path({str(real)!r}).write_text(text + '# theirs')"
    editor(monkeypatch, tmp_path, f"path.write_text(text + '# mine')\n{theirs}")
    error = prefect.json("edit", export_id, exit_code=1)["error"]
    assert "changed by somebody else" in error["message"] and real.read_text().endswith("# theirs")


def test_a_definition_that_does_not_load_can_be_mended(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export_id = written(prefect, WRITTEN.replace("target: drop", "target: dorp"))
    editor(monkeypatch, tmp_path, "path.write_text(text.replace('dorp', 'drop'))")
    assert prefect.json("edit", export_id)["changed"]


def test_only_a_draft_is_edited(prefect: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.sqlite()
    prefect.run("activate", export_id)
    editor(monkeypatch, tmp_path, "raise SystemExit('never opened')")
    error = prefect.json("edit", export_id, exit_code=3)["error"]
    assert error["code"] == "STATUS_REFUSED" and "unschedule" in error["hint"]
