"""Pages of objects in the admin: history from the audit log, related lists, Keeper's own page, times with zone."""

import re
from collections.abc import Callable

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from audit_app.models import AuditEvent
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="payments/db",
        secret_type=SecretType.PASSWORD,
        value="v",
    )


def test_a_page_shows_the_history_of_its_object(root: Client, secret: Secret) -> None:
    page = root.get(f"/admin/secrets_app/secret/{secret.pk}/change/").text
    history = strip_tags(page[page.index('id="history"') :])
    assert "alice created" in " ".join(history.split())


def test_the_history_button_leads_to_exactly_its_events(root: Client, secret: Secret) -> None:
    listed = root.get(f"/admin/secrets_app/secret/{secret.pk}/history/", follow=True).context["cl"]
    assert {event.object_uuid for event in listed.queryset} == {secret.uuid}


def test_its_statements_do_not_grow_with_the_history(root: Client, cast: Cast, secret: Secret) -> None:
    path = f"/admin/secrets_app/secret/{secret.pk}/change/"
    root.get(path)
    with CaptureQueriesContext(connection) as few:
        root.get(path)
    for number in range(30):
        write.update(
            actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk), value=f"v{number}"
        )
    with CaptureQueriesContext(connection) as many:
        page = root.get(path).text
    assert len(many) == len(few) <= 20
    history = page[page.index('id="history"') :]
    assert history[: history.index("</section>")].count("<li>") == 20


def test_related_lists_are_narrowed_to_the_object(root: Client, cast: Cast, secret: Secret) -> None:
    make_target(cast.development)
    page = root.get(f"/admin/environments_app/environment/{cast.development.pk}/change/").text
    for address in re.findall(r'<li><a href="(/admin/[^"]+__exact=[^"]+)">', page):
        answer = root.get(address.replace("&amp;", "&"))
        assert answer.status_code == 200, address
    listed = root.get(f"/admin/environments_app/membership/?environment__id__exact={cast.development.pk}")
    assert (
        listed.context["cl"].result_count == Membership.objects.filter(environment=cast.development).count()
    )
    assert f"/admin/environments_app/membership/?environment__id__exact={cast.development.pk}" in page


def test_times_are_in_utc_whatever_zone_the_operator_chose(root: Client, secret: Secret) -> None:
    session = root.session
    session["time_zone"] = "Asia/Tokyo"
    session.save()
    page = root.get(f"/admin/secrets_app/secret/{secret.pk}/change/").text
    assert f"{secret.created_at:%Y-%m-%d %H:%M:%S} UTC" in page


@pytest.mark.parametrize("model", ["secrets_app.secret", "environments_app.user", "sync_app.target"])
def test_a_page_leads_to_keepers_own(root: Client, cast: Cast, secret: Secret, model: str) -> None:
    rows = {
        "secrets_app.secret": (secret, f"/secrets/{secret.pk}"),
        "environments_app.user": (cast.bob, "/people/bob"),
    }
    target = make_target(cast.development)
    rows["sync_app.target"] = (target, f"/sync/{target.pk}")
    row, address = rows[model]
    page = root.get(f"/admin/{model.replace('.', '/')}/{row.pk}/change/").text
    assert f'<a href="{address}" class="viewsitelink">Open in Keeper</a>' in page


def test_every_page_of_every_model_answers(root: Client, cast: Cast, secret: Secret) -> None:
    make_target(cast.development)
    for model in admin.site._registry:
        for row in model._default_manager.order_by("-pk")[:2]:
            path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}/change/"
            with CaptureQueriesContext(connection) as statements:
                answer = root.get(path)
            assert answer.status_code == 200, path
            assert len(statements) <= 30, (path, len(statements))
            for hidden in getattr(admin.site.get_model_admin(model), "hidden", ()):
                assert f'class="form-row field-{hidden}"' not in answer.text, (path, hidden)


def test_the_page_of_an_event_has_no_history_of_itself(root: Client, secret: Secret) -> None:
    event = AuditEvent.objects.order_by("pk").first()
    assert event is not None
    assert 'id="history"' not in root.get(f"/admin/audit_app/auditevent/{event.pk}/change/").text
