"""Lists of the admin: few columns, words instead of UUIDs, bounded pages, and a file of what is listed."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit_app.admin_pages import lists
from audit_app.admin_pages.lists import BoundedPaginator
from audit_app.models import AuditEvent
from environments_app.environments import groups as user_groups
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast
from operations_app.admin_site.index import INTERNALS, group_of
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.types.registry import SecretType
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
MOST_COLUMNS = 8
MODELS = [pytest.param(model, id=model._meta.label) for model in admin.site._registry]


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


def make_secret(cast: Cast, name: str) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name=name,
        secret_type=SecretType.PASSWORD,
        value="canary-77aa",
    )


def path_of(model: Any) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


@pytest.mark.parametrize("model", MODELS)
def test_a_list_has_few_columns_and_says_what_it_searches(model: Any) -> None:
    page = admin.site.get_model_admin(model)
    assert len(page.list_display) <= MOST_COLUMNS
    assert page.show_full_result_count is False
    assert not page.search_fields or page.search_help_text
    uuids = [name for name in page.list_display if isinstance(name, str) and name.endswith("uuid")]
    assert uuids == [] or group_of(model._meta.label).key in {INTERNALS, "system"}


def test_every_list_answers_with_a_bounded_number_of_statements(root: Client, cast: Cast) -> None:
    for number in range(3):
        make_secret(cast, f"billing/{number}")
        make_target(cast.development, f"vault-{number}")
    for model in admin.site._registry:
        with CaptureQueriesContext(connection) as statements:
            answer = root.get(path_of(model))
        assert answer.status_code == 200, model
        assert len(statements) <= 26, (model, len(statements))
        assert "canary-77aa" not in answer.text


@pytest.mark.parametrize("name", ["secrets_app/secret", "audit_app/auditevent", "environments_app/user"])
def test_the_statements_of_a_list_do_not_grow_with_its_rows(root: Client, cast: Cast, name: str) -> None:
    make_secret(cast, "billing/first")
    root.get(f"/admin/{name}/")
    with CaptureQueriesContext(connection) as few:
        root.get(f"/admin/{name}/")
    for number in range(10):
        make_secret(cast, f"billing/{number}")
    with CaptureQueriesContext(connection) as many:
        root.get(f"/admin/{name}/")
    assert len(many) == len(few)


@pytest.mark.parametrize("order", ["", "o=0", "o=-0"])
def test_pages_go_by_key_and_back(
    root: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(Group), "list_per_page", 3)
    for number in range(10):
        user_groups.create_group(actor=cast.principal(cast.root), name=f"group-{number}")
    expected = [each.name for each in Group.objects.order_by("-name" if order == "o=-0" else "name")]
    seen: list[str] = []
    address, pages = f"?{order}", 0
    while address:
        with CaptureQueriesContext(connection) as statements:
            changes = root.get(f"/admin/auth/group/{address}").context["cl"]
        assert not [each for each in statements if "OFFSET" in each["sql"]]
        assert changes.result_count == len(expected)
        seen += [each.name for each in changes.result_list]
        address, back, pages = changes.links.get("next", ""), changes.links.get("previous", ""), pages + 1
    assert (seen, pages) == (expected, -(-len(expected) // 3))
    before = root.get(f"/admin/auth/group/{back}").context["cl"].result_list
    rest = len(expected) % 3 or 3
    assert [each.name for each in before] == expected[-rest - 3 : -rest]


@pytest.mark.parametrize("page", ["7", "nonsense", "eyJ4Ijox"])
def test_a_page_that_is_no_cursor_is_the_first(root: Client, cast: Cast, page: str) -> None:
    changes = root.get(f"/admin/environments_app/user/?p={page}").context["cl"]
    assert cast.root in changes.result_list


def test_a_list_in_the_order_of_another_model_has_pages_by_number(
    root: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(Membership), "list_per_page", 2)
    first, second = (
        root.get(f"/admin/environments_app/membership/?o=1&p={page}").context["cl"] for page in (1, 2)
    )
    assert first.links == {}
    assert not {row.pk for row in first.result_list} & {row.pk for row in second.result_list}


def test_pages_end_at_a_limit(root: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST", 5)
    for number in range(7):
        user_groups.create_group(actor=cast.principal(cast.root), name=f"group-{number}")
    page = root.get("/admin/auth/group/")
    assert page.context["cl"].result_count == 5
    assert "More than 5 groups" in " ".join(page.text.split())


def test_a_count_reads_no_more_rows_than_the_limit(cast: Cast) -> None:
    with CaptureQueriesContext(connection) as statements:
        assert BoundedPaginator(User.objects.all(), 50).count > 0
    assert f"LIMIT {lists.MOST + 1}" in statements[0]["sql"]


def test_the_audit_log_names_environments_and_actions(root: Client, cast: Cast) -> None:
    make_secret(cast, "billing/key")
    page = root.get("/admin/audit_app/auditevent/?q=secret.create").text
    assert "Secret created" in page
    assert f">{cast.development.name}<" in page
    assert f"environment:{cast.development.uuid}" not in page


def test_deleted_secrets_are_listed_when_they_are_chosen(root: Client, cast: Cast) -> None:
    make_secret(cast, "kept")
    gone = make_secret(cast, "gone")
    lifecycle.delete(actor=cast.principal(cast.alice), secret=gone)
    shown = {
        chosen: [
            row.name
            for row in root.get(f"/admin/secrets_app/secret/?status={chosen}").context["cl"].result_list
        ]
        for chosen in ("", "deleted", "all")
    }
    assert shown == {"": ["kept"], "deleted": ["gone"], "all": ["gone", "kept"]}


def _file(answer: Any) -> list[list[str]]:
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(answer.content.decode())))


def test_a_list_is_taken_as_a_file_with_its_filters(root: Client, cast: Cast) -> None:
    make_secret(cast, "billing/key")
    make_secret(cast, "=cmd")
    rows = _file(root.get("/admin/secrets_app/secret/export.csv?q=billing"))
    assert rows[0][:3] == ["name", "environment", "type"]
    assert [row[0] for row in rows[1:]] == ["billing/key"]
    every = _file(root.get("/admin/secrets_app/secret/export.csv"))
    assert "'=cmd" in [row[0] for row in every]
    event = AuditEvent.objects.filter(action="list.export").first()
    assert event is not None
    assert (event.actor_name, event.object_name) == ("root", "secrets_app.Secret")
    assert event.details == '{"filters":["q"],"format":"csv"}'


@pytest.mark.parametrize("model", MODELS)
def test_every_list_is_taken_as_a_file_without_values_and_recorded(
    root: Client, cast: Cast, model: Any
) -> None:
    make_secret(cast, "billing/key")
    before = AuditEvent.objects.filter(action="list.export").count()
    answer = root.get(f"{path_of(model)}export.csv")
    if not hasattr(admin.site.get_model_admin(model), "export_view"):
        assert answer.status_code == 302
        return
    assert _file(answer)
    assert "canary-77aa" not in answer.content.decode()
    assert AuditEvent.objects.filter(action="list.export").count() == before + 1


def test_who_is_no_administrator_takes_no_file(
    cast: Cast, signed_in: Callable[[User], Client], settings: Settings
) -> None:
    answer = signed_in(cast.alice).get("/admin/secrets_app/secret/export.csv")
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/admin/login/")
