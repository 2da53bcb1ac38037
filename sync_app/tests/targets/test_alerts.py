"""What a run finds is told once for each target and kind, recorded, and told again after a recovery."""

import json
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import pytest

from audit_app.models import AuditEvent
from environments_app.models import Alert, Delivery, Environment
from environments_app.notifications import service as notifications
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import VALUE, keep
from sync_app.domain.delivery_state import DeliveryState
from sync_app.models import Run, SyncEntry, Target
from sync_app.targets import alerts
from sync_app.targets import service as targets
from sync_app.tests.shown import make_entry, make_run, make_target

pytestmark = pytest.mark.every_database_weekly


class Ear:
    """A transport with one listener."""

    name = "ear"
    reaches_people = False

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        return [uuid4()]


@pytest.fixture
def target(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(notifications, "transports", lambda: {"ear": Ear()})
    return make_target(cast.development)


def ended(target: Target, state: str = "done", **fields: object) -> None:
    Run.objects.filter(target=target).update(active=None)
    alerts.update_after_run(make_run(target, state, **fields))


def told() -> list[tuple[str, str]]:
    return [(row.kind, row.subject) for row in Delivery.objects.order_by("id")]


def test_each_state_that_needs_someone_is_one_message(cast: Cast, target: Target) -> None:
    secret = keep(cast, "payments/db")
    make_entry(target, secret, DeliveryState.DRIFTED, reason="changed in target")
    make_entry(target, None, DeliveryState.DRIFTED, name="payments/other")
    make_entry(target, None, DeliveryState.CONFLICT, name="search/key")
    make_entry(target, None, DeliveryState.IN_SYNC, name="web/key")
    ended(target)
    assert sorted(told()) == [
        (
            "sync.conflict",
            "development, vault: 1 secret needs a decision: changed on both sides, or nobody can tell which side is newer",
        ),
        ("sync.drifted", "development, vault: 2 secrets differ from Keeper"),
    ]
    lines = Delivery.objects.get(kind="sync.drifted").lines
    assert lines == ["payments/db: changed in target", "payments/other"]
    assert VALUE not in str(list(Delivery.objects.values()))


def test_the_same_finding_is_told_and_recorded_once(
    cast: Cast, target: Target, events: Callable[..., list[AuditEvent]]
) -> None:
    make_entry(target, None, DeliveryState.MISSING, name="a")
    ended(target)
    ended(target)
    assert [kind for kind, _ in told()] == ["sync.missing"]
    (event,) = events("target.alert")
    assert (event.object_uuid, event.object_name) == (target.uuid, "vault")
    assert '"kind":"sync.missing"' in event.details


def test_another_secret_in_trouble_is_news(
    cast: Cast, target: Target, events: Callable[..., list[AuditEvent]]
) -> None:
    make_entry(target, None, DeliveryState.MISSING, name="a")
    ended(target)
    make_entry(target, None, DeliveryState.MISSING, name="b")
    ended(target)
    assert len(events("target.alert")) == 2


def test_a_recovery_is_told_and_recorded(
    cast: Cast, target: Target, events: Callable[..., list[AuditEvent]]
) -> None:
    make_entry(target, None, DeliveryState.DRIFTED, name="a")
    ended(target)
    SyncEntry.objects.update(state=DeliveryState.IN_SYNC)
    ended(target)
    ended(target)
    assert [kind for kind, _ in told()] == ["sync.drifted", "recovered"]
    kinds = [json.loads(event.details)["kind"] for event in events("target.alert")]
    assert kinds == ["sync.drifted", "recovered"]


def test_a_run_that_fails_is_told_with_its_sentence_until_one_works(cast: Cast, target: Target) -> None:
    ended(target, "failed", error="the token has expired: replace the credentials")
    ended(target, "failed", error="the token has expired: replace the credentials")
    ended(target)
    assert [kind for kind, _ in told()] == ["sync.run_failed", "recovered"]
    assert Delivery.objects.order_by("id")[0].lines == ["the token has expired: replace the credentials"]


def test_a_notice_is_over_once_a_run_that_writes_has_nothing_to_mend(cast: Cast, target: Target) -> None:
    ended(target, error="the workloads were not restarted")
    # A check mends nothing, and neither does a run that left the same.
    for again in ({"kind": "check"}, {"error": "the workloads were not restarted"}):
        ended(target, **again)
        assert [kind for kind, _ in told()] == ["sync.noticed"]
        assert Alert.objects.get(kind="sync.noticed").open
    ended(target, kind="sync")
    assert [kind for kind, _ in told()] == ["sync.noticed", "recovered"]


def test_a_run_that_is_tried_again_is_told_when_it_keeps_failing(cast: Cast, target: Target) -> None:
    ended(target, "queued", attempts=1, error="no answer")
    assert told() == []
    ended(target, "queued", attempts=5, error="no answer")
    assert [kind for kind, _ in told()] == ["sync.run_failed"]


def test_a_run_that_waits_while_syncing_is_paused_is_told_of_nothing(cast: Cast, target: Target) -> None:
    targets.pause(actor=cast.principal(cast.alice), target=target)
    target.refresh_from_db()
    ended(target, "queued", attempts=7, error="no answer")
    assert told() == []


def test_a_run_that_goes_on_tells_nothing_of_secrets_yet(cast: Cast, target: Target) -> None:
    make_entry(target, None, DeliveryState.CONFLICT, name="search/key")
    ended(target, "running")
    assert told() == []
    ended(target)
    assert [kind for kind, _ in told()] == ["sync.conflict"]


def test_as_many_names_as_a_message_holds_are_not_counted(cast: Cast, target: Target) -> None:
    for number in range(notifications.MAX_LINES):
        make_entry(target, None, DeliveryState.CONFLICT, name=f"key-{number:02}")
    ended(target)
    assert "more" not in str(Alert.objects.get().lines)


def test_many_names_are_cut_and_counted(cast: Cast, target: Target) -> None:
    for number in range(25):
        make_entry(target, None, DeliveryState.DRIFTED, name=f"n/{number:02}")
    ended(target)
    lines = Delivery.objects.get().lines
    assert len(lines) == 21
    assert lines[-1] == "and 5 more"


def test_the_message_leads_to_the_target(cast: Cast, target: Target) -> None:
    make_entry(target, None, DeliveryState.DRIFTED, name="a")
    ended(target)
    assert Delivery.objects.get().link == f"/sync/{target.pk}"


def test_what_was_told_of_a_target_is_over_when_it_is_removed(cast: Cast, target: Target) -> None:
    ended(target, "failed", error="Vault is sealed")
    targets.remove(actor=cast.principal(cast.alice), target=target)
    assert told()[1:] == [("recovered", "development, vault: removed")]
    assert not Alert.objects.filter(open=True).exists()
