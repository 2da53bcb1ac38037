"""The pages of secrets, without a browser: who gets what, and that nothing typed is lost."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.models import User
from environments_app.sessions.store import CONFIRMED, SIGNED_IN
from environments_app.tests.cast import PASSWORD, Cast
from secrets_app.acts import referring
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db
VALUE = "canary-7f3a"
HTMX = {"hx-request": "true"}


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="payments/db",
        secret_type=SecretType.PASSWORD,
        value=VALUE,
    )


SignedIn = Callable[[User], Client]


def test_it_shows_no_value_on_the_page_of_a_secret(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}")
    assert page.status_code == 200
    assert VALUE not in page.content.decode()


def test_it_reveals_by_post_and_records_it(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    reader = signed_in(cast.bob)
    assert reader.get(f"/secrets/{secret.pk}/reveal").status_code == 405
    assert VALUE in reader.post(f"/secrets/{secret.pk}/reveal", headers=HTMX).content.decode()
    event = AuditEvent.objects.get(action="secret.reveal")
    assert (event.actor_name, event.object_uuid, event.outcome) == ("bob", secret.uuid, "allowed")


def test_a_version_is_shown_and_compared_as_the_type_that_it_had(cast: Cast, signed_in: SignedIn) -> None:
    actor, reader = cast.principal(cast.alice), signed_in(cast.bob)
    secret = write.create(
        actor=actor,
        environment=cast.development,
        name="app",
        secret_type=SecretType.JSON,
        value='{"user":"app","port":1}',
    )
    write.update(actor=actor, secret=secret, secret_type=SecretType.TEXT, value='{"user":"b"}')
    shown = {
        number: reader.post(f"/secrets/{secret.pk}/reveal", {"version": number}, headers=HTMX).context
        for number in (1, 2)
    }
    assert [(shown[number]["fields"] is not None) for number in (1, 2)] == [True, False]
    copied = reader.post(f"/secrets/{secret.pk}/copy", {"version": 1, "field": "user"})
    assert copied.content == b"app"
    # Fields are compared with fields alone.
    compared = reader.post(f"/secrets/{secret.pk}/diff?old=1&new=2", {"show": "values"})
    assert compared.context["by_field"] is False


def test_it_reveals_without_scripts_on_the_whole_page(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    page = signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal").content.decode()
    assert VALUE in page
    assert "<html" in page


def test_it_copies_the_value_alone(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    answer = signed_in(cast.bob).post(f"/secrets/{secret.pk}/copy")
    assert answer.content.decode() == VALUE
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "no-store" in answer.headers["Cache-Control"]


def test_it_refuses_a_viewer_and_hides_from_an_outsider(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    assert signed_in(cast.vera).post(f"/secrets/{secret.pk}/reveal").status_code == 403
    assert signed_in(cast.charlie).post(f"/secrets/{secret.pk}/reveal").status_code == 404
    assert signed_in(cast.root).post(f"/secrets/{secret.pk}/reveal").status_code == 403
    assert AuditEvent.objects.filter(action="secret.reveal", outcome="allowed").count() == 0
    assert AuditEvent.objects.filter(action="secret.reveal", outcome="denied").count() == 2


def test_who_may_create_no_secret_is_led_to_ask_for_access(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.bob).get("/secrets/new")
    assert page.status_code == 200
    assert "Request access" in page.content.decode()
    assert 'id="secret-form"' not in page.content.decode()
    assert 'id="secret-form"' in signed_in(cast.erin).get("/secrets/new").content.decode()


def test_versions_are_compared_by_those_alone_who_may_reveal(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    write.update(actor=cast.principal(cast.alice), secret=secret, value="second", comment="")
    offered = ["Compare versions" in _page(signed_in(user), secret) for user in (cast.bob, cast.vera)]
    assert offered == [True, False]


def _page(person: Client, secret: Secret) -> str:
    return person.get(f"/secrets/{secret.pk}").content.decode()


def test_it_keeps_line_ends_as_they_were_typed(cast: Cast, signed_in: SignedIn) -> None:
    form = {
        "environment": "development",
        "name": "keys/two-lines",
        "secret_type": "TEXT",
        "value": "one\r\ntwo\r\n",
    }
    assert signed_in(cast.erin).post("/secrets/new", form).status_code == 302
    secret = Secret.objects.get(name="keys/two-lines")
    secret.environment = cast.development
    assert reveal(actor=cast.principal(cast.erin), secret=secret).value == "one\ntwo\n"


def test_it_keeps_what_was_typed_when_the_name_is_taken(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    form = {
        "environment": "development",
        "name": "payments/db",
        "secret_type": "TEXT",
        "value": "typed",
        "owner": "pay-team",
    }
    page = signed_in(cast.erin).post("/secrets/new", form)
    assert page.status_code == 422
    assert "pay-team" in page.content.decode()
    assert Secret.objects.count() == 1


def test_it_tells_of_a_conflict_and_saves_on_the_second_try(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    editor = signed_in(cast.erin)
    form = {"secret_type": "PASSWORD", "value": "mine", "expected": secret.etag}
    write.update(actor=cast.principal(cast.alice), secret=secret, value="theirs")
    refused = editor.post(f"/secrets/{secret.pk}/edit", form)
    assert refused.status_code == 422
    assert "while you were editing" in refused.content.decode()
    assert SecretVersion.objects.filter(secret=secret).count() == 2
    newer = Secret.objects.get(pk=secret.pk).etag
    assert f'value="{newer}"' in refused.content.decode()
    assert editor.post(f"/secrets/{secret.pk}/edit", form | {"expected": newer}).status_code == 302
    assert SecretVersion.objects.filter(secret=secret).count() == 3


def test_the_present_value_is_filled_in_on_demand_and_on_record(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    editor, path = signed_in(cast.erin), f"/secrets/{secret.pk}/edit"
    assert VALUE not in editor.get(path).content.decode()
    assert not AuditEvent.objects.filter(action="secret.reveal").exists()
    entered = {
        "secret_type": "TEXT",
        "value": "",
        "description": "half way",
        "tags": "one, two",
        "expires_at": "2031-02-03T04:05",
        "comment": "why",
        "expected": secret.etag,
    }
    # What a client calls its fields is no matter of ours.
    page = editor.post(path, entered | {"fill_in": "on", "uses_references": "on", "secret": "x", "data": "x"})
    content = page.content.decode()
    assert page.status_code == 200
    for kept in (VALUE, "half way", 'value="one, two"', "2031-02-03T04:05", 'value="why"', secret.etag):
        assert kept in content, kept
    assert '<option value="TEXT" selected>' in content
    event = AuditEvent.objects.get(action="secret.reveal")
    assert (event.actor_name, event.object_uuid, event.outcome) == ("erin", secret.uuid, "allowed")
    assert SecretVersion.objects.filter(secret=secret).count() == 1
    # What was typed is not lost to it.
    content = editor.post(path, entered | {"value": "typed", "fill_in": "on"}).content.decode()
    assert ">\ntyped</textarea>" in content
    assert "Clear the value field first" in content
    assert VALUE not in content
    assert editor.post(path, entered | {"value": f"{VALUE} and more"}).status_code == 302
    assert reveal(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk)).value == (
        f"{VALUE} and more"
    )


def test_whoever_may_not_reveal_is_not_filled_in(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    viewer, path = signed_in(cast.vera), f"/secrets/{secret.pk}/edit"
    assert "Load current value" not in viewer.get(path).content.decode()
    refused = viewer.post(path, {"fill_in": "on"})
    assert (refused.status_code, VALUE in refused.content.decode()) == (403, False)
    assert AuditEvent.objects.get(action="secret.reveal").outcome == "denied"


def test_an_empty_value_keeps_the_one_that_is_there(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    form = {"secret_type": "PASSWORD", "value": "", "description": "new words", "expected": secret.etag}
    assert signed_in(cast.erin).post(f"/secrets/{secret.pk}/edit", form).status_code == 302
    secret = Secret.objects.get(pk=secret.pk)
    assert (secret.current_number, secret.description) == (1, "new words")


def test_who_rolls_back_is_told_of_the_type_that_comes_back(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    write.update(actor=cast.principal(cast.erin), secret=secret, value="{}", secret_type=SecretType.JSON)
    page = signed_in(cast.erin).get(f"/secrets/{secret.pk}").content.decode()
    assert "with the value of version 1, and the secret's type is Password again. Version 2 stays" in page
    assert page.count("as Password") == 1


def test_it_rolls_back(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    write.update(actor=cast.principal(cast.erin), secret=secret, value="second")
    assert signed_in(cast.erin).post(f"/secrets/{secret.pk}/rollback", {"version": "1"}).status_code == 302
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    assert secret.current_number == 3
    assert reveal(actor=cast.principal(cast.erin), secret=secret).value == VALUE


def test_it_deletes_restores_and_purges(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    manager = signed_in(cast.alice)
    assert manager.get(f"/secrets/{secret.pk}/delete").status_code == 200
    manager.post(f"/secrets/{secret.pk}/delete")
    assert Secret.objects.get(pk=secret.pk).live is None
    manager.post(f"/secrets/{secret.pk}/restore")
    assert Secret.objects.get(pk=secret.pk).live is True
    manager.post(f"/secrets/{secret.pk}/delete")
    manager.post(f"/secrets/{secret.pk}/purge", {"typed": "another"})
    assert Secret.objects.filter(pk=secret.pk).exists()
    manager.post(f"/secrets/{secret.pk}/purge", {"typed": "payments/db"})
    assert not Secret.objects.filter(pk=secret.pk).exists()


def test_who_takes_a_secret_away_is_told_which_values_refer_to_it(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    whole = write.create(
        actor=cast.principal(cast.alice), environment=cast.development, name="whole", secret_type=SecretType.TEXT,
        value=f"x-${{{secret.environment.name}/{secret.name}}}", uses_references=True,
    )  # fmt: skip
    page = signed_in(cast.alice)
    for act in ("delete", "rename"):
        assert (
            "that refer to this one: development/whole."
            in page.get(f"/secrets/{secret.pk}/{act}").content.decode()
        )
    lifecycle.delete(actor=cast.principal(cast.alice), secret=whole)
    for act in ("delete", "rename"):
        assert "that refer to this one" not in page.get(f"/secrets/{secret.pk}/{act}").content.decode()


def test_who_takes_a_secret_away_learns_no_names_of_those_that_they_may_not_see(
    cast: Cast, secret: Secret
) -> None:
    alice = cast.principal(cast.alice)
    for name in ("one", "two"):
        write.create(
            actor=alice, environment=cast.production, name=name, secret_type=SecretType.TEXT,
            value=f"${{{secret.environment.name}/{secret.name}}}", uses_references=True,
        )  # fmt: skip
    assert referring(alice, secret) == [
        "Targets then get no new value of secrets that refer to this one: production/one, production/two."
    ]
    assert referring(cast.principal(cast.erin), secret) == [
        "Targets then get no new value of secrets that refer to this one: 2 that you can't see."
    ]


def test_who_may_write_nothing_here_is_shown_where_to_ask(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.charlie).get("/secrets").content.decode()
    assert "No secrets to show" in page
    assert 'href="/access-requests/new"' in page


def test_a_protected_environment_asks_for_its_name_before_a_deletion(cast: Cast, signed_in: SignedIn) -> None:
    secret = write.create(
        actor=cast.principal(cast.alice),
        environment=cast.production,
        name="db",
        secret_type=SecretType.TEXT,
        value="v",
    )
    cast.production.protected = True
    cast.production.save()
    manager = signed_in(cast.alice)
    asked = manager.post(f"/secrets/{secret.pk}/delete")
    assert asked.status_code == 200
    assert "This needs approval first" in asked.content.decode()
    assert not cast.production.approvals.exists()
    asked = manager.post(f"/secrets/{secret.pk}/delete", {"typed": "production"})
    assert asked["Location"] == f"/approvals/{cast.production.approvals.get().pk}"
    assert Secret.objects.get(pk=secret.pk).live is True


def test_it_pages_through_a_long_history(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    for number in range(2, 54):
        write.update(actor=cast.principal(cast.erin), secret=secret, value=f"value {number}")
        secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    page = signed_in(cast.vera).get(f"/secrets/{secret.pk}").content.decode()
    assert 'href="?before=4"' in page
    older = signed_in(cast.vera).get(f"/secrets/{secret.pk}?before=4").content.decode()
    assert [f">v{number}<" in older for number in (1, 2, 3, 4)] == [True, True, True, False]


def test_the_list_filters_and_keeps_to_what_one_may_see(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    link = f'href="/secrets/{secret.pk}"'
    assert link in signed_in(cast.vera).get("/secrets?q=PAY").content.decode()
    assert link not in signed_in(cast.vera).get("/secrets?q=other").content.decode()
    assert link not in signed_in(cast.charlie).get("/secrets").content.decode()
    # A page ignores what is no filter; the API refuses it.
    assert link in signed_in(cast.vera).get("/secrets?sealed=1").content.decode()
    assert signed_in(cast.vera).get("/api/secrets?sealed=1").status_code == 400


@pytest.mark.parametrize(
    "kind", ["password", "passphrase", "api_key", "uuid", "json", "ssh_key", "certificate"]
)
def test_it_generates_from_the_form_as_a_browser_sends_it(cast: Cast, signed_in: SignedIn, kind: str) -> None:
    answer = signed_in(cast.erin).post("/secrets/generate", _form_of(kind), headers=HTMX)
    assert answer.status_code == 200, answer.content
    assert "data-generated-value" in answer.content.decode()


def _form_of(kind: str) -> dict[str, str]:
    """Return what the form of a generator sends when nothing in it is changed."""
    from secrets_app.types.generators.registry import GENERATORS

    form = {"kind": kind}
    for option in GENERATORS[kind].options:
        default = option.default
        if option.kind == "boolean":
            form |= {option.name: "true"} if default else {}
        elif isinstance(default, list):
            form[option.name] = ", ".join(default)
        else:
            form[option.name] = str(default)
    if kind == "certificate":
        form["common_name"] = "example.com"
    return form


def test_it_refuses_options_that_cannot_be(cast: Cast, signed_in: SignedIn) -> None:
    form = _form_of("password") | {"length": "-1"}
    assert signed_in(cast.erin).post("/secrets/generate", form, headers=HTMX).status_code == 400
    assert signed_in(cast.erin).post("/secrets/generate", {"kind": "none"}).status_code == 400


def test_it_reveals_yaml_of_several_documents_as_it_is(cast: Cast, signed_in: SignedIn) -> None:
    value = "password: hunter2-canary\n---\nb: 2\n"
    secret = write.create(
        actor=cast.principal(cast.erin),
        environment=cast.development,
        name="documents",
        secret_type=SecretType.YAML,
        value=value,
    )
    page = signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal", headers=HTMX)
    assert page.status_code == 200
    assert "hunter2-canary" in page.content.decode()


def test_it_shows_nothing_of_a_row_that_was_moved_by_sql(
    cast: Cast, secret: Secret, signed_in: SignedIn, sql: Callable[..., None]
) -> None:
    sql("UPDATE secrets_app_secret SET description = 'told-canary', name = 'moved' WHERE id = %s", secret.pk)
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}")
    assert page.status_code == 409
    assert "told-canary" not in page.content.decode()
    assert AuditEvent.objects.filter(action="integrity.violation", object_uuid=secret.uuid).exists()


@pytest.mark.parametrize(
    ("days", "words"),
    [(30, "<dt>Next rotation</dt><dd><time"), (-3, "<dt>Rotation</dt><dd>Overdue since <time")],
)
def test_a_scheduled_rotation_is_overdue_once_its_time_is_past(
    cast: Cast, secret: Secret, signed_in: SignedIn, days: int, words: str
) -> None:
    Secret.objects.filter(pk=secret.pk).update(rotation_due_at=timezone.now() + timedelta(days=days))
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    assert words in page
    assert ("<span>rotation due</span>" in page) == (days < 0)


def test_the_filter_of_overdue_rotations_leaves_out_what_is_scheduled(
    cast: Cast, signed_in: SignedIn
) -> None:
    for name, days in (("late/key", -3), ("planned/key", 3)):
        due = timezone.now() + timedelta(days=days)
        Secret.objects.filter(pk=keep(cast, name).pk).update(rotation_due_at=due)
    page = signed_in(cast.alice).get("/secrets?state=overdue").content.decode()
    assert ("late/key" in page, "planned/key" in page) == (True, False)


FORMS = ("/secrets/new", "/secrets/import", "/secrets/export")


@pytest.mark.parametrize("address", FORMS)
def test_a_form_begins_in_the_environment_that_the_switcher_shows(
    cast: Cast, signed_in: SignedIn, address: str
) -> None:
    alice = signed_in(cast.alice)
    alice.get("/secrets?environment=production")
    page = alice.get(address)
    assert page.context["form"].place == cast.production
    assert 'class="app in-environment env-' in page.content.decode()
    assert alice.get(f"{address}?environment=development").context["form"].place == cast.development


@pytest.mark.parametrize("address", FORMS)
def test_a_form_preselects_no_environment_that_nobody_chose(
    cast: Cast, signed_in: SignedIn, address: str
) -> None:
    alice = signed_in(cast.alice)
    page = alice.get(address)
    assert page.context["form"].place is None
    assert '<option value="" selected>Choose an environment</option>' in page.content.decode()
    assert "Choose an environment." in alice.post(address, {"act": "preview"}).content.decode()
    # There is no choice to make.
    assert signed_in(cast.bob).get("/secrets/export").context["form"].place == cast.development


def test_a_secret_deleted_meanwhile_leads_to_where_it_is_restored(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    erin, page = signed_in(cast.erin), f"/secrets/{secret.pk}"
    answer = erin.post(f"{page}/reveal", headers=HTMX)
    assert (answer.headers["HX-Redirect"], answer.content) == (page, b"")
    assert "payments/db was deleted. Restore it first." in erin.get(page).content.decode()
    assert erin.post(f"{page}/reveal").headers["Location"] == page
    assert erin.get(f"{page}/edit").headers["Location"] == page
    copied = erin.post(f"{page}/copy")
    assert copied.status_code == 412
    assert "This secret is deleted. Restore it first." in copied.content.decode()
    assert not AuditEvent.objects.filter(action="secret.reveal").exists()
    assert signed_in(cast.charlie).get(f"{page}/edit").status_code == 404


def test_an_export_takes_the_password_on_its_own_form(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    session = alice.session
    session[CONFIRMED] = session[SIGNED_IN] = int(time.time()) - 3600
    session.save()
    form = {"environment": "development", "format": "json"}
    assert VALUE not in alice.post("/secrets/export", form | {"proof-password": "wrong"}).content.decode()
    exported = alice.post("/secrets/export", form | {"proof-password": PASSWORD})
    assert (exported.status_code, exported.json()) == (200, {"payments/db": VALUE})


def test_an_export_of_chosen_secrets_takes_the_password_as_well(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    session = alice.session
    session[CONFIRMED] = session[SIGNED_IN] = int(time.time()) - 3600
    session.save()
    form = {"act": "export", "pick": f"{secret.pk}:{secret.etag}"}
    assert 'name="proof-password"' in alice.post("/secrets/bulk", form).content.decode()
    form |= {"step": "apply", "format": "json"}
    wrong = alice.post("/secrets/bulk", form | {"proof-password": "wrong"}).content.decode()
    assert "Incorrect password." in wrong
    assert VALUE not in wrong
    assert alice.post("/secrets/bulk", form | {"proof-password": PASSWORD}).json() == {"payments/db": VALUE}


def test_a_token_that_is_searched_for_stands_in_no_address(cast: Cast, signed_in: SignedIn) -> None:
    token = f"kpu_{'a' * 22}_{'b' * 43}"
    browser = signed_in(cast.vera)
    answer = browser.get(f"/secrets?q={token}")
    assert (answer.status_code, answer["Location"]) == (302, "/secrets")
    page = browser.get("/secrets").content.decode()
    assert "Find a leak" in page
    assert token not in page + browser.get(f"/secrets/search?q={token}").content.decode()
