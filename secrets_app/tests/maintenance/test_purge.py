"""The recovery window: what ends it, what does not, and that its end is recorded."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.maintenance.integrity_checks import losses
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.services.lifecycle import purge_expired, purge_time
from secrets_app.tasks import purge_deleted
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db


def _deleted(cast: Cast, *, name: str, days: int) -> Secret:
    secret = write.create(
        actor=cast.principal(cast.erin),
        environment=cast.development,
        name=name,
        secret_type=SecretType.TEXT,
        value="v",
    )
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    Secret.objects.filter(pk=secret.pk).update(deleted_at=timezone.now() - timedelta(days=days))
    return Secret.objects.get(pk=secret.pk)


def test_it_destroys_what_is_past_the_window_and_nothing_else(cast: Cast) -> None:
    _deleted(cast, name="old", days=31)
    recent = _deleted(cast, name="recent", days=29)
    assert purge_expired() == 1
    assert list(Secret.objects.all()) == [recent]
    event = AuditEvent.objects.get(action="secret.purge")
    assert (event.actor_kind, event.object_name) == ("system", "old")
    assert list(losses()) == []
    assert purge_expired() == 0


def test_no_window_keeps_for_ever(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_DELETED_RETENTION_DAYS = 0
    secret = _deleted(cast, name="old", days=4000)
    assert purge_expired() == 0
    assert purge_time(secret) is None


def test_a_living_secret_is_not_destroyed_by_an_edited_row(cast: Cast, sql: Callable[..., None]) -> None:
    secret = write.create(
        actor=cast.principal(cast.erin),
        environment=cast.development,
        name="alive",
        secret_type=SecretType.TEXT,
        value="v",
    )
    long_ago = "2020-01-01 00:00:00"
    sql("UPDATE secrets_app_secret SET live = NULL, deleted_at = %s WHERE id = %s", long_ago, secret.pk)
    assert purge_expired() == 0
    assert Secret.objects.filter(pk=secret.pk).exists()


def test_the_task_does_it(cast: Cast) -> None:
    secret = _deleted(cast, name="old", days=31)
    due = purge_time(secret)
    assert due is not None
    assert due < timezone.now()
    purge_deleted()
    assert not Secret.objects.exists()
