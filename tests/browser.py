"""The Prefect UI in headless Chromium, by what a person sees and clicks in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from playwright.sync_api import Locator, Page, Response, expect, sync_playwright

#: In milliseconds; what a page shows comes from a server that other tests keep busy too.
_PATIENCE = 150_000


class PrefectUi:
    """One browser page. Every step waits for what it needs to see."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        page.set_default_timeout(_PATIENCE)

    def see(self, text: str) -> Locator:
        """The first place where the text stands, once it does; it may be part of a longer one."""
        found = self.page.get_by_text(text).first
        found.wait_for()
        return found

    def deployments(self, *tags: str) -> list[str]:
        """Open the list of deployments and narrow it to those tags by its filter; the names that are left."""
        self._all_deployments()
        self.page.get_by_text("All tags").click()
        for tag in tags:
            self.page.keyboard.type(tag)
            option = self.page.get_by_role("option").get_by_text(tag, exact=True)
            with self.page.expect_response(lambda answer: answer.url.endswith("/deployments/paginate")):
                option.click()
        # A click beside it closes the filter.
        self.page.get_by_text("Items per page").click()
        return self._names().all_inner_texts()

    def _all_deployments(self) -> None:
        self.page.goto(f"{self.url}/deployments")
        # What is clicked before the list stands closes again when it comes.
        self._names().first.wait_for()

    def _names(self) -> Locator:
        return self.page.locator("a[href*='/deployments/deployment/']")

    def deployment(self, name: str) -> None:
        """Go from the list to a deployment's page."""
        self._all_deployments()
        self.page.get_by_placeholder("Search deployments").fill(name)
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).wait_for()

    def tab(self, name: str) -> None:
        """Choose one of the page's tabs."""
        self.page.locator(".p-tab").get_by_text(name, exact=True).click()

    def switch_schedule(self) -> None:
        """Turn the switch of the one schedule."""
        self._switch(self.page.locator(".deployment-schedule-card .p-toggle__control"))

    def switch_deployment(self) -> None:
        """Turn the switch beside the word Schedules, which stops or starts them all."""
        self._switch(self.page.locator(".deployment-details__schedule-label .p-toggle__control"))

    def _switch(self, control: Locator) -> None:
        def act() -> None:
            # Anew each time: a switch that was turned in vain stands where it should not.
            self.page.reload()
            control.click()

        self._answer("PATCH", "", act)

    def _answer(self, method: str, path: str, act: Callable[[], object]) -> Response:
        """Do what asks the server, as often as it says that it is busy, as Prefect's on SQLite does; its answer."""

        def is_asked(answer: Response) -> bool:
            return answer.request.method == method and answer.url.endswith(path)

        while True:
            with self.page.expect_response(is_asked) as answered:
                act()
            if answered.value.status != 503:
                assert answered.value.ok, answered.value.text()
                return answered.value

    def quick_run(self) -> str:
        """Start an export as it is, by the dialog that shows its definition; returns the run's id."""
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Quick run").click()
        return self._started(self.page.get_by_role("dialog").get_by_role("button", name="Run", exact=True))

    def open_form(self) -> None:
        """Open the form of a custom run."""
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def submit(self) -> str:
        """Send the form; returns the run's id."""
        return self._started(self.page.get_by_role("button", name="Submit"))

    def _started(self, button: Locator) -> str:
        # By the key, not the mouse: the message that the server is busy may lie over the button.
        run_id: str = self._answer("POST", "/create_flow_run", lambda: button.press("Enter")).json()["id"]
        return run_id

    def field(self, name: str) -> Locator:
        """A parameter of the form."""
        label = self.page.locator(".schema-form-property__label").filter(has_text=re.compile(rf"^{name}( |$)"))
        return self.page.locator(".schema-form-property").filter(has=label).last

    def type_text(self, name: str, text: str) -> None:
        """Type into a field for text."""
        self.field(name).locator("textarea").fill(text)

    def add_item(self, name: str, text: str) -> None:
        """Add a text to a field for a list."""
        self.field(name).get_by_role("button", name="Add item").click()
        self.field(name).locator("textarea").last.fill(text)

    def type_moment(self, name: str, moment: datetime) -> None:
        """Choose a moment, in UTC, in a field that is empty otherwise."""
        field = self.field(name)
        field.get_by_role("button", name="date-time").click()
        field.locator(".p-date-button__control").click()
        self.page.locator("input[type=date]").fill(f"{moment:%Y-%m-%d}")
        self.page.locator("input[type=time]").fill(f"{moment:%H:%M}")
        self.page.get_by_role("button", name="Apply").click()
        self.page.locator("input[type=date]").wait_for(state="detached")

    def run(self, run_id: str) -> None:
        """Open the page of a run."""
        self.page.goto(f"{self.url}/runs/flow-run/{run_id}")
        self.page.locator(".p-tab").first.wait_for()

    def expect_state(self, name: str) -> None:
        """Wait until the run's badge says so; the page keeps itself up to date."""
        expect(self.page.locator(".state-badge").first).to_have_text(name, timeout=_PATIENCE)

    def state_message(self) -> str:
        """The state's message, in the tab Details of a run."""
        self.tab("Details")
        message = self.page.locator(".p-key-value").filter(has_text="State Message").locator(".p-key-value__value")
        message.wait_for()
        if (more := message.get_by_text("See More")).is_visible():
            more.click()
            return message.inner_text().removesuffix("See Less").strip()
        return message.inner_text().strip()

    def retry(self) -> None:
        """Retry the run whose page is open."""
        dialog = self.page.get_by_role("dialog")

        def act() -> None:
            if not dialog.is_visible():
                self.page.get_by_role("button", name="Retry", exact=True).first.click()
            dialog.get_by_role("button", name="Retry").click()

        self._answer("POST", "/set_state", act)

    def read_artifact(self, key: str, containing: str) -> str:
        """Open the artifact of the run whose page is open from its card; returns its text, once that is in it."""
        self.tab("Artifacts")
        self.page.locator("a[href*='/artifacts/artifact/']").filter(has_text=key).first.click()
        # The one with headings: the other is its card's line.
        body = self.page.locator(".markdown-renderer").filter(has=self.page.get_by_role("heading"))
        # Code is coloured, and so shown, after the rest.
        expect(body).to_contain_text(containing, timeout=_PATIENCE)
        return body.inner_text()


@contextmanager
def chromium(height: int = 900) -> Iterator[Page]:
    """A page in headless Chromium, which must be on this machine."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*arguments, "--disable-sync"])
        yield browser.new_page(viewport={"width": 1280, "height": height})
        browser.close()


def _has_chromium() -> bool:
    return any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


@pytest.fixture
def ui(prefect_url: str) -> Iterator[PrefectUi]:
    """The tests' Prefect server in a browser; on a machine without one there is nothing to click with."""
    if not _has_chromium():
        if os.environ.get("CI"):
            pytest.fail("a Chromium is needed here: .ci/run installs it")
        pytest.skip("there is no Chromium on this machine")
    with chromium() as page:
        yield PrefectUi(page, prefect_url.removesuffix("/api"))
