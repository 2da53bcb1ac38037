"""Watches a page for what must not happen: errors, violations of the policy, requests elsewhere."""

from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Error, Page, Request

# Kept on the page itself, since a violation is an event of the document; read back at the end.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.effectiveDirective} by ${event.blockedURI} ${event.sample}`));
"""

# What htmx logs of a request that a newer one replaced; one that could not be sent logs `htmx:sendError` as well.
_REPLACED = ("error: htmx:afterRequest", "error: htmx:sendAbort")


class Watch:
    """Everything that went wrong on one page since it was opened."""

    def __init__(self, page: Page, site: str) -> None:
        self.problems: list[str] = []
        self.origins: set[str] = set()
        self._site = site
        self._expected: list[str] = []
        page.add_init_script(_REPORT_VIOLATIONS)
        page.on("console", self._heard)
        page.on("pageerror", self._failed)
        page.on("request", self._requested)

    def expect(self, text: str) -> None:
        """Say that a message that contains `text` belongs to the test."""
        self._expected.append(text)

    def found(self) -> list[str]:
        """Return what nobody expected, requests to other origins included."""
        elsewhere = [f"asked {origin}" for origin in sorted(self.origins - {self._site})]
        surprises = [line for line in self.problems if not any(text in line for text in self._expected)]
        return surprises + elsewhere

    def _heard(self, message: ConsoleMessage) -> None:
        line = f"{message.type}: {message.text}"
        if message.type in {"error", "warning"} and not line.startswith(_REPLACED):
            self.problems.append(line)

    def _failed(self, error: Error) -> None:
        self.problems.append(f"uncaught: {error}")

    def _requested(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"}:
            self.origins.add(f"{address.scheme}://{address.netloc}")
