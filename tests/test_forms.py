"""The forms in the Prefect UI, without the UI: what a run of each does, how it ends, and what its artifact says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from custom_modules import customised
from prefect import Flow
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect_server import NIGHTLY, deployment_of, status_of
from s3_server import KEY, SECRET, S3Place
from workshop import Workshop

from deployments import forms
from deployments.companions import ACTION, COMPANIONS
from deployments.prefect_api import companion_deployments, prefect_api
from deployments.project import load_project


def outcome(form: Flow[..., Any], **parameters: Any) -> tuple[str, str, str]:
    """How a run of the form ended: its state's type and message, and its artifact in full."""
    state: State[Any] = form(**parameters, return_state=True)
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with prefect_api() as client:
        (artifact,) = client.read_artifacts(artifact_filter=wanted)
    assert artifact.description == state.message and artifact.type == "markdown"
    return state.type.value, state.message or "", str(artifact.data)


def finished(prefect: Workshop, **keys: Any) -> tuple[str, dict[str, Any]]:
    """A one shot that has run, and its report."""
    prefect.sqlite()
    export_id = prefect.export(type="one_shot", **keys)
    return export_id, prefect.json("run", export_id)


def test_every_form_is_deployed_with_help_for_each_field_and_found_by_its_tag(prefect: Workshop) -> None:
    prefect.run("apply")
    with prefect_api() as client:
        found = [entry for entry in companion_deployments(client, load_project().tag) if ACTION in entry.tags]
    actions = {"check", "copy", "unschedule", "download", "apply"}
    assert {entry.name for entry in found} == {f"{load_project().name}-{action}" for action in actions}
    assert len(actions) == sum(ACTION in companion.tags for companion in COMPANIONS)
    for deployment in found:
        fields = deployment.parameter_openapi_schema["properties"]
        assert fields and all(field.get("description") for field in fields.values()), deployment.name
        assert deployment.description and "Args" not in deployment.description and not deployment.schedules
    assert prefect.json("list") == [] == prefect.json("plan")


def test_check_fails_with_the_code_and_shows_every_problem(prefect: Workshop) -> None:
    prefect.sqlite()
    good = prefect.export(prefect.id("good"), file={"name": "good.csv"})
    bad = prefect.export(prefect.id("bad"), where="nothing = 1")
    kind, message, full = outcome(forms.check, ids=[good])
    assert (kind, message) == ("COMPLETED", "1 export checked, 0 problems found")
    kind, message, full = outcome(forms.check)
    assert kind == "FAILED" and message.startswith("SQL_ERROR: ") and "1 error in 2 exports. Try: " in message
    assert f"| error | {bad} | SQL_ERROR |" in full and f"| {good} |" not in full
    kind, message, _ = outcome(forms.check, ids=[good[:-1]])
    assert kind == "FAILED" and message.startswith("EXPORT_UNKNOWN: ") and good in message


