"""An operator who works in the Django admin alone, with the mouse or by the keys alone."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Frame, Locator, Page, expect

from tests.browser import keys

ADMIN: Final = "/admin/"
# Pages that the admin lists among its own.
LISTED: Final = frozenset({"/backups"})
AGREE: Final = "#content form[method=post] .submit-row input[type=submit]"


class Operator:
    """Goes through the admin; `strayed` names the pages outside of it that were opened."""

    def __init__(self, page: Page, *, by_keys: bool = False) -> None:
        self.page, self._by_keys = page, by_keys
        self.visited: list[str] = [urlsplit(page.url).path]
        page.on("framenavigated", self._went)

    def strayed(self) -> list[str]:
        """Return the addresses outside the admin that were opened."""
        return [path for path in self.visited if not path.startswith(ADMIN) and path not in LISTED]

    def list_of(self, model: str) -> None:
        """Go from the index to the list of a model, such as `environments_app/user`, or to a page of operators."""
        self.page.goto(ADMIN)
        self.follow(f"#content .module a[href='{ADMIN}{model}/']")

    def follow(self, selector: str) -> None:
        """Follow a link, or press a button that leads to a page."""
        if self._by_keys:
            keys.follow(self.page, selector)
            return
        self._press(self.page.locator(selector).first)

    def open(self, text: str) -> None:
        """Open the row of a list by the text of its link."""
        self._press(self.page.locator("#result_list").get_by_role("link", name=text, exact=True))

    def act(self, name: str) -> None:
        """Go from a page to the question of one of its acts."""
        self.follow(f".object-tools a[href$='/acts/{name}/']")

    def fill(self, **fields: str) -> None:
        """Type into fields of the form, by their names."""
        self.fill_in(fields)

    def fill_in(self, fields: Mapping[str, str]) -> None:
        """Type into fields of the form, whose names may be no identifiers."""
        for name, text in fields.items():
            if self._by_keys:
                keys.fill(self.page, f"#content [name='{name}']", text)
            else:
                self.page.locator(f"#content [name='{name}']").fill(text)

    def choose(self, **fields: str) -> None:
        """Choose in fields of the form, by their names, what a label shows."""
        for name, label in fields.items():
            if self._by_keys:
                keys.walk(self.page, f"#content select[name='{name}']")
                self.page.keyboard.type(label)
            else:
                self.page.locator(f"#content select[name='{name}']").select_option(label=label)

    def agree(self) -> None:
        """Send the form of a page, or agree to what it asks."""
        self.follow(AGREE)

    def filter(self, name: str, value: str) -> None:
        """Narrow a list by one of its filters, named as in the address."""
        link = self.page.locator(f"details.filter a[href*='{name}={value}']")
        link.locator("xpath=ancestor::details/summary").click()
        self._press(link)

    def on_each(self, *rows: str, act: str) -> None:
        """Choose rows of a list by their texts, and an act on them."""
        for row in rows:
            self.row(row).locator("input.action-select").check()
        self.page.locator("select[name=action]").select_option(act)
        self._press(self.page.locator("button[name=index]"))

    def row(self, text: str) -> Locator:
        """Return the row of a list, or of a result, that has a text."""
        return self.page.locator("#result_list tbody tr, .act-rows tbody tr").filter(has_text=text)

    def copied_once(self) -> str:
        """Return what a page shows a single time."""
        once = self.page.locator(".act-once")
        expect(once).to_be_visible()
        return once.inner_text()

    def _press(self, locator: Locator) -> None:
        with self.page.expect_navigation():
            locator.click()

    def _went(self, frame: Frame) -> None:
        if frame == self.page.main_frame:
            self.visited.append(urlsplit(frame.url).path)
