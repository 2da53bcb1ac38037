"""The stages of a rotation: none is moved that is not there, and none over what somebody wrote meanwhile."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput, StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import version_stages, write
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.every_database_weekly

Step = Callable[[Cast, Secret], None]


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def stages(secret: Secret) -> tuple[int | None, int | None, int | None, int]:
    row = Secret.objects.get(pk=secret.pk)
    return row.current_number, row.previous_number, row.pending_number, row.revision


def stage(cast: Cast, secret: Secret) -> None:
    alice = cast.principal(cast.alice)
    version = version_stages.prepare(actor=alice, secret=secret, value="the next one", comment="")
    version_stages.stage(actor=alice, secret=secret, version=version, details={})


def promote(cast: Cast, secret: Secret) -> None:
    version_stages.promote(actor=cast.principal(cast.alice), secret=secret, facts={}, details={})


def restore_previous(cast: Cast, secret: Secret) -> None:
    version_stages.restore_previous(actor=cast.principal(cast.alice), secret=secret, facts={}, details={})


def clear_pending(cast: Cast, secret: Secret) -> None:
    version_stages.clear_pending(actor=cast.principal(cast.alice), secret=secret, details={})


def drop_previous(cast: Cast, secret: Secret) -> None:
    version_stages.drop_previous(actor=cast.principal(cast.alice), secret=secret, details={})


# Which steps lead to a state that a step may follow, and current, previous and pending after it.
STEPS: dict[str, tuple[tuple[Step, ...], Step, tuple[int, int | None, int | None]]] = {
    "stage": ((), stage, (1, None, 2)),
    "promote": ((stage,), promote, (2, 1, None)),
    "restore previous": ((stage, promote), restore_previous, (1, 2, None)),
    "clear pending": ((stage,), clear_pending, (1, None, None)),
    "drop previous": ((stage, promote), drop_previous, (2, None, None)),
}


@pytest.mark.parametrize("name", STEPS)
def test_each_step_moves_its_stages_once_and_loses_to_a_write_meanwhile(cast: Cast, name: str) -> None:
    before, step, after = STEPS[name]
    secret = keep(cast)
    for each in before:
        each(cast, stored(secret))
    read = stored(secret)
    write.update(actor=cast.principal(cast.alice), secret=stored(secret), description="written meanwhile")
    state, events = stages(secret), AuditEvent.objects.count()

    with pytest.raises(StaleVersion):
        step(cast, read)

    assert (stages(secret), AuditEvent.objects.count()) == (state, events)
    step(cast, stored(secret))
    assert stages(secret) == (*after, state[3] + 1)
    assert AuditEvent.objects.count() == events + 1
    assert stored(secret).is_authentic()


def test_a_prepared_version_has_its_comment(cast: Cast) -> None:
    secret, alice = keep(cast), cast.principal(cast.alice)
    version = version_stages.prepare(actor=alice, secret=secret, value="next", comment="why it was")
    version_stages.stage(actor=alice, secret=secret, version=version, details={})
    assert SecretVersion.objects.get(secret=secret, number=2).comment == "why it was"


@pytest.mark.parametrize("name", STEPS)
def test_a_secret_is_rotated_by_what_changes_its_served_value(cast: Cast, name: str) -> None:
    before, step, _ = STEPS[name]
    secret = keep(cast)
    for each in before:
        each(cast, stored(secret))
    past = timezone.now() - timedelta(days=40)
    old = stored(secret)
    old.rotated_at = past
    old.save(update_fields=["rotated_at"])
    step(cast, stored(secret))
    assert (stored(secret).rotated_at != past) == (name in {"promote", "restore previous"})


@pytest.mark.parametrize(
    ("before", "step", "why"),
    [
        ((stage,), stage, "has a pending value already"),
        ((), promote, "no pending value"),
        ((stage, promote), promote, "no pending value"),
        ((stage, clear_pending), promote, "no pending value"),
        ((), restore_previous, "no previous value"),
        ((stage,), restore_previous, "no previous value"),
        ((stage, promote, drop_previous), restore_previous, "no previous value"),
    ],
)
def test_no_step_is_taken_from_a_state_that_does_not_offer_it(
    cast: Cast, before: tuple[Step, ...], step: Step, why: str
) -> None:
    secret = keep(cast)
    for each in before:
        each(cast, stored(secret))
    state, events, versions = stages(secret), AuditEvent.objects.count(), SecretVersion.objects.count()

    with pytest.raises(StaleVersion, match=why):
        step(cast, stored(secret))

    assert (stages(secret), AuditEvent.objects.count()) == (state, events)
    assert SecretVersion.objects.count() == versions


def test_what_its_type_refuses_is_not_sealed(cast: Cast) -> None:
    secret = keep(cast, value="a-long-enough-password", secret_type=SecretType.PASSWORD)
    with pytest.raises(InvalidInput):
        version_stages.prepare(actor=cast.principal(cast.alice), secret=secret, value="", comment="")
