"""A correction of an import belongs to the entry for which it was entered, whatever else changes in the form.

Each step reads the page as a browser does and sends the whole form back, with what the person entered.
"""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.test import Client

from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.forms.transfer import _apply
from secrets_app.importing.formats.entries import Entry
from secrets_app.models import Secret
from secrets_app.services.read import reveal


class Form(HTMLParser):
    """The fields of a page with the values that a browser would send."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.select = self.area = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in {"file", "submit", "checkbox"}:
            # A field of one line drops line ends (HTML, 4.10.5.1.2).
            value = given.get("value", "")
            self.fields[name] = value if given.get("type") == "hidden" else "".join(value.splitlines())
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and (self.select not in self.fields or "selected" in given):
            self.fields[self.select] = given["value"]
        elif tag == "textarea":
            self.area = name
            self.fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.fields[self.area] = self.fields[self.area].removeprefix("\n").replace("\n", "\r\n")
            self.area = ""

    def handle_data(self, data: str) -> None:
        if self.area:
            self.fields[self.area] += data


class Page:
    """The import page of one person, who enters text and corrections and presses the buttons."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.content = client.get("/secrets/import").content.decode()
        self.fields = Form(self.content).fields | {"environment": "development"}

    def press(self, act: str) -> None:
        sent = self.fields | {"act": act}
        # As the script does: the answer replaces the part below the file and its text.
        response = self.client.post("/secrets/import", sent, headers={"HX-Request": "true"})
        self.content = response.content.decode()
        kept = {name: value for name, value in self.fields.items() if not name.startswith(("fix-", "digest"))}
        self.fields = kept | Form(self.content).fields

    def correct(self, old: str, **fix: str) -> None:
        """Correct the first entry of a name that the page offers for it."""
        field = next(name for name, value in self.fields.items() if name.endswith("-name") and value == old)
        for kind, value in fix.items():
            self.fields[field.removesuffix("name") + kind] = value

    def retype(self, name: str, kind: str) -> None:
        label = f'aria-label="Type of {name}"'
        (tag,) = [part for part in self.content.split("<select") if label in part.split(">")[0]]
        self.fields[tag.split('name="')[1].split('"')[0]] = kind


@pytest.fixture
def page(cast: Cast, signed_in: Callable[[User], Client]) -> Page:
    return Page(signed_in(cast.erin))


def stored(cast: Cast) -> dict[str, str]:
    actor = cast.principal(cast.erin)
    secrets = Secret.objects.filter(environment=cast.development).select_related("environment")
    return {each.name: reveal(actor=actor, secret=each).value for each in secrets}


def test_a_corrected_text_is_stored_under_its_own_names(page: Page, cast: Cast) -> None:
    page.fields["text"] = "EMPTY=\nOTHER=1\n"
    page.press("preview")
    page.fields["text"] = "API_TOKEN=abc\nOTHER=1\n"
    page.press("preview")
    assert "Import 2 secrets" in page.content
    assert "dropped" not in page.content
    page.press("import")
    assert stored(cast) == {"API_TOKEN": "abc", "OTHER": "1"}


def test_a_typed_value_goes_to_no_other_entry(page: Page, cast: Cast) -> None:
    page.fields["text"] = "EMPTY_ONE=\nOTHER=1\n"
    page.press("preview")
    page.correct("EMPTY_ONE", value="typed-for-empty", name="FILLED", type="PASSWORD")
    page.fields["text"] = "REAL=realvalue\nOTHER=1\n"
    page.press("preview")
    assert "1 correction dropped" in page.content
    page.press("import")
    assert stored(cast) == {"REAL": "realvalue", "OTHER": "1"}


def test_a_chosen_type_stays_with_its_entry_when_a_line_is_put_before_it(page: Page, cast: Cast) -> None:
    page.fields["text"] = "A=1\nB=2\n"
    page.press("preview")
    page.retype("A", "API_KEY")
    page.fields["text"] = "FIRST=0\nA=1\nB=2\n"
    page.press("preview")
    page.press("import")
    types = dict(Secret.objects.values_list("name", "secret_type"))
    assert types["A"] == "API_KEY"
    assert types["FIRST"] == types["B"] != "API_KEY"


