"""A secret in one line of the list: what the row answers, which type it gives, and what Undo may restore."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.models import Approval, Membership, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.tests.kept import keep
from secrets_app.tests.services.many_secrets.test_many import form, results
from secrets_app.types.registry import SecretType

SignedIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
VALUE = "s3cr3t-Kx9"


def row(**given: str) -> dict[str, str]:
    return {"environment": "development", "row": "on", "name": "a", "value": VALUE, **given}


@pytest.mark.parametrize(
    ("name", "value", "secret_type"),
    [
        ("db-password", VALUE, SecretType.PASSWORD),
        ("STRIPE_KEY", VALUE, SecretType.API_KEY),
        ("motd", VALUE, SecretType.TEXT),
        ("config", '{"a": 1}', SecretType.JSON),
    ],
)
def test_the_type_follows_from_value_and_name(
    cast: Cast, signed_in: SignedIn, name: str, value: str, secret_type: SecretType
) -> None:
    signed_in(cast.alice).post("/secrets/new", row(name=name, value=value))
    assert Secret.objects.get(name=name).secret_type == secret_type


def test_the_answer_holds_no_value_and_renews_the_list(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    added = browser.post("/secrets/new", row(), headers=HTMX)
    assert added.headers["HX-Trigger"] == "secret-added"
    refused = browser.post("/secrets/new", row(), headers=HTMX)
    assert "HX-Trigger" not in refused.headers
    assert VALUE not in added.content.decode() + refused.content.decode()
    assert Secret.objects.count() == 1


def test_a_row_without_scripts_that_is_refused_becomes_the_form(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    browser.post("/secrets/new", row())
    refused = browser.post("/secrets/new", row())
    assert refused.status_code == 422
    assert f">\n{VALUE}</textarea>" in refused.content.decode()


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?environment=development", True),
        ("", False),
        ("?environment=development&deleted=on", False),
        ("?environment=development&starred=on", False),
    ],
)
def test_the_row_is_above_the_list_of_one_environment(
    cast: Cast, signed_in: SignedIn, query: str, shown: bool
) -> None:
    page = signed_in(cast.alice).get(f"/secrets{query}").content.decode()
    assert ('id="add-row"' in page) is shown


def test_who_may_not_create_gets_no_row(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.vera).get("/secrets?environment=development").content.decode()
    assert 'id="add-row"' not in page
    assert signed_in(cast.vera).post("/secrets/new", row()).status_code in {403, 422}
    assert not Secret.objects.exists()


def test_a_folder_begins_the_name(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "payments/db")
    page = signed_in(cast.alice).get("/secrets?environment=development&view=folders&prefix=payments")
    assert page.context["adds_to"]["start"] == "payments/"


def test_empty_entries_are_left_out_when_asked_for(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    text = {"environment": "development", "text": "A=1\nB=\nC=''\nbroken\n"}
    page = browser.post("/secrets/import", text)
    assert (page.context["empty"], page.context["form"].skipped) == (["B", "C"], 0)
    page = browser.post("/secrets/import", text | {"skip_empty": "on"})
    # A line that cannot be read is no empty one: it stays to be corrected.
    assert (page.context["empty"], page.context["form"].skipped) == ([], 2)
    assert [line["verdict"] for line in page.context["lines"]] == ["refused", "new"]
    digest = page.context["plan"].digest
    done = browser.post("/secrets/import", text | {"skip_empty": "on", "act": "import", "digest": digest})
    assert (done.context["done"], done.context["skipped"]) == (1, 2)
    assert Secret.objects.get().name == "A"


def test_undo_restores_what_this_act_deleted_and_nothing_that_changed_meanwhile(
    cast: Cast, signed_in: SignedIn
) -> None:
    browser = signed_in(cast.alice)
    kept, purged, again = (keep(cast, name) for name in ("kept", "purged", "again"))
    deleted = browser.post("/secrets/bulk", form("delete", kept, purged, again, step="apply"))
    alice = cast.principal(cast.alice)
    lifecycle.purge(actor=alice, secret=Secret.objects.get(name="purged"))
    other = Secret.objects.get(name="again")
    lifecycle.restore(actor=alice, secret=other)
    lifecycle.delete(actor=alice, secret=other)
    undo = {"act": "restore", "step": "apply", "picks": " ".join(deleted.context["undo"])}
    done = results(browser.post("/secrets/bulk", undo))
    assert done["kept"] == (True, "")
    assert "purged" not in done
    assert not done["again"][0]
    assert list(Secret.objects.filter(live=True).values_list("name", flat=True)) == ["kept"]


def test_undo_asks_again_for_the_right_to_restore(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    secret = keep(cast, "a")
    deleted = browser.post("/secrets/bulk", form("delete", secret, step="apply"))
    membership = Membership.objects.get(user=cast.alice, environment=cast.development)
    membership.role = "reader"
    membership.save()
    undo = {"act": "restore", "step": "apply", "picks": " ".join(deleted.context["undo"])}
    assert not results(browser.post("/secrets/bulk", undo))["a"][0]
    assert not Secret.objects.filter(live=True).exists()


def test_each_protected_environment_is_typed_before_its_secrets_are_deleted(
    cast: Cast, signed_in: SignedIn
) -> None:
    browser = signed_in(cast.alice)
    places = (cast.development, cast.production)
    secrets = [keep(cast, "kept", environment=place) for place in places]
    for place in places:
        place.protected = True
        place.save()
    for typed in ("", "anything", "production", "development", "productio development"):
        browser.post("/secrets/bulk", form("delete", *secrets, step="apply", typed=typed))
        assert not Approval.objects.exists()
    browser.post("/secrets/bulk", form("delete", *secrets, step="apply", typed="production development"))
    assert {approval.object_name for approval in Approval.objects.all()} == {"kept"}
    assert Approval.objects.count() == 2
