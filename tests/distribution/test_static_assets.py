"""What is served to browsers: Bootstrap as it was published, and nothing inline anywhere."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
OWN_FILES = sorted(path for path in (ROOT / "static").rglob("*") if path.is_file())

# https://getbootstrap.com/docs/5.3/getting-started/download/ (5.3.8, "CDN via jsDelivr").
BOOTSTRAP = {
    "bootstrap/css/bootstrap.min.css": (
        "sha384-sRIl4kxILFvY47J16cr9ZwB07vP4J8+LH7qKQnuqkuIAvNWLzeN8tE5YBujZqJLB"
    ),
    "bootstrap/js/bootstrap.bundle.min.js": (
        "sha384-FKyoEForCGlyvwx9Hj09JcYn3nv7wiPVlz7YYwJrWVcXK/BmnVDxM+D2scQbITxI"
    ),
}
INLINE = {
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "a style element": re.compile(r"<style[\s>]", re.IGNORECASE),
    "an event handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "a script without a source": re.compile(r"<script(?![^>]*\ssrc=)[\s>]", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "an evaluated htmx attribute": re.compile(r"hx-on|hx-vals\s*=\s*[\"']js:|hx-vars", re.IGNORECASE),
    "another origin": re.compile(r"(?:src|href|action)\s*=\s*[\"'](?:https?:)?//", re.IGNORECASE),
}


@pytest.mark.parametrize("name", BOOTSTRAP)
def test_bootstrap_is_what_its_makers_published(name: str) -> None:
    found = finders.find(name)
    assert isinstance(found, str)

    digest = hashlib.sha384(Path(found).read_bytes()).digest()

    assert f"sha384-{base64.b64encode(digest).decode()}" == BOOTSTRAP[name]


def test_no_template_has_anything_inline() -> None:
    found = {
        str(path.relative_to(ROOT)): what
        for path in TEMPLATES
        for what, pattern in INLINE.items()
        if pattern.search(path.read_text())
    }

    assert found == {}
    assert len(TEMPLATES) > 80


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('<p class="a" style="color: red">', "a style attribute"),
        ("<style>", "a style element"),
        ('<img src="x" onerror="y">', "an event handler"),
        ("<script>alert(1)</script>", "a script without a source"),
        ('<a href="//example.com">', "another origin"),
    ],
)
def test_the_search_for_inline_code_finds_it(text: str, what: str) -> None:
    assert INLINE[what].search(text)


def test_no_file_of_ours_asks_another_origin_or_evaluates_text() -> None:
    wrong = re.compile(r"https?://|url\(['\"]?//|\beval\(|new Function|innerHTML|document\.write")
    texts = {path: path.read_text().replace("http://www.w3.org/2000/svg", "") for path in OWN_FILES}

    assert {str(path.relative_to(ROOT)) for path, text in texts.items() if wrong.search(text)} == set()
    assert texts


def test_every_icon_that_is_drawn_is_in_the_sprite() -> None:
    drawn = {name for path in TEMPLATES for name in re.findall(r"{% icon \"([a-z-]+)\"", path.read_text())}
    sprite = (ROOT / "static/keeper/icons.svg").read_text()

    assert drawn - set(re.findall(r'<symbol id="([a-z-]+)"', sprite)) == set()
    assert len(drawn) > 20
