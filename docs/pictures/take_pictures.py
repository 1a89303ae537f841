"""Take the documentation's pictures in the Prefect UI of the finished demo: `make pictures`."""

import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path.append(str(ROOT / "tests"))

from browser import PrefectUi, chromium  # noqa: E402

from manage.demo.crm import add_activity  # noqa: E402

DEMO = ROOT / ".exports" / "demo"
INCREMENTAL, FAILING, CHECK = "orders_new", "subscriptions_partner", "manage-exports-check"


def main() -> None:
    """Serve the demo's dashboard, do in it what the pages describe, and picture each step."""
    command = [sys.executable, "-m", "manage.start_up", "demo", "--dashboard"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as demo:
        assert demo.stderr is not None
        line = next(line for line in demo.stderr if "Prefect UI:" in line)
        url = re.search(r"http://\S+", line)[0]  # type: ignore[index]
        try:
            with chromium(height=800) as page:
                ui = PrefectUi(page, url)
                _look(ui)
                _pause(ui)
                _run(ui)
                _fail(ui)
                _act(ui)
        finally:
            demo.terminate()


def _look(ui: PrefectUi) -> None:
    ui.deployments("database:demo_crm")
    _save(ui, "find")
    ui.deployment(INCREMENTAL)
    ui.tab("Description")
    ui.see("lag: 2s")
    _save(ui, "deployment")


def _pause(ui: PrefectUi) -> None:
    ui.deployment(INCREMENTAL)
    ui.switch_deployment()
    while True:
        ui.deployment(INCREMENTAL)
        ui.page.wait_for_load_state("networkidle")
        if ui.page.get_by_text("Next Run").is_visible():
            break
        # Prefect makes an active schedule's runs within a minute.
        ui.page.wait_for_timeout(2000)
    _save(ui, "switch")
    ui.switch_schedule()


def _run(ui: PrefectUi) -> None:
    add_activity(DEMO / "crm.sqlite")
    ui.deployment(INCREMENTAL)
    ui.open_form()
    yesterday = datetime.now() - timedelta(days=1)
    ui.type_moment("since", yesterday.replace(hour=6, minute=0))
    ui.type_moment("until", yesterday.replace(hour=18, minute=0))
    _save(ui, "backfill")
    ui.deployment(INCREMENTAL)
    ui.run(ui.quick_run())
    ui.expect_state("Completed")
    ui.tab("Task Runs")
    ui.see("commit orders")
    _save(ui, "run")
    ui.read_artifact("export-orders-new", "History")
    ui.see("History").scroll_into_view_if_needed()
    _save(ui, "report")


def _fail(ui: PrefectUi) -> None:
    partner = DEMO / "partner"
    partner.rename(away := partner.with_name("away"))
    ui.deployment(FAILING)
    ui.run(ui.quick_run())
    ui.expect_state("Failed")
    ui.state_message()
    ui.page.set_viewport_size({"width": 1280, "height": 1000})
    ui.page.get_by_role("button", name="Retry", exact=True).scroll_into_view_if_needed()
    _save(ui, "failed")
    ui.page.set_viewport_size({"width": 1280, "height": 800})
    away.rename(partner)
    ui.retry()
    ui.expect_state("Completed")


def _act(ui: PrefectUi) -> None:
    ui.deployments("export-actions")
    _save(ui, "actions")
    ui.deployment(CHECK)
    ui.open_form()
    ui.add_item("ids", INCREMENTAL)
    ui.field("connect").locator(".p-toggle__control").click()
    _save(ui, "form")
    ui.run(ui.submit())
    ui.expect_state("Completed")
    ui.read_artifact("exports-check", "checked")
    _save(ui, "answer")


def _save(ui: PrefectUi, name: str) -> None:
    ui.page.wait_for_load_state("networkidle")
    ui.page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    main()
