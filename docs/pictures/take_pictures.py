"""Take the documentation's pictures from the finished demo: `make pictures`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Serve the demo's dashboard, and picture a run, a report and a deployment."""
    command = [sys.executable, "-m", "manage.start_up", "demo", "--dashboard"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=FOLDER.parent.parent) as demo:
        assert demo.stderr is not None
        line = next(line for line in demo.stderr if "Prefect UI:" in line)
        ui = re.search(r"http://\S+", line)[0]  # type: ignore[index]
        try:
            _take(ui)
        finally:
            demo.terminate()


def _take(ui: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(f"{ui}/runs")
        page.get_by_role("link", name=re.compile(r"subscriptions_\d+")).first.click()
        page.get_by_role("button", name="Retry").first.wait_for()
        _save(page, "run")
        page.goto(f"{ui}/artifacts/key/export-orders-new")
        page.locator("a[href*='/artifacts/artifact/']").first.click()
        page.get_by_role("heading", name="History").wait_for()
        _save(page, "report")
        page.goto(f"{ui}/deployments")
        page.get_by_role("link", name="orders_new").first.click()
        page.get_by_text("Description", exact=True).click()
        page.get_by_text("lag: 2s").wait_for()
        _save(page, "deployment")
        browser.close()


def _save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
