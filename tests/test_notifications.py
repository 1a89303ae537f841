"""Who is told how a run ended, and that telling never costs a run."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from prefect.blocks.system import Secret
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, LogFilter, LogFilterFlowRunId
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogHandler
from prefect.states import Pending
from prefect_server import deployment_of, events_of, free_port, run_again
from receivers import PASSWORD, USER, Mailbox, Webhook
from workshop import Workshop

from deployments.prefect_api import prefect_api
from flows.exports import export_flow

TOKEN = "tok-4f1f2e99c0ffee"


def warnings_of(run_id: str) -> list[str]:
    """What Prefect shows of the run's log from warnings on."""
    APILogHandler().flush()
    with prefect_api() as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)])), limit=200)
    return [log.message for log in logs if log.level >= 30]


def shown_of(run_id: str) -> str:
    """Everything that Prefect holds of a run, as one text."""
    APILogHandler().flush()
    wanted = UUID(run_id)
    with prefect_api() as client:
        run = client.read_flow_run(wanted)
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[wanted])), limit=200)
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[wanted]))
        )
        deployment = client.read_deployment(run.deployment_id) if run.deployment_id else None
    return repr([run, logs, artifacts, deployment, events_of(f"prefect.flow-run.{run_id}")])


def test_a_mail_tells_of_success(prefect: Workshop, mailbox: Mailbox, prefect_url: str) -> None:
    prefect.sqlite()
    to = [f"mailto://{mailbox.place}?from=exports@example.com&to=data@example.com&format=text"]
    export_id = prefect.export(name="All orders", report={"to": to, "on": ["succeeded"]})
    report = prefect.json("run", export_id)
    assert mailbox.subjects() == [f"[exports] {export_id} succeeded: orders.csv"]
    assert mailbox.recipients == ["data@example.com"]
    said = mailbox.text()
    assert said.startswith("All orders\n")
    for line in (
        "status: succeeded",
        "attempts: 1",
        f"file: {prefect.drop}/orders.csv (3 rows, 120 B)",
        "target: drop: committed",
        "rows: 3",
        "bytes: 120",
        "report: orders.csv: 3 rows, 120 B, to drop",
        f"link: {prefect_url.removesuffix('/api')}/runs/flow-run/{report['run_id']}",
    ):
        assert f"\n{line}" in said, (line, said)


def test_a_webhook_tells_of_failure_and_what_helps(prefect: Workshop, webhook: Webhook) -> None:
    prefect.sqlite()
    export_id = prefect.export(report={"to": [f"json://{webhook.place}/hook"]})
    prefect.drop.rmdir()
    report = prefect.json("run", export_id, exit_code=1)
    (message,) = webhook.got
    assert message["title"] == f"[exports] {export_id} failed: TARGET_DENIED" and message["type"] == "failure"
    assert f"error: TARGET_DENIED: {report['error_message']}\ntry: {report['error_hint']}" in message["message"]
    assert f"relaunch: helps: exports relaunch {export_id} --run {report['run_id']}" in message["message"]
    assert "target: drop: extracted" in message["message"]


@pytest.mark.parametrize(
    ("on", "told"),
    [
        (["succeeded"], ["succeeded"]),
        (["failed"], ["failed"]),
        (["failed", "succeeded"], ["failed", "succeeded"]),
        (None, ["failed", "succeeded"]),
    ],
)
def test_who_asked_for_failures_hears_of_failures(
    prefect: Workshop, webhook: Webhook, on: list[str] | None, told: list[str]
) -> None:
    prefect.sqlite()
    export_id = prefect.export(report={"to": [f"json://{webhook.place}"], **({"on": on} if on else {})})
    prefect.drop.rmdir()
    failed = prefect.json("run", export_id, exit_code=1)
    prefect.drop.mkdir()
    prefect.json("relaunch", export_id)
    assert run_again(prefect, failed["run_id"], export_id)["status"] == "succeeded"
    assert [title.split()[2].rstrip(":") for title in webhook.titles()] == told


