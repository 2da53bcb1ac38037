"""A report is printed, or saved as PDF, by the browser: all of its text, with heads and numbers on each page."""

import io
import unicodedata

from pypdf import PdfReader

from audit_app.models import deployment_uuid
from environments_app.models import User
from environments_app.tests.cast import Cast
from tests.browser.visitor import Visitor


def test_a_report_is_printed_with_its_heads_on_every_page(visitor: Visitor, cast: Cast) -> None:
    User.objects.bulk_create(User(username=f"person-{number:03}") for number in range(80))
    page = visitor.open("/reports/people.html", user=cast.root)
    document = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    # A font may draw "ff" as one sign: NFKC takes it apart again.
    pages = [unicodedata.normalize("NFKC", each.extract_text()) for each in document.pages]

    assert len(pages) > 2
    assert str(deployment_uuid()) in pages[0]
    assert "for root" in pages[0]
    assert "Print" not in pages[0]
    for number, text in enumerate(pages, start=1):
        assert "Username" in text
        assert f"Page {number} of {len(pages)}" in text
    assert {f"person-{number:03}" for number in range(80)} <= set(" ".join(pages).split())
