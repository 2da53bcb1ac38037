"""Whatever a use case does to a secret, it refuses a forged row, a wrong state, and one that was changed since."""

from collections.abc import Callable

import pytest

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.errors import NotDeleted, StaleVersion, TamperedSecret
from secrets_app.models import Secret, SecretVersion, Share
from secrets_app.services import decoys, guarded, lifecycle, share, transfer, write
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.every_database_weekly

Act = Callable[[Cast, Secret, str | None], object]

ACTS: dict[str, Act] = {
    "value": lambda cast, secret, expected: write.update(
        actor=cast.principal(cast.alice), secret=secret, value="another", expected=expected
    ),
    "metadata": lambda cast, secret, expected: write.update(
        actor=cast.principal(cast.alice), secret=secret, description="other", expected=expected
    ),
    "rollback": lambda cast, secret, expected: write.rollback(
        actor=cast.principal(cast.alice), secret=secret, number=1, expected=expected
    ),
    "rename": lambda cast, secret, expected: lifecycle.rename(
        actor=cast.principal(cast.alice), secret=secret, name="renamed", expected=expected
    ),
    "guard": lambda cast, secret, expected: guarded.guard(
        actor=cast.principal(cast.alice), secret=secret, expected=expected
    ),
    "decoy": lambda cast, secret, expected: decoys.make_decoy(
        actor=cast.principal(cast.alice), secret=secret, expected=expected
    ),
    "delete": lambda cast, secret, expected: lifecycle.delete(
        actor=cast.principal(cast.alice), secret=secret, expected=expected
    ),
    "mark as due": lambda cast, secret, expected: lifecycle.mark_rotation_due(
        actor=cast.principal(cast.alice), secret=secret, expected=expected
    ),
    "copy": lambda cast, secret, _: transfer.copy(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.production
    ),
    "move": lambda cast, secret, _: transfer.move(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.production
    ),
    "promote": lambda cast, secret, _: transfer.overwrite(
        actor=cast.principal(cast.alice), secret=secret, onto=(onto := other(cast)), expected=onto.etag
    ),
    "promote onto": lambda cast, secret, expected: transfer.overwrite(
        actor=cast.principal(cast.alice), secret=other(cast), onto=secret, expected=expected or secret.etag
    ),
    "share": lambda cast, secret, _: share.share_once(actor=cast.principal(cast.bob), secret=secret),
    "restore": lambda cast, secret, _: lifecycle.restore(actor=cast.principal(cast.alice), secret=secret),
    "purge": lambda cast, secret, _: lifecycle.purge(actor=cast.principal(cast.alice), secret=secret),
}
ON_DELETED = {"restore", "purge"}
# By their doors, what is deleted is not found, so that none of these meets it.
NEVER_MEETS_DELETED = {"rename", "rollback"}
TAKES_AN_ETAG = {
    "guard",
    "decoy",
    "value",
    "metadata",
    "rollback",
    "rename",
    "delete",
    "mark as due",
    "promote onto",
}


def other(cast: Cast) -> Secret:
    return Secret.objects.select_related("environment").get(environment=cast.production, name="other")


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def state(secret: Secret) -> tuple[list[object], list[object], int, list[str]]:
    """Return all that is stored of secrets, and what the trail says was done with this one."""
    done = AuditEvent.objects.filter(outcome="allowed", object_uuid=secret.uuid)
    return (
        list(Secret.objects.order_by("pk").values()),
        list(SecretVersion.objects.order_by("pk").values_list("pk", "number", "secret_id")),
        Share.objects.count(),
        sorted(done.exclude(action="integrity.violation").values_list("action", flat=True)),
    )


@pytest.fixture
def secret(cast: Cast) -> Secret:
    keep(cast, "other", environment=cast.production)
    kept = keep(cast)
    change(cast, kept, "the second")
    return stored(kept)


@pytest.mark.parametrize("name", ACTS)
def test_a_row_that_somebody_else_wrote_is_neither_changed_nor_opened(
    cast: Cast, secret: Secret, sql: Callable[..., None], name: str
) -> None:
    if name in ON_DELETED:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    sql("UPDATE secrets_app_secret SET current_number = 1 WHERE id = %s", secret.pk)
    before = state(secret)
    with pytest.raises(TamperedSecret):
        ACTS[name](cast, stored(secret), None)
    assert state(secret) == before
    assert AuditEvent.objects.filter(action="integrity.violation").exists()


@pytest.mark.parametrize("name", [name for name in ACTS if name not in NEVER_MEETS_DELETED])
def test_an_act_on_the_living_takes_nothing_deleted_and_the_other_way_round(
    cast: Cast, secret: Secret, name: str
) -> None:
    if name not in ON_DELETED:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret))
    before = state(secret)
    with pytest.raises(NotDeleted if name in ON_DELETED else StaleVersion):
        ACTS[name](cast, stored(secret), None)
    assert state(secret) == before


@pytest.mark.parametrize("name", sorted(TAKES_AN_ETAG))
def test_an_etag_that_was_seen_before_a_change_lets_nothing_through(
    cast: Cast, secret: Secret, name: str
) -> None:
    seen = secret.etag
    write.update(actor=cast.principal(cast.alice), secret=stored(secret), owner="somebody")
    before = state(secret)
    with pytest.raises(StaleVersion):
        ACTS[name](cast, stored(secret), seen)
    assert state(secret) == before


@pytest.mark.parametrize("name", [name for name in ACTS if name not in {"copy", "promote", "share", "move"}])
def test_a_change_of_a_row_that_was_read_before_another_change_is_refused(
    cast: Cast, secret: Secret, name: str
) -> None:
    """The row in hand proves itself: only the revision tells that it is an older one."""
    if name in ON_DELETED:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    read = stored(secret)
    if name in ON_DELETED:
        lifecycle.restore(actor=cast.principal(cast.alice), secret=stored(secret))
    else:
        write.update(actor=cast.principal(cast.alice), secret=stored(secret), owner="somebody")
    rows = state(secret)[:3]
    with pytest.raises(StaleVersion):
        # With the ETag that it has in hand: without one, the last writer of a value wins.
        ACTS[name](cast, read, read.etag)
    assert state(secret)[:3] == rows
