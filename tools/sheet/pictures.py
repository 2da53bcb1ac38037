"""Takes the sheet: run by `make screenshots`, and no test of the suite."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from operations_app.health.processes import beat
from tests.browser.conftest import (  # noqa: F401  the fixtures of the browser tests
    browser,
    live_server,
    site,
    without_tls,
)
from tests.browser.visitor import Visitor
from tools.sheet.clock import Clock, standing
from tools.sheet.scene import Scene

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LIGHT: dict[str, Any] = {"color_scheme": "light"}
DARK: dict[str, Any] = {"color_scheme": "dark"}
PHONE: dict[str, Any] = {"color_scheme": "light", "phone": True}
# A page may be longer than what is worth showing of it.
TALLEST = {"light": 1250, "dark": 1250, "phone": 1000}
LOOKS = {"light": LIGHT, "dark": DARK, "phone": PHONE}
# All in light; of the others so many as show that they are the same.
TAKEN = {
    "light": ("dashboard", "secrets", "secret", "plan", "activity", "environment"),
    "dark": ("dashboard", "secret", "plan"),
    "phone": ("dashboard", "secrets", "secret"),
}
COLOURS = 256


@pytest.fixture
def clock() -> Iterator[Clock]:
    with standing() as clock:
        yield clock


@pytest.mark.django_db(transaction=True)
def test_the_sheet(clock: Clock, browser: Browser, site: str) -> None:  # noqa: F811
    scene = Scene(clock)
    beat()
    folder = Path(os.environ.get("KEEPER_SCREENSHOTS", IMAGES))
    visitor = Visitor(browser, site, None)
    for look, options in LOOKS.items():
        page = visitor.open("/", user=scene.viewer, **options)
        for name in TAKEN[look]:
            page.goto(scene.pages[name])
            page.wait_for_load_state("networkidle")
            _fit(page, TALLEST[look])
            picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
            # Few colours compress well, and these pages have few.
            few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(folder / f"{name}-{look}.png", optimize=True)
    assert visitor.close() == []


def _fit(page: Page, tallest: int) -> None:
    """Make the window as tall as what it shows, so that what sticks to its edges sticks there in the picture."""
    wide = (page.viewport_size or {"width": 0})["width"]
    page.set_viewport_size({"width": wide, "height": 700})
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": wide, "height": min(height, tallest)})