def test_a_plain_address_is_reached_by_the_mail_server_that_is_set(
    prefect: Workshop, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    mailbox.guarded = True
    login = f"{USER}:p%40ss%2Fword%3A2%3F"
    monkeypatch.setenv("EXPORTS_MAIL", f"mailto://{login}@{mailbox.place}?from=exports@example.com")
    export_id = prefect.export(report={"to": ["mailto:data@example.com", "mailto:ops@example.com"]})
    run_id = prefect.json("run", export_id)["run_id"]
    assert warnings_of(run_id) == [] and sorted(mailbox.recipients) == ["data@example.com", "ops@example.com"]
    assert {str(letter["From"].addresses[0].addr_spec) for letter in mailbox.letters} == {"exports@example.com"}


def test_secrets_are_resolved_for_the_message_and_shown_nowhere(
    prefect: Workshop, mailbox: Mailbox, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    mailbox.guarded = True
    block = f"mail-{prefect.suffix}"
    Secret(value=PASSWORD).save(block)
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    password = f"{{{{ prefect.blocks.secret.{block} }}}}"
    to = [
        f"mailto://{USER}:{password}@{mailbox.place}?to=data@example.com&from=exports@example.com",
        f"json://{webhook.place}/{{{{ $HOOK_TOKEN }}}}",
    ]
    export_id = prefect.export(report={"to": to})
    prefect.run("check", export_id)
    webhook.status = 403
    run_id = prefect.json("run", export_id)["run_id"]
    assert mailbox.recipients == ["data@example.com"]
    (warning,) = warnings_of(run_id)
    assert warning.startswith(f"the report was not sent to json://{webhook.place}/{{{{ $HOOK_TOKEN }}}}: ")
    assert "403" in warning
    shown = prefect.wait_for(lambda: found if "export.finished" in (found := shown_of(run_id)) else None)
    assert "HOOK_TOKEN" in shown and TOKEN not in shown and PASSWORD not in shown


def test_a_receiver_that_is_not_there_costs_a_warning(prefect: Workshop, webhook: Webhook) -> None:
    prefect.sqlite()
    gone = f"json://127.0.0.1:{free_port()}"
    export_id = prefect.export(report={"to": [gone, f"json://{webhook.place}", "json://{{ $NOT_SET_ANYWHERE }}/x"]})
    report = prefect.json("run", export_id)
    assert report["status"] == "succeeded" and len(webhook.got) == 1
    unreachable, missing = sorted(warnings_of(report["run_id"]))
    assert unreachable.startswith(f"the report was not sent to {gone}: ") and "onnection" in unreachable
    assert missing.endswith("SECRET_MISSING: the environment variable NOT_SET_ANYWHERE is not set")


def test_a_receiver_that_hangs_is_left_alone(
    prefect: Workshop, webhook: Webhook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.notify.PATIENCE", 3.0)
    prefect.sqlite()
    webhook.fall_mute()
    mute = f"json://{webhook.place}?cto=600&rto=600"
    export_id = prefect.export(
        report={"to": [mute, f"mailto://{mailbox.place}?to=data@example.com&from=exports@example.com"]}
    )
    report = prefect.json("run", export_id)
    assert webhook.is_mute and len(webhook.got) == 1 and len(mailbox.letters) == 1
    assert report["status"] == "succeeded" and prefect.files()
    assert warnings_of(report["run_id"]) == [f"the report was not sent to {mute}: there was no answer in time"]


def test_the_work_is_free_while_its_report_is_sent(
    prefect: Workshop, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    prefect.sqlite()
    export_id = prefect.export(report={"to": [f"json://{webhook.place}"]})
    webhook.got = _Watched(lambda: seen.append(prefect.ledger.is_at_work(export_id)))
    prefect.run("run", export_id)
    assert seen == [False]


class _Watched(list[dict[str, Any]]):
    def __init__(self, look: Any) -> None:
        super().__init__()
        self._look = look

    def append(self, message: dict[str, Any]) -> None:
        self._look()
        super().append(message)


def test_an_event_tells_prefect(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(name=f"All orders {prefect.suffix}")
    report = prefect.json("run", export_id)
    prefect.drop.rename(prefect.drop.with_name("away"))
    failed = prefect.json("run", export_id, exit_code=1)
    events = prefect.wait_for(lambda: found if len(found := events_of(f"export.{export_id}")) == 2 else None)
    by_status = {event["resource"]["export.status"]: event for event in events}
    assert by_status.keys() == {"succeeded", "failed"}
    good, bad = by_status["succeeded"], by_status["failed"]
    assert good["resource"]["prefect.resource.name"] == f"All orders {prefect.suffix}"
    same = {"run_id", "export", "status", "files", "targets", "rows", "window", "error_code", "relaunchable", "message"}
    assert {key: good["payload"][key] for key in same} == {key: report[key] for key in same}
    assert good["payload"]["duration_seconds"] > 0
    assert bad["resource"]["export.error-code"] == "TARGET_DENIED" == bad["payload"]["error_code"]
    assert bad["payload"]["error_message"] == failed["error_message"]
    related = {found["prefect.resource.role"]: found["prefect.resource.id"] for found in good["related"]}
    assert related["flow-run"] == f"prefect.flow-run.{report['run_id']}"
    assert related["deployment"] == f"prefect.deployment.{deployment_of(export_id).id}"


def test_a_definition_nobody_activated_sends_nothing(prefect: Workshop, webhook: Webhook) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    with prefect_api() as client:
        deployment = deployment_of(export_id)
        changed = {**deployment.parameters["definition"], "report": {"to": [f"json://{webhook.place}"]}}
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"definition": changed}, state=Pending())
    assert run_again(prefect, str(run.id), export_id)["error_code"] == "DEFINITION_UNREGISTERED"
    assert webhook.got == []


def test_without_the_ledger_the_report_goes_where_no_secret_is_needed(
    prefect: Workshop, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    to = [f"json://{webhook.place}/open", f"json://{webhook.place}/{{{{ $HOOK_TOKEN }}}}"]
    export_id = prefect.export(report={"to": to})
    prefect.run("apply")
    with prefect_api() as client:
        run = client.create_flow_run_from_deployment(deployment_of(export_id).id, state=Pending())
    monkeypatch.setenv("EXPORTS_LEDGER", "postgresql://nobody@127.0.0.1:1/nowhere")
    run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
    assert webhook.titles() == [f"[exports] {export_id} failed: LEDGER_UNREACHABLE"]
    said = f"the report was not sent to {to[1]}: the ledger could not be asked first"
    prefect.wait_for(lambda: said in warnings_of(str(run.id)))


def test_an_export_that_tells_nobody_keeps_its_version(workshop: Workshop) -> None:
    workshop.sqlite()
    silent = workshop.load(workshop.export())
    assert "report" not in silent.frozen()
    telling = workshop.load(workshop.export(report={"to": ["mailto:data@example.com"]}))
    assert telling.frozen()["report"] == {"to": ["mailto:data@example.com"]} and telling.hash != silent.hash


def test_the_keys_are_read_as_they_are_documented(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.export()
    path = workshop.catalog_folder / "exports" / f"{export_id}.yaml"
    path.write_text(path.read_text() + 'report: {to: ["mailto:data@example.com"], on: [failed, succeeded]}\n')
    report = workshop.load(export_id).report
    assert report is not None and report.on == ("failed", "succeeded")


@pytest.mark.parametrize(
    ("report", "key", "message"),
    [
        ({"to": []}, "report.to", "nothing stands in it"),
        ({"to": ["mailto:a@b.example"], "on": []}, "report.on", "nothing stands in it"),
        ({"to": ["data@example.com"]}, "report.to", "entry 1 is no Apprise URL"),
        ({"to": ["mailto:a@b.example", "mailto:a@b.example"]}, "report.to", "entry 2 stands twice"),
        ({"to": ["mailto:a@b.example"], "on": ["crashed"]}, "report.on.0", "'failed' or 'succeeded'"),
        ({"to": ["mailto:a@b.example"], "when": ["failed"]}, "report.when", "unknown key"),
        ({"to": ["slak://{{ $TOKEN }}"]}, "report.to", "Apprise cannot send to slak://"),
        ({"to": ["mailto://"]}, "report.to", "Apprise cannot send to mailto://"),
        ({"to": ["json://host/{{ TOKEN }}"]}, None, "{{ TOKEN }} is no reference"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(
    workshop: Workshop, report: dict[str, Any], key: str | None, message: str
) -> None:
    workshop.sqlite()
    (problem,) = workshop.json("check", workshop.export(report=report), exit_code=1)
    assert problem["key"] == key and message in problem["message"], problem


@pytest.mark.parametrize(
    "url",
    [
        "mailto://me:hunter2@smtp.example?to=data@example.com",
        "mailtos://smtp.example?user=me&pass=hunter2",
        "slack://hunter2aa/hunter2bb/hunter2ccccccccccccccccc/#general",
        "https://hooks.slack.com/services/hunter2",
        "tgram://hunter2/123",
        "json://hooks.example/x?+Authorization=hunter2",
        "json://hooks.example/x?+X-Api-Key=hunter2",
    ],
)
def test_a_secret_written_out_is_refused_and_not_shown(workshop: Workshop, url: str) -> None:
    workshop.sqlite()
    (problem,) = workshop.json("check", workshop.export(report={"to": ["mailto:a@b.example", url]}), exit_code=1)
    assert (problem["code"], problem["key"]) == ("SECRET_LITERAL", "report.to.1")
    assert problem["line"] is not None and "hunter2" not in json.dumps(problem)
