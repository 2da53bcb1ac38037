"""Which members of a JSON value an update touches: for those who may reveal it, on demand, recorded."""

import json
from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.domain.delivery_state import DeliveryState
from sync_app.models import PlanItem, SyncEntry
from sync_app.tests.shown import make_entry, make_item, make_plan, make_target

pytestmark = pytest.mark.every_database_weekly
SignedIn = Callable[..., Client]
Bearer = Callable[..., Client]
OLD = '{"host": "db", "user": "old-value", "port": 1}'
NEW = '{"host": "db", "user": "new-value", "pool": 5}'


def kept(cast: Cast, value: str, name: str = "app/config") -> Secret:
    secret, _ = write.put(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name=name,
        value=value,
        secret_type=SecretType.JSON,
    )
    return secret


@pytest.fixture
def item(cast: Cast) -> PlanItem:
    kept(cast, OLD)
    secret = kept(cast, NEW)
    first, second = secret.versions.order_by("number")
    target = make_target(cast.development)
    make_entry(
        target,
        secret,
        DeliveryState.PENDING,
        base_keeper=first.uuid.hex,
        base_target="4",
        ownership="created",
    )
    return make_item(
        make_plan(target),
        secret.name,
        "update",
        secret_uuid=secret.uuid,
        keeper_version=second.uuid.hex,
        keeper_number=2,
        target_version="4",
        target_presence="present",
    )


def path_of(item: PlanItem) -> str:
    return f"/sync/plans/{item.plan_id}/items/{item.pk}/members"


def reveals() -> list[tuple[str, str, int]]:
    events = AuditEvent.objects.filter(action="secret.reveal").order_by("pk")
    return [(event.actor_name, event.outcome, json.loads(event.details).get("number")) for event in events]


def test_names_are_told_to_who_may_reveal_and_values_to_nobody(
    cast: Cast, signed_in: SignedIn, item: PlanItem
) -> None:
    reader = signed_in(cast.bob)
    plan = reader.get(f"/sync/plans/{item.plan_id}").content.decode()
    assert path_of(item) in plan
    asked = reader.get(path_of(item)).content.decode()
    for page in (plan, asked):
        assert "pool" not in page
    assert reveals() == []
    told = " ".join(reader.post(path_of(item)).content.decode().split())
    for name, change in {"host": "same", "user": "changed", "port": "removed", "pool": "added"}.items():
        assert f'diff-{change}"' in told
        assert f'diff-name">{name}<' in told
    assert "old-value" not in told
    assert "new-value" not in told
    assert [(outcome, number) for _, outcome, number in reveals()] == [("allowed", 1), ("allowed", 2)]


def test_a_viewer_is_told_nothing(cast: Cast, signed_in: SignedIn, item: PlanItem) -> None:
    viewer = signed_in(cast.vera)
    assert path_of(item) not in viewer.get(f"/sync/plans/{item.plan_id}").content.decode()
    assert "You don’t have permission to view the keys" in viewer.get(path_of(item)).content.decode()
    refused = viewer.post(path_of(item))
    assert refused.status_code == 403
    assert "pool" not in refused.content.decode()
    assert [outcome for _, outcome, _ in reveals()] == ["denied"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_version": "5"}, "not written by Keeper"),
        ({"state": "done"}, "planned update"),
        ({"act": "create"}, "planned update"),
        ({"keeper_version": "0" * 32}, "gone from Keeper"),
    ],
)
def test_what_keeper_cannot_know_is_not_guessed(
    cast: Cast, signed_in: SignedIn, item: PlanItem, changes: dict[str, str], words: str
) -> None:
    PlanItem.objects.filter(pk=item.pk).update(**changes)
    answer = signed_in(cast.bob).post(path_of(item), follow=True).content.decode()
    assert words in answer
    assert "pool" not in answer
    assert reveals() == []


def test_another_secrets_version_is_not_opened(cast: Cast, signed_in: SignedIn, item: PlanItem) -> None:
    other = kept(cast, '{"foreign": 1}', name="other/config").versions.get()
    PlanItem.objects.filter(pk=item.pk).update(keeper_version=other.uuid.hex)
    assert "foreign" not in signed_in(cast.bob).post(path_of(item), follow=True).content.decode()
    assert reveals() == []


def test_an_entry_that_keeper_did_not_write_proves_nothing(
    cast: Cast, signed_in: SignedIn, item: PlanItem, sql: Callable[..., None]
) -> None:
    entry = SyncEntry.objects.get()
    sql("UPDATE sync_app_syncentry SET base_target = '5' WHERE id = %s", entry.pk)
    PlanItem.objects.filter(pk=item.pk).update(target_version="5")
    answer = signed_in(cast.bob).post(path_of(item), follow=True).content.decode()
    assert "not written by Keeper" in answer


def test_the_api_tells_names_and_values_to_nobody(cast: Cast, bearer: Bearer, item: PlanItem) -> None:
    path = f"/api/environments/development/plans/{item.plan_id}/items/{item.pk}/members"
    answer = bearer("reader", cast.development).post(path)
    assert answer.status_code == 200
    assert {part["name"]: part["change"] for part in answer.json()} == {
        "host": "same",
        "user": "changed",
        "port": "removed",
        "pool": "added",
    }
    assert all(part.keys() == {"name", "change"} for part in answer.json())
    assert [(outcome, number) for _, outcome, number in reveals()] == [("allowed", 1), ("allowed", 2)]
    refused = bearer("viewer", cast.development).post(path)
    assert refused.status_code == 403
    assert "pool" not in refused.content.decode()
    PlanItem.objects.filter(pk=item.pk).update(state="done")
    assert bearer("reader", cast.development).post(path).status_code == 409
