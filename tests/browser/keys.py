"""Goes through pages by the keyboard alone, as somebody does who has no mouse."""

from playwright.sync_api import Page

# No page of Keeper has so many places to stop at.
_MOST_STOPS = 150


def walk(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until what `selector` names has the focus; fail if it cannot be reached so."""
    for _ in range(_MOST_STOPS):
        if page.evaluate("(wanted) => document.activeElement?.matches(wanted)", selector):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab on {page.url}")


def fill(page: Page, selector: str, text: str) -> None:
    """Go to a field and type into it."""
    walk(page, selector)
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def follow(page: Page, selector: str) -> None:
    """Go to a link or a button, press Enter, and wait until the page that it leads to has loaded."""
    walk(page, selector)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.wait_for_load_state()