def test_check_tries_the_targets_when_asked(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    assert "all well" in outcome(forms.check, ids=[export_id], connect=True)[2]
    prefect.drop.rmdir()
    assert outcome(forms.check, ids=[export_id])[0] == "COMPLETED"
    kind, message, full = outcome(forms.check, ids=[export_id], connect=True)
    assert kind == "FAILED" and message.startswith("TARGET_DENIED: ") and "## Targets" in full


def test_copy_writes_a_draft_once(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id, copy_id = prefect.export(name="Orders | all"), prefect.id("copy")
    kind, message, full = outcome(forms.copy, id=export_id, new_id=copy_id)
    assert (kind, message) == ("COMPLETED", f"{copy_id} is a draft named 'Orders | all (copy)'")
    assert status_of(prefect, copy_id) == "draft" and "table: orders" in full
    kind, message, _ = outcome(forms.copy, id=export_id, new_id=copy_id, name="Another")
    assert kind == "FAILED" and message.startswith("DEFINITION_DUPLICATE: ")
    assert prefect.load(copy_id).name == "Orders | all (copy)"


def test_unschedule_makes_a_draft_and_refuses_one(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    waiting = prefect.json("run", export_id, "--detach")["run_id"]
    kind, message, _ = outcome(forms.unschedule, id=export_id)
    assert kind == "COMPLETED" and message.startswith(f"{export_id} is a draft again; ")
    assert status_of(prefect, export_id) == "draft" and waiting not in str(prefect.json("runs", export_id))
    kind, message, full = outcome(forms.unschedule, id=export_id)
    assert kind == "FAILED" and message.startswith("STATUS_REFUSED: ") and "| code | STATUS_REFUSED |" in full


def test_unschedule_converts_when_asked_and_says_what_is_lost(prefect: Workshop, module: str) -> None:
    export_id = customised(prefect, module, schedule=NIGHTLY)
    prefect.run("activate", export_id)
    _, message, full = outcome(forms.copy, id=export_id, new_id=prefect.id("copied"))
    assert f"- rows pass through {module}:upper" in full and "is a draft" in message
    kind, message, _ = outcome(forms.unschedule, id=export_id)
    assert kind == "FAILED" and message.startswith("STATUS_REFUSED: ") and f"{module}:upper" in message
    assert status_of(prefect, export_id) == "scheduled" and prefect.load(export_id).type == "incremental_custom"
    kind, message, full = outcome(forms.unschedule, id=export_id, convert=True)
    assert kind == "COMPLETED" and message.endswith("it is a standard incremental export now")
    assert f"- rows pass through {module}:upper" in full
    assert status_of(prefect, export_id) == "draft" and prefect.load(export_id).type == "incremental"


def test_download_says_where_the_file_is_while_it_is_there(prefect: Workshop) -> None:
    export_id, report = finished(prefect)
    (file,) = report["files"]
    for run in ("", report["run_id"][:8]):
        kind, message, full = outcome(forms.download, id=export_id, run=run)
        assert (kind, message) == ("COMPLETED", f"1 file: {file['path']}")
        assert file["path"] in full and file["sha256"] in full and "](" not in full
    (prefect.drop / file["name"]).write_bytes(b"x" * file["bytes"])
    kind, message, _ = outcome(forms.download, id=export_id)
    assert kind == "FAILED" and message.startswith("FILE_GONE: ")


def test_download_from_a_bucket_gives_a_link_without_the_secret(
    prefect: Workshop, bucket: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET_KEY", KEY)
    monkeypatch.setenv("BUCKET_SECRET", SECRET)
    options = {"key": "{{ $BUCKET_KEY }}", "secret": "{{ $BUCKET_SECRET }}", "endpoint_url": bucket.endpoint()}
    prefect.target("drop", bucket.url(), options=options)
    export_id, report = finished(prefect)
    kind, message, full = outcome(forms.download, id=export_id)
    assert (kind, message) == ("COMPLETED", f"1 file: {report['files'][0]['path']}")
    link = full.partition("[orders.csv](")[2].partition(")")[0]
    assert SECRET not in full and "X-Amz-Expires=3600" in link
    fetched = httpx.get(link)
    assert fetched.status_code == 200 and {"orders.csv": fetched.content} == bucket.files()
    assert httpx.get(link.replace("orders.csv", "others.csv")).status_code == 403, "it is good for this file only"


def test_apply_first_shows_and_then_carries_out(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    kind, message, full = outcome(forms.apply)
    assert (kind, message) == ("COMPLETED", "1 difference found, nothing changed")
    assert f"{export_id}: new\n" in full and prefect.json("list")[0]["status"] == "draft"
    assert [entry["change"] for entry in prefect.json("plan")] == ["new"]
    assert outcome(forms.apply, dry_run=False, activate_new=True)[1] == "1 difference carried out"
    assert status_of(prefect, export_id) == "scheduled" and not deployment_of(export_id).paused
    assert outcome(forms.apply, dry_run=False)[:2] == ("COMPLETED", "the catalog and Prefect are the same")
    prefect.export(export_id, where="nothing = 1", schedule=NIGHTLY)
    kind, message, _ = outcome(forms.apply, dry_run=False)
    assert kind == "FAILED" and message.startswith("SQL_ERROR: ")


def test_an_unexpected_error_is_told_without_its_text(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_arguments: Any) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(forms, "copy_export", breaks)
    kind, message, full = outcome(forms.copy, id="one", new_id="two")
    assert kind == "FAILED" and message.startswith("INTERNAL: unexpected RuntimeError at ")
    assert "hunter2" not in message + full
