"""The matrix: its columns are a person's choice, gaps are found, and a row is written cell by cell."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.environments.service import create_environment
from environments_app.models import Approval, Membership, PersonalSettings, Role, User
from environments_app.tests.cast import Cast
from secrets_app.forms.transfer import Cell
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.tests.importing.test_corrections import Form
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

SignedIn = Callable[[User], Client]
MATRIX, ROW = "/secrets/matrix", "/secrets/matrix/row"
COLUMN = f"{MATRIX}?edit=development"
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
        MATRIX, {"act": "promotion", "names": "pay/db", "left": "development", "right": "production"}
    )
    assert preview.context["writes"] == 1
    assert signed_in(cast.vera).get(ROW, {"name": "pay/db"}).context["sources"] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/compare", MATRIX),
        ("/compare?left=development&right=production", f"{MATRIX}?with=development%2Cproduction"),
        ("/secrets/table", MATRIX),
        ("/secrets/table?environment=development&prefix=app", f"{COLUMN}&prefix=app"),
    ],
)
def test_the_addresses_of_earlier_pages_lead_to_the_same_selection(
    cast: Cast, signed_in: SignedIn, old: str, new: str
) -> None:
    browser = signed_in(cast.alice)
    assert browser.get(old)["Location"] == new
    assert browser.post(old, {"name-0": "a", "value-0": VALUE}).status_code == 405


def test_an_address_that_names_several_environments_shows_these_alone(
    cast: Cast, signed_in: SignedIn
) -> None:
    third = create_environment(actor=cast.principal(cast.root), name="third")
    Membership.objects.create(environment=third, user=cast.alice, role=Role.READER)
    browser = signed_in(cast.alice)
    browser.post(MATRIX, {"act": "columns", "show": ["third"]})
    assert columns(browser.get(f"{MATRIX}?with=production,development")) == ["production", "development"]
    assert columns(browser.get(f"{MATRIX}?with=production")) == ["production", "third"]


def differing(cast: Cast) -> None:
    for name, here, there in (("a", "1", "2"), ("b", "1", "1"), ("c", "1", None), ("d", "1", "2")):
        keep(cast, name, here)
        if there:
            keep(cast, name, there, environment=cast.production)


def shown(page: object) -> list[str]:
    return [row["name"] for row in page.context["rows"]]  # type: ignore[attr-defined]


def test_only_differences_shows_of_all_names_those_that_are_not_the_same(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing(cast)
    browser = signed_in(cast.alice)
    assert shown(browser.post(MATRIX, {"act": "differences"})) == ["a", "c", "d"]
    assert shown(browser.post(f"{MATRIX}?q=d", {"act": "differences"})) == ["d"]
    monkeypatch.setattr("secrets_app.views.matrix.NAMES_SHOWN", 2)
    first = browser.post(MATRIX, {"act": "differences"})
    assert (shown(first), first.context["more"]) == (["a", "c"], "c")
    last = browser.post(MATRIX, {"act": "differences", "after": "c"})
    assert (shown(last), last.context["more"]) == (["d"], "")
    assert AuditEvent.objects.filter(action="secret.compare").count() == 8


def test_more_than_one_comparison_takes_is_refused_and_not_recorded(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing(cast)
    monkeypatch.setattr("secrets_app.services.comparison.MAX_COMPARED", 6)
    page = signed_in(cast.alice).post(MATRIX, {"act": "differences"})
    assert "Compare up to 6 secrets at a time." in page.content.decode()
    assert not AuditEvent.objects.filter(action="secret.compare").exists()


def test_a_column_keeps_what_was_typed_without_scripts(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a", VALUE)
    body = {
        "environment": "development", "act": "preview", "name-0": "a", "value-0": "typed", "name-1": "new",
        "value-1": "also typed",
    }  # fmt: skip
    page = signed_in(cast.erin).post(COLUMN, body)
    assert page.context["fields"]["a"]["cell"].value == "typed"
    assert page.context["new_rows"][0] == {"index": 1, "cell": Cell("new", "also typed")}
    assert VALUE not in page.content.decode()
    assert values(cast, "a")["development"] == VALUE


def test_only_the_column_that_is_edited_is_loaded(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a", VALUE)
    keep(cast, "a", "of-production", environment=cast.production)
    browser = signed_in(cast.alice)
    assert VALUE not in browser.get(COLUMN).content.decode()
    page = browser.post(COLUMN, {"act": "load"})
    assert page.context["fields"]["a"]["cell"].value == VALUE
    assert "of-production" not in page.content.decode()
    (event,) = AuditEvent.objects.filter(action="secret.export")
    assert event.object_name == "development"


def sent(page: object, **entered: str) -> dict[str, str]:
    """The fields of the shown column as a browser sends them, some with other values."""
    fields = Form(page.content.decode()).fields  # type: ignore[attr-defined]  # a response
    for name, value in entered.items():
        (index,) = (key[5:] for key, stored in fields.items() if key.startswith("name-") and stored == name)
        fields[f"value-{index}"] = value
    return fields


def saved(browser: Client, fields: dict[str, str]) -> object:
    plan = browser.post(COLUMN, fields | {"act": "preview"}).context["plan"]
    return browser.post(COLUMN, fields | {"act": "import", "digest": plan.digest})


@pytest.mark.parametrize("scripted", [True, False])
def test_a_loaded_value_that_nobody_changed_is_not_written(
    cast: Cast, signed_in: SignedIn, scripted: bool
) -> None:
    """Somebody rotates one secret while another's loaded value is edited."""
    rotated, _, _ = (keep(cast, name, f"{VALUE}\r\n{name}") for name in ("a", "b", "c"))
    browser = signed_in(cast.alice)
    fields = sent(browser.post(COLUMN, {"act": "load"}), b="edited")
    write.update(actor=cast.principal(cast.erin), secret=rotated, value="rotated")
    if not scripted:
        fields = sent(browser.post(COLUMN, fields | {"act": "preview"}))
    page = saved(browser, fields)
    assert (page.context["done"], page.context["left_out"]) == (1, [])  # type: ignore[attr-defined]  # a response
    assert [values(cast, name)["development"] for name in ("a", "b", "c")] == [
        "rotated", "edited", f"{VALUE}\r\nc",
    ]  # fmt: skip


