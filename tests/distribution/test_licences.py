"""The page of licences is true, and nothing came in whose licence nobody looked at."""

import re
from importlib.metadata import metadata

from tests.distribution import licences

# Words of licences that somebody has looked at. LGPL and GPL are named with their packages on the page.
PERMISSIVE = re.compile(
    r"Apache|BSD|MIT|PSF|Python Software Foundation|MPL|Mozilla Public License 2\.0|Unlicense"
)
COPYLEFT = {
    "mysqlclient": "GPL-2.0-or-later",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}


def test_the_page_is_what_the_packages_state() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run: make licences"


def test_each_licence_was_looked_at() -> None:
    stated = {name: licences.licence(metadata(name)) for name, _ in licences.pinned()}

    assert {name: text for name, text in stated.items() if not PERMISSIVE.search(text)} == COPYLEFT
