"""The Prefect UI as a face of ours, in a real browser."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright
from workshop import Workshop


@pytest.fixture
def page() -> Iterator[Page]:
    """A page in headless Chromium; on a machine without one there is nothing to click with."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("a Chromium is needed here: .ci/run installs it")
        pytest.skip("there is no Chromium on this machine")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*arguments, "--disable-sync"])
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def test_retry_in_the_ui_delivers_the_same_window_under_the_same_name(
    prefect: Workshop, prefect_url: str, prefect_worker: None, page: Page
) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.drop.rmdir()
    run_id = prefect.json("run", export_id, "--detach")["run_id"]
    failed = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    assert failed["error_code"] == "TARGET_DENIED" and failed["attempts"] == 1
    (window,) = prefect.ledger.windows(export_id)

    prefect.drop.mkdir()
    page.goto(f"{prefect_url.removesuffix('/api')}/runs/flow-run/{run_id}")
    page.get_by_text(window.file_name).first.wait_for()
    page.get_by_role("button", name="Retry", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()

    report = prefect.wait_for(lambda: prefect.ended(export_id, run_id, attempts=2))
    assert report["status"] == "succeeded" and report["attempts"] == 2 and report["rows"] == 3
    assert report["window"] == failed["window"] and list(prefect.files()) == [window.file_name]
