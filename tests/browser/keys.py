"""Goes through pages by the keyboard alone, as somebody does who has no mouse."""

from playwright.sync_api import Page

# No page of Keeper has so many places to stop at.
_MOST_STOPS = 150
_SKIPS = "(wanted) => document.activeElement === document.body && !!document.querySelector(`#main ${wanted}`)"
_IS_FOCUSED = "(wanted) => document.activeElement?.matches(wanted)"


def walk(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until what `selector` names has the focus; fail if it cannot be reached so.

    The first Tab of a page leads to its skip link, which is taken to what is in the content.
    """
    if "," not in selector and not back and page.evaluate(_SKIPS, selector):
        page.keyboard.press("Tab")
        if page.evaluate(_IS_FOCUSED, ".skip-link"):
            page.keyboard.press("Enter")
    for _ in range(_MOST_STOPS):
        if page.evaluate(_IS_FOCUSED, selector):
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
