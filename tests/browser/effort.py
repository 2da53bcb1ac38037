"""Counts what a task takes: clicks, and keys that are pressed, over all pages of a window."""

from playwright.sync_api import Page

_COUNTS = """
addEventListener("click", (event) => { if (event.isTrusted && event.detail) countEffort("clicks"); }, true);
addEventListener("keydown", (event) => { if (event.isTrusted && !event.repeat) countEffort("keys"); }, true);
"""


class Effort:
    """The clicks and keys in a window from now on. A click that the Enter key makes counts as a key."""

    def __init__(self, page: Page) -> None:
        self.clicks = self.keys = 0
        page.expose_function("countEffort", self._count)
        page.add_init_script(_COUNTS)
        page.evaluate(_COUNTS)

    def _count(self, kind: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
