"""Each page that somebody without access can open leads to a request for access."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.access_requests.service import submit
from environments_app.models import User, UserRole
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
PAGES = (
    "/", "/secrets", "/secrets/new", "/secrets/import", "/secrets/export", "/secrets/matrix",
    "/environments", "/environments/new", "/environments/production", "/environments/nowhere",
    "/tokens", "/sync", "/sync/new", "/rotation", "/approvals", "/activity", "/notifications", "/secrets/1",
)  # fmt: skip
LINK = 'href="/access-requests/new'


def main_part(page: str) -> str:
    return page[page.index("<main") : page.index("</main>")]


@pytest.mark.parametrize("path", PAGES)
def test_it_leads_to_a_request(cast: Cast, signed_in: Callable[[User], Client], path: str) -> None:
    assert LINK in main_part(signed_in(cast.charlie).get(path).content.decode())


def test_an_auditor_who_holds_no_access_is_not_sent_there(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    charlie = User.objects.get(pk=cast.charlie.pk)
    charlie.role = UserRole.AUDITOR
    charlie.save()
    client = signed_in(charlie)
    for path in ("/tokens", "/sync/new", "/environments/new", "/activity", "/notifications"):
        assert LINK not in main_part(client.get(path).content.decode()), path


def test_the_dashboard_shows_what_was_requested(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    asked = submit(actor=cast.principal(cast.charlie), environment="production", role="reader")
    page = main_part(signed_in(cast.charlie).get("/").content.decode())
    assert f'href="/access-requests/{asked.pk}"' in page
    assert "Reader in production" in page
