"""The admin's index: every model in one group, counts that lead to exactly their rows, the operator's acts."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from audit_app.admin_pages.filters import attention_of, singular
from environments_app.environments import groups as user_groups
from environments_app.models import Alert, FailedSignIns, User
from environments_app.tests.cast import Cast
from operations_app.admin_site.index import GROUPS
from secrets_app.models import Secret
from secrets_app.services import read, write
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


def test_every_model_is_in_one_group() -> None:
    listed = [label for group in GROUPS for label in group.models]
    registered = {model._meta.label for model in admin.site._registry}
    assert sorted(listed) == sorted(registered), "operations_app/admin_site/index.py names each model once"


def test_the_index_has_the_groups_in_order_and_internals_folded(root: Client) -> None:
    page = root.get("/admin/").text
    assert re.findall(r"<h2[^>]*>([^<]+?) ?<", page)[: len(GROUPS)] == [group.name for group in GROUPS]
    assert '<details class="module group" id="internals">' in page


def _overdue(cast: Cast, name: str) -> Secret:
    secret = write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name=name,
        secret_type=SecretType.PASSWORD,
        value="v",
    )
    Secret.objects.filter(pk=secret.pk).update(rotation_due_at=timezone.now() - timedelta(days=1))
    return secret


def test_a_count_leads_to_exactly_its_rows(root: Client, cast: Cast) -> None:
    for name in ("late/a", "late/b"):
        _overdue(cast, name)
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="in-time",
        secret_type=SecretType.PASSWORD,
        value="v",
    )
    FailedSignIns.objects.create(bucket="a" * 64, until=timezone.now() + timedelta(minutes=5), count=5)
    FailedSignIns.objects.create(bucket="b" * 64, until=timezone.now() - timedelta(minutes=5), count=5)

    page = root.get("/admin/").text

    assert "2 secrets overdue for rotation" in strip_tags(page)
    assert "1 sign-in locked" in strip_tags(page)
    listed = root.get("/admin/secrets_app/secret/?attention=overdue").text
    assert ("late/a" in listed, "late/b" in listed, "in-time" in listed) == (True, True, False)
    assert re.search(
        r"1 (result|failed sign-in)", root.get("/admin/environments_app/failedsignins/?attention=locked").text
    )


def test_each_condition_answers_and_counts_what_its_list_shows(root: Client, cast: Cast) -> None:
    Alert.objects.create(kind="k", about=cast.root.uuid, subject="something")
    for model, page in admin.site._registry.items():
        for each in attention_of(page):
            address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/?attention={each.key}"
            changes = root.get(address).context["cl"]
            assert changes.result_count == each.rows(model._default_manager.all()).count(), address


def test_its_statements_are_constant(root: Client, cast: Cast) -> None:
    root.get("/admin/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        root.get("/admin/")
    for number in range(5):
        _overdue(cast, f"late/{number}")
        Alert.objects.create(kind=f"k{number}", about=cast.root.uuid, subject="something")
        user_groups.create_group(actor=cast.principal(cast.root), name=f"group-{number}")
    with CaptureQueriesContext(connection) as many:
        root.get("/admin/")
    assert len(many) == len(few) <= 48


def test_recent_actions_are_the_operators_own_changes(root: Client, cast: Cast) -> None:
    user_groups.create_group(actor=cast.principal(cast.root), name="their-own")
    secret = _overdue(cast, "of-alice")
    read.reveal(actor=cast.principal(cast.alice), secret=secret)

    page = root.get("/admin/").text

    recent = strip_tags(page[page.index("recent-actions-module") :])
    assert "Changed group their-own" in recent
    assert "of-alice" not in recent


def test_the_index_of_an_app_leads_to_the_index(root: Client) -> None:
    assert root.get("/admin/secrets_app/").headers["Location"] == "/admin/"
    assert root.get("/admin/nothing/").status_code == 404


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("sign-ins locked", "sign-in locked"),
        ("access requests open", "access request open"),
        ("deliveries failed, missing or in conflict", "delivery failed, missing or in conflict"),
        ("data keys failing to open", "data key failing to open"),
    ],
)
def test_a_count_of_one_is_in_the_singular(many: str, one: str) -> None:
    assert singular(many) == one
