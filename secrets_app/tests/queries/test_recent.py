"""The list of what a person worked with last comes from their own events alone."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.queries.browsing import MOST
from secrets_app.services import read
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db


def test_it_lists_what_the_person_worked_with_last(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    secrets = [keep(cast, f"s{number:02}") for number in range(MOST + 2)]
    bob, vera = signed_in(cast.bob), signed_in(cast.vera)

    def names(client: Client) -> list[str]:
        return [row["secret"].name for row in client.get("/secrets?recent=on").context["rows"]]

    assert (names(bob), names(vera)) == ([], [])
    assert "Nothing recent" in bob.get("/secrets?recent=on").content.decode()
    for secret in (*secrets, secrets[0]):
        read.reveal(actor=cast.principal(cast.bob), secret=secret)
    # The two oldest have left, but for the one that was read again.
    assert names(bob) == ["s00", *(f"s{number:02}" for number in range(3, MOST + 2))]
    assert names(vera) == []
