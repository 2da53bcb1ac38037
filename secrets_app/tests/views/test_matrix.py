"""The matrix: its columns are a person's choice, gaps are found, and a row is written cell by cell."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.models import Membership, PersonalSettings, Role, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

SignedIn = Callable[[User], Client]
MATRIX, ROW = "/secrets/matrix", "/secrets/matrix/row"
VALUE = "s3cr3t-Kx9"


def columns(page: object) -> list[str]:
    return [place.name for place in page.context["columns"]]  # type: ignore[attr-defined]


def values(cast: Cast, name: str = "pay/db") -> dict[str, str]:
    return {
        secret.environment.name: reveal(actor=cast.principal(cast.alice), secret=secret).value
        for secret in Secret.objects.filter(name=name, live=True).select_related("environment")
    }


def seen(cast: Cast, client: Client, **query: str) -> dict[str, str]:
    page = client.get(ROW, {"name": "pay/db", **query})
    return {f"seen-{cell['place'].name}": cell["etag"] for cell in page.context["cells"] if "etag" in cell}


def test_the_columns_are_remembered_in_the_account(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    assert columns(browser.get(MATRIX)) == ["development", "production"]
    answer = browser.post(MATRIX, {"act": "columns", "show": ["production"]})
    assert answer.status_code == 302
    assert columns(signed_in(cast.alice).get(MATRIX)) == ["production"]
    # An address that is about an environment shows it first, whatever was chosen.
    assert columns(browser.get(f"{MATRIX}?with=development")) == ["development", "production"]
    browser.post(MATRIX, {"act": "columns"})
    assert columns(browser.get(MATRIX)) == ["development", "production"]
    # Another person's choice is theirs, and a choice is no comparison.
    assert not PersonalSettings.objects.exclude(user=cast.alice).exists()
    assert not AuditEvent.objects.filter(action="secret.compare").exists()


def test_a_remembered_environment_that_one_may_see_no_more_is_left_out(
    cast: Cast, signed_in: SignedIn
) -> None:
    PersonalSettings.objects.create(user=cast.bob, matrix_environments=["production", "nowhere"])
    assert columns(signed_in(cast.bob).get(f"{MATRIX}?with=production")) == ["development"]


def test_too_many_are_refused(cast: Cast, signed_in: SignedIn) -> None:
    names = [f"e{number}" for number in range(21)]
    page = signed_in(cast.alice).post(MATRIX, {"act": "columns", "show": names}, follow=True)
    assert "Choose up to 20 environments." in page.content.decode()


def test_only_gaps_shows_names_that_some_column_lacks(cast: Cast, signed_in: SignedIn) -> None:
    for name, places in {"both": (0, 1), "here": (0,), "there": (1,)}.items():
        for place in places:
            write.create(
                actor=cast.principal(cast.alice),
                environment=(cast.development, cast.production)[place],
                name=name,
                secret_type=SecretType.TEXT,
                value=VALUE,
            )
    browser = signed_in(cast.alice)
    assert [row["name"] for row in browser.get(f"{MATRIX}?gaps=on").context["rows"]] == ["here", "there"]
    browser.post(MATRIX, {"act": "columns", "show": ["development"]})
    assert browser.get(f"{MATRIX}?gaps=on").context["rows"] == []


def test_a_row_is_written_where_a_value_was_entered(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "pay/db")
    browser = signed_in(cast.alice)
    before = values(cast)["development"]
    body = {"name": "pay/db", **seen(cast, browser), "value-production": "new\r\nlines"}
    assert browser.post(ROW, body)["Location"] == MATRIX
    assert values(cast) == {"development": before, "production": "new\nlines"}
    # A new cell takes the type of the others.
    assert len(set(Secret.objects.values_list("secret_type", flat=True))) == 1
    body = {"name": "pay/db", **seen(cast, browser), "value-development": "2", "value-production": "3"}
    browser.post(ROW, body)
    assert values(cast) == {"development": "2", "production": "3"}


def test_nothing_entered_writes_nothing(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "pay/db")
    page = signed_in(cast.alice).post(ROW, {"name": "pay/db"})
    assert "Enter at least one value." in page.content.decode()
    assert Secret.objects.get().current_number == 1


def test_what_changed_meanwhile_is_not_overwritten(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "pay/db")
    browser = signed_in(cast.alice)
    body = {"name": "pay/db", **seen(cast, browser), "value-development": "mine", "value-production": "mine"}
    alice = cast.principal(cast.alice)
    write.update(actor=alice, secret=secret, value="theirs")
    write.create(
        actor=alice, environment=cast.production, name="pay/db", secret_type=SecretType.TEXT, value="theirs"
    )
    page = browser.post(ROW, body)
    assert page.status_code == 422
    assert [result.done for result in page.context["results"]] == [False, False]
    assert set(values(cast).values()) == {"theirs"}
    # What was entered is kept on the page, to be sent again in the knowledge of the newer version.
    assert [cell["typed"] for cell in page.context["cells"]] == ["mine", "mine"]


def test_what_was_deleted_meanwhile_is_not_made_again(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "pay/db")
    browser = signed_in(cast.alice)
    body = {"name": "pay/db", **seen(cast, browser), "value-development": "mine"}
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    assert [result.done for result in browser.post(ROW, body).context["results"]] == [False]
    assert not Secret.objects.filter(live=True).exists()


@pytest.mark.parametrize("role", [Role.READER, Role.VIEWER])
def test_who_lost_the_right_meanwhile_writes_nothing(cast: Cast, signed_in: SignedIn, role: Role) -> None:
    keep(cast, "pay/db")
    browser = signed_in(cast.erin)
    body = {"name": "pay/db", **seen(cast, browser), "value-development": "mine"}
    membership = Membership.objects.get(user=cast.erin, environment=cast.development)
    membership.role = role
    membership.save()
    assert [result.done for result in browser.post(ROW, body).context["results"]] == [False]
    assert "mine" not in values(cast).values()


def test_a_protected_cell_waits_for_approval_and_the_others_are_written(
    cast: Cast, signed_in: SignedIn
) -> None:
    cast.production.protected = True
    cast.production.save()
    page = signed_in(cast.alice).post(
        ROW, {"name": "pay/db", "value-development": "1", "value-production": "2"}
    )
    assert [result.done for result in page.context["results"]] == [True, False]
    assert "need approval" in page.context["results"][1].reason
    assert values(cast) == {"development": "1"}


def test_no_other_environment_is_written_than_the_columns(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    browser.post(MATRIX, {"act": "columns", "show": ["development"]})
    page = browser.post(ROW, {"name": "a", "value-production": "2"})
    assert page.context["results"] == []
    assert not Secret.objects.exists()


def test_a_promotion_is_offered_between_what_may_be_compared(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "pay/db")
    page = signed_in(cast.alice).get(ROW, {"name": "pay/db"})
    assert [cell["place"].name for cell in page.context["sources"]] == ["development"]
    preview = signed_in(cast.alice).post(
        "/compare", {"act": "preview", "names": "pay/db", "left": "development", "right": "production"}
    )
    assert preview.context["writes"] == 1
    assert signed_in(cast.vera).get(ROW, {"name": "pay/db"}).context["sources"] == []
