"""A secret's row that was genuine once and is put back by SQL, to serve an older value."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from environments_app.tests.cast import Cast
from secrets_app.maintenance.integrity_checks import secrets
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="db",
        secret_type=SecretType.TEXT,
        value="leaked",
    )


def test_it_finds_a_secret_that_points_to_an_older_value_again(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    old = Secret.objects.get(pk=secret.pk)
    write.update(actor=cast.principal(cast.erin), secret=secret, value="replaced")
    assert list(secrets()) == []
    sql(
        "UPDATE secrets_app_secret SET current_number = 1, previous_number = NULL, row_mac = %s WHERE id = %s",
        bytes(old.row_mac),
        old.pk,
    )
    assert Secret.objects.select_related("environment").get(pk=old.pk).is_authentic()
    assert [(problem.kind, problem.object.split()[0]) for problem in secrets()] == [("replayed", "secret")]


def test_it_finds_a_deleted_secret_that_lives_again(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    mac = bytes(secret.row_mac)
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    assert list(secrets()) == []
    sql("UPDATE secrets_app_secret SET live = %s, row_mac = %s WHERE id = %s", 1, mac, secret.pk)
    assert [problem.kind for problem in secrets()] == ["replayed"]


def test_it_finds_an_old_state_that_a_clock_ahead_wrote(
    cast: Cast, sql: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later event has the earlier time: within a stream the sequence decides."""
    later = timezone.now() + timedelta(minutes=4)
    with monkeypatch.context() as ahead:
        ahead.setattr("django.utils.timezone.now", lambda: later)
        secret = keep(cast)
    mac = bytes(secret.row_mac)
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    assert list(secrets()) == []
    sql("UPDATE secrets_app_secret SET live = %s, row_mac = %s WHERE id = %s", 1, mac, secret.pk)
    assert [problem.kind for problem in secrets()] == ["replayed"]


def test_it_finds_an_old_state_whose_event_was_given_a_later_id(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    mac = bytes(secret.row_mac)
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    sql("UPDATE secrets_app_secret SET live = %s, row_mac = %s WHERE id = %s", 1, mac, secret.pk)
    sql("UPDATE audit_app_auditevent SET id = id + 1000000 WHERE action = 'secret.create'")
    assert [problem.kind for problem in secrets()] == ["replayed"]


def test_an_event_that_says_nothing_any_more_hides_no_other(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    mac = bytes(secret.row_mac)
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    sql("UPDATE secrets_app_secret SET live = %s, row_mac = %s WHERE id = %s", 1, mac, secret.pk)
    sql("UPDATE audit_app_auditevent SET details = 'rows' WHERE action = 'secret.create'")
    assert [problem.kind for problem in secrets()] == ["replayed"]
