"""What a use case refuses to do with a row that was edited by SQL, or that is deleted."""

from collections.abc import Callable

import pytest

from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput, StaleVersion, TamperedSecret, TooManyItems
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.filters import narrow
from secrets_app.services import lifecycle, read, write
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="db",
        secret_type=SecretType.TEXT,
        value="v",
    )


def test_a_secret_that_sql_renamed_and_deleted_is_not_destroyed(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    sql("UPDATE secrets_app_secret SET name = 'mine/x', live = NULL WHERE id = %s", secret.pk)
    edited = Secret.objects.select_related("environment").get(pk=secret.pk)
    with pytest.raises(TamperedSecret):
        lifecycle.purge(actor=cast.principal(cast.alice), secret=edited)
    assert SecretVersion.objects.filter(secret_id=secret.pk).exists()


def test_a_deleted_secret_is_neither_changed_nor_deleted_again(cast: Cast, secret: Secret) -> None:
    actor = cast.principal(cast.erin)
    lifecycle.delete(actor=actor, secret=secret)
    deleted_at = Secret.objects.get(pk=secret.pk).deleted_at
    with pytest.raises(StaleVersion):
        write.update(actor=actor, secret=secret, value="new")
    with pytest.raises(StaleVersion):
        lifecycle.delete(actor=actor, secret=secret)
    stored = Secret.objects.get(pk=secret.pk)
    assert (stored.current_number, stored.deleted_at) == (1, deleted_at)


@pytest.mark.parametrize("limit", ["MAX_EXPORT", "MAX_EXPORT_BYTES"])
def test_a_read_of_more_than_memory_should_hold_shows_nothing(
    cast: Cast,
    secret: Secret,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    events: Callable[..., list[object]],
) -> None:
    for number in range(12):
        write.create(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            name=f"more/{number}",
            secret_type=SecretType.TEXT,
            value="v",
        )
    monkeypatch.setattr(read, limit, 11)
    with pytest.raises(TooManyItems, match="prefix"):
        read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development)
    assert events("secret.export") == []


@pytest.mark.parametrize("text", ["x" * 201, "a " * 11])
def test_a_search_is_bounded(cast: Cast, text: str) -> None:
    with pytest.raises(InvalidInput):
        narrow(Secret.objects.all(), {"q": text}, actor=cast.principal(cast.bob))
