"""The Prefect UI as a face of ours, in a real browser."""

import os
import signal
from uuid import UUID

from browser import PrefectUi
from gated_source import GatedSource
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from workshop import Workshop

from catalog.windows import Window
from deployments.prefect_api import prefect_api


def retry(ui: PrefectUi, run_id: str, window: Window) -> None:
    """What a person clicks on the page of a run, which is named after its file."""
    ui.run(run_id)
    ui.see(window.file_name)
    ui.retry()


def test_retry_in_the_ui_delivers_the_same_window_under_the_same_name(
    prefect: Workshop, prefect_worker: None, ui: PrefectUi
) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.drop.rmdir()
    run_id = prefect.json("run", export_id, "--detach")["run_id"]
    failed = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    assert failed["error_code"] == "TARGET_DENIED" and failed["attempts"] == 1
    (window,) = prefect.ledger.windows(export_id)

    prefect.drop.mkdir()
    retry(ui, run_id, window)

    report = prefect.wait_for(lambda: prefect.ended(export_id, run_id, attempts=2))
    assert report["status"] == "succeeded" and report["attempts"] == 2 and report["rows"] == 3
    assert report["window"] == failed["window"] and list(prefect.files()) == [window.file_name]


def worker_has_told(run_id: str) -> bool:
    """Prefect reports a killed run twice, seconds apart, and then gives advice; a retry in between is overwritten."""
    with prefect_api() as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)])))
    return any("exceeded its memory" in log.message for log in logs)


def test_retry_of_a_killed_run_delivers_its_window_and_retry_of_a_completed_one_nothing(
    prefect: Workshop, gated: GatedSource, prefect_worker: None, ui: PrefectUi
) -> None:
    export_id = prefect.incremental(cursor={"lookback": "0s"})
    with gated.closed():
        run_id = prefect.json("run", export_id, "--detach")["run_id"]
        prefect.wait_for(lambda: gated.readers() == 1)
        os.kill(prefect.ledger.attempts_of_run(run_id)[0].pid, signal.SIGKILL)
        killed = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    assert (killed["error_code"], killed["relaunchable"]) == ("PROCESS_VANISHED", True) and prefect.files() == {}
    prefect.wait_for(lambda: worker_has_told(run_id))
    (window,) = prefect.ledger.windows(export_id)
    gated.add(4, "2026-01-04 08:00")

    retry(ui, run_id, window)
    delivered = prefect.wait_for(lambda: prefect.ended(export_id, run_id, attempts=2))
    assert delivered["status"] == "succeeded" and delivered["window"] == killed["window"]
    assert list(prefect.files()) == [window.file_name]
    (prefect.drop / window.file_name).unlink()  # its consumer took it

    retry(ui, run_id, window)
    again = prefect.wait_for(lambda: prefect.ended(export_id, run_id, attempts=3))
    assert again["status"] == "succeeded" and again["window"] == killed["window"] and prefect.files() == {}
    assert again["message"] == f"{delivered['message']}; nothing was left to do"
    assert again["notes"][0].startswith("took over from an earlier attempt, which died at work on ")
