"""Looks at a page in each theme and on a phone: for barriers, by axe, and for what is wider than the window."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

from tests.browser.visitor import DESKTOP, PHONE, Visitor

LOOKS: Final[dict[str, tuple[Literal["light", "dark"], ViewportSize]]] = {
    "light": ("light", DESKTOP),
    "dark": ("dark", DESKTOP),
    "phone": ("light", PHONE),
}
# WCAG 2.2 AA and axe's best practices. Preloaded, the style sheets that others import would be put inline,
# which the policy of the pages forbids.
_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "preload": False,
    # What holds is not described element by element, which takes longer than to find what does not.
    "resultTypes": ["violations"],
}
# What a page breaks in the dark alone: each page is shown in the light as well.
_RULES_OF_COLOURS = _RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_RUN = """
options => axe.run(options).then(({ violations }) => violations.map(({ id, help, nodes }) =>
  ({ id, help, elements: nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)) })))
"""
# What observes the size of an element acts once the first of these is drawn.
_TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def flaws(page: Page) -> list[str]:
    """Return what keeps somebody from using a page: barriers, and how far it is wider than the window."""
    wide = page.evaluate(_OVERFLOW)
    return barriers(page) + ([f"wider than the window by {wide} px"] if wide > 0 else [])


def in_each_look(page: Page) -> Iterator[str]:
    """Show a page in each theme and on a phone, and yield the name of each look; it is not loaded again."""
    before = page.viewport_size or DESKTOP
    for look, (scheme, size) in LOOKS.items():
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        page.evaluate(_TWO_FRAMES)
        yield look
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(before)


@dataclass
class Inspection:
    """Looks at pages in each look, and collects their flaws by page and look."""

    visitor: Visitor
    found: dict[str, list[str]] = field(default_factory=dict)

    def look_at(self, page: Page, name: str) -> None:
        """Note what is wrong with a page as it is at this moment."""
        for look in in_each_look(page):
            self.visitor.shoot(page, f"{name}-{look}")
            if problems := flaws(page):
                self.found[f"{name}, {look}"] = problems

    def visit(self, page: Page, name: str, path: str) -> None:
        """Go to a page and note what is wrong with it, as also that there is no such page."""
        answer = page.goto(path)
        if answer and answer.ok:
            self.look_at(page, name)
        else:
            self.found[name] = [f"answers {answer and answer.status}"]


def barriers(page: Page) -> list[str]:
    """Return what axe finds, one line for each rule with the first elements that break it."""
    # A bar that stays in view may cover half of a target, as far as the page happens to be scrolled.
    page.evaluate("scrollTo(0, 0)")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(_RUN, _rules(page))
    return [f"{rule['id']}: {rule['help']}: {rule['elements']}" for rule in found]


def _rules(page: Page) -> dict[str, Any]:
    size = page.viewport_size
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return _RULES_OF_COLOURS if is_dark and size and size["width"] > PHONE["width"] else _RULES