@pytest.mark.parametrize("act", ["load", ""])
@pytest.mark.parametrize("previewed", [False, True])
def test_a_column_is_not_written_over_a_version_that_the_page_did_not_show(
    cast: Cast, signed_in: SignedIn, act: str, previewed: bool
) -> None:
    rotated = keep(cast, "a", VALUE)
    browser = signed_in(cast.alice)
    fields = sent(browser.post(COLUMN, {"act": act}) if act else browser.get(COLUMN), a="edited")
    plan = browser.post(COLUMN, fields | {"act": "preview"}).context["plan"]
    write.update(actor=cast.principal(cast.erin), secret=rotated, value="rotated")
    if not previewed:
        plan = browser.post(COLUMN, fields | {"act": "preview"}).context["plan"]
    page = browser.post(COLUMN, fields | {"act": "import", "digest": plan.digest})
    (line,) = page.context["left_out"] if not previewed else page.context["plan"].lines
    assert (line.verdict, line.reason[:36]) == ("refused", "The page shows v1; it is now v2. Rel")
    assert values(cast, "a")["development"] == "rotated"


def test_a_gap_of_a_column_that_was_filled_meanwhile_is_not_overwritten(
    cast: Cast, signed_in: SignedIn
) -> None:
    keep(cast, "a", "p", environment=cast.production)
    browser = signed_in(cast.alice)
    fields = sent(browser.get(f"{COLUMN}&with=development,production"), a="edited")
    created = keep(cast, "a", "theirs")
    page = saved(browser, fields)
    assert page.context["done"] == 0  # type: ignore[attr-defined]  # a response
    assert values(cast, "a")["development"] == "theirs"
    fields = sent(browser.get(COLUMN), a="edited")
    lifecycle.delete(actor=cast.principal(cast.alice), secret=created)
    (line,) = browser.post(COLUMN, fields | {"act": "preview"}).context["plan"].lines
    assert line.reason.startswith("The page shows v1; it is now missing.")


def test_a_column_of_a_protected_environment_waits_for_approval(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a", VALUE, environment=cast.production)
    cast.production.protected = True
    cast.production.save()
    browser, column = signed_in(cast.alice), f"{MATRIX}?edit=production"
    body = {
        "environment": "production", "name-0": "a", "value-0": "2", "name-1": "new", "value-1": "3",
        "act": "preview",
    }  # fmt: skip
    digest = browser.post(column, body).context["plan"].digest
    page = browser.post(column, body | {"act": "import", "digest": digest})
    assert (page.context["done"], len(page.context["failed"])) == (0, 2)
    assert sorted(Approval.objects.values_list("action", flat=True)) == ["secret.import", "secret.update"]
    assert values(cast, "a") == {"production": VALUE}


def test_who_lost_the_right_to_a_column_meanwhile_writes_nothing(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a", VALUE)
    browser = signed_in(cast.erin)
    body = {"environment": "development", "name-0": "a", "value-0": "2", "act": "preview"}
    digest = browser.post(COLUMN, body).context["plan"].digest
    Membership.objects.filter(user=cast.erin).update(role=Role.READER)
    page = browser.post(COLUMN, body | {"act": "import", "digest": digest})
    assert page.context["refuses_edit"]
    assert values(cast, "a")["development"] == VALUE
