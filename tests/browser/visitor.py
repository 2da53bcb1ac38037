"""Opens pages of a running Keeper for somebody, and sees that nothing goes wrong meanwhile."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from environments_app.models import User
from tests.browser.watch import Watch

DESKTOP: ViewportSize = {"width": 1360, "height": 860}
PHONE: ViewportSize = {"width": 360, "height": 740}
# How long a page takes says something of the machine: a busy one is no fault.
PATIENCE_MILLISECONDS = 60_000


class Visitor:
    """Opens windows at `site`; `close` fails for what the watches found in them."""

    def __init__(self, browser: Browser, site: str, shots: Path | None) -> None:
        self.site = site
        self._browser = browser
        self._shots = shots
        self._windows: list[tuple[BrowserContext, Watch]] = []

    def open(self, path: str = "/", *, user: User | None = None, phone: bool = False, **options: Any) -> Page:
        """Open a new window at `path`, signed in as `user`; `options` are those of a browser context."""
        context = self._browser.new_context(
            base_url=self.site, viewport=PHONE if phone else DESKTOP, reduced_motion="reduce", **options
        )
        if user is not None:
            context.add_cookies([self._session(user)])  # type: ignore[list-item]
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        self._windows.append((context, Watch(page, self.site)))
        page.goto(path)
        return page

    def watch(self, page: Page) -> Watch:
        """Return the watch over a window."""
        return next(watch for context, watch in self._windows if context == page.context)

    def shoot(self, page: Page, name: str) -> None:
        """Keep a picture of the page, where a directory for them was named."""
        if self._shots is not None:
            page.screenshot(path=self._shots / f"{name}.png", full_page=True)

    def close(self) -> list[str]:
        """Close every window; return what went wrong in them."""
        found = []
        for context, watch in self._windows:
            context.close()
            found += watch.found()
        return found

    def _session(self, user: User) -> dict[str, str]:
        client = Client()
        client.force_login(user, backend="environments_app.users.password_backend.LocalBackend")
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        return {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": self.site}
