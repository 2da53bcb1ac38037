"""Looks at a page in each theme and on a phone: for barriers, by axe, and for what is wider than the window."""

from typing import Any, Final

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.visitor import PHONE

LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "phone": True},
}
# WCAG 2.2 AA and axe's best practices. Preloaded, the style sheets that others import would be put inline,
# which the policy of the pages forbids.
_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "preload": False,
    # What holds is not described element by element, which takes longer than to find what does not.
    "resultTypes": ["violations"],
}
# What a page breaks in the dark alone: LOOKS has each page in the light as well.
_RULES_OF_COLOURS = _RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_RUN = """
options => axe.run(options).then(({ violations }) => violations.map(({ id, help, nodes }) =>
  ({ id, help, elements: nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)) })))
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def flaws(page: Page) -> list[str]:
    """Return what keeps somebody from using a page: barriers, and how far it is wider than the window."""
    wide = page.evaluate(_OVERFLOW)
    return barriers(page) + ([f"wider than the window by {wide} px"] if wide > 0 else [])


def flaws_at(page: Page, path: str) -> list[str]:
    """Go to a page and return its flaws, one of which is that there is no such page."""
    answer = page.goto(path)
    return flaws(page) if answer and answer.ok else [f"answers {answer and answer.status}"]


def barriers(page: Page) -> list[str]:
    """Return what axe finds, one line for each rule with the first elements that break it."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate(_RUN, _rules(page))
    return [f"{rule['id']}: {rule['help']}: {rule['elements']}" for rule in found]


def _rules(page: Page) -> dict[str, Any]:
    size = page.viewport_size
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return _RULES_OF_COLOURS if is_dark and size and size["width"] > PHONE["width"] else _RULES