def test_several_corrections_follow_their_entries_through_another_order(page: Page, cast: Cast) -> None:
    page.fields["text"] = "a//b=1\n/c=2\nEMPTY=\nGOOD=3\n"
    page.press("preview")
    page.correct("a//b", name="ab")
    page.correct("/c", name="c")
    page.correct("EMPTY", value="filled")
    page.press("preview")
    assert "a/<wbr>/<wbr>b → ab" in page.content
    page.fields["text"] = "NEW=4\nEMPTY=\n/c=2\nGOOD=3\na//b=1\n"
    page.press("preview")
    assert "Import 5 secrets" in page.content
    page.press("import")
    assert stored(cast) == {"ab": "1", "c": "2", "EMPTY": "filled", "GOOD": "3", "NEW": "4"}


def test_the_correction_of_an_unreadable_line_holds_while_the_file_is_the_same(
    page: Page, cast: Cast
) -> None:
    page.fields["text"] = "bad line\nother line\n"
    page.press("preview")
    page.correct("", name="first", value="1")
    page.press("preview")
    page.correct("", name="second", value="2")
    page.press("preview")
    assert "Import 2 secrets" in page.content
    page.fields["text"] = "new line\nother line\n"
    page.press("preview")
    assert "2 corrections dropped" in page.content
    assert "first" not in page.content


def test_of_equal_entries_each_has_its_own_correction(page: Page, cast: Cast) -> None:
    page.fields["text"] = "TWICE=1\nTWICE=1\nTWICE=2\n"
    page.press("preview")
    assert page.content.count("An earlier entry has the same name.") == 2
    page.correct("TWICE", name="SECOND")
    page.press("preview")
    page.correct("TWICE", name="THIRD")
    page.press("preview")
    page.press("import")
    assert stored(cast) == {"TWICE": "1", "SECOND": "1", "THIRD": "2"}


def test_a_file_that_changed_before_the_import_takes_no_correction_of_another(page: Page, cast: Cast) -> None:
    page.fields["text"] = "EMPTY=\nOTHER=1\n"
    page.press("preview")
    page.correct("EMPTY", value="filled")
    page.press("preview")
    page.fields["text"] = "ADMIN=root\nOTHER=1\n"
    page.press("import")
    assert stored(cast) == {}
    assert "Nothing was imported" in page.content
    page.press("import")
    assert stored(cast) == {"ADMIN": "root", "OTHER": "1"}


def test_another_prefix_or_value_drops_a_correction(page: Page, cast: Cast) -> None:
    page.fields |= {"text": "a//b=1\n", "under": "shop"}
    page.press("preview")
    page.correct("shop/a//b", name="shop/good")
    page.press("preview")
    page.fields["under"] = "billing"
    page.press("preview")
    assert "1 correction dropped" in page.content
    assert "shop/good" not in page.content


def test_a_name_of_two_lines_is_not_renamed_by_being_shown(page: Page, cast: Cast) -> None:
    page.fields |= {"text": 'name,value\n"two\nlines",1\n', "format": "csv"}
    for _ in range(2):
        page.press("preview")
        assert "Fix the entries marked below" in page.content
    page.press("import")
    assert stored(cast) == {}


def test_a_file_of_a_thousand_refused_entries_can_be_previewed_again(page: Page, cast: Cast) -> None:
    page.fields["text"] = "".join(f"/bad-{number}={number}\n" for number in range(1000))
    page.press("preview")
    assert "850 more can only be fixed in the file" in page.content
    page.correct("/bad-149", name="good")
    page.press("preview")
    assert "Import 1 secret<" in page.content
    page.fields["text"] = "/before=0\n" + page.fields["text"].replace("/bad-999=999\n", "")
    page.press("preview")
    page.press("import")
    assert stored(cast) == {"good": "149"}


def test_a_chosen_type_is_kept_where_the_page_offers_none(page: Page, cast: Cast) -> None:
    page.fields["text"] = "A=1\n"
    page.press("preview")
    page.retype("A", "API_KEY")
    page.fields["text"] = "".join(f"FIRST_{number}=0\n" for number in range(120)) + "A=1\n"
    for act in ("preview", "preview", "import"):
        page.press(act)
    assert Secret.objects.get(name="A").secret_type == "API_KEY"


def test_a_corrected_value_is_still_refused_where_another_writer_was_first() -> None:
    shown = Entry(place=1, name="a", value="typed", seen='"1-1"')
    assert _apply({"value": "corrected"}, shown).seen == shown.seen
    # What was shown is another name's.
    assert _apply({"name": "b"}, shown).seen is None
