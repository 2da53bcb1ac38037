from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.approvals.gate import ApprovalGrant
from environments_app.errors import ApprovalVoid, Forbidden, Invisible
from environments_app.models import Environment, Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidName, NameTaken, NotDeleted, StaleVersion, TamperedSecret
from secrets_app.models import Reference, Secret, SecretVersion
from secrets_app.services import lifecycle, read, transfer, write
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.every_database

Events = Callable[..., list[AuditEvent]]


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def sound() -> bool:
    return not [*verify(), *run_checks()]


def test_a_rename_keeps_id_history_and_value(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast), "second")
    renamed = lifecycle.rename(actor=cast.principal(cast.alice), secret=stored(secret), name="new/name")
    assert (renamed.pk, renamed.uuid, renamed.current_number) == (secret.pk, secret.uuid, 2)
    assert read.reveal(actor=cast.principal(cast.alice), secret=stored(secret), number=1).value == VALUE
    (event,) = events(Action.SECRET_RENAME)
    assert (event.object_name, '"from":"payments/key"' in event.details) == ("new/name", True)
    assert stored(secret).search_text.startswith("new/name")
    assert sound()


def test_a_rename_to_the_same_name_changes_nothing(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    lifecycle.rename(actor=cast.principal(cast.alice), secret=stored(secret), name=secret.name)
    assert (stored(secret).revision, events(Action.SECRET_RENAME)) == (1, [])


def test_a_rename_needs_the_right_under_both_names(cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="editor", prefix="pay")
    inside, outside = keep(cast, "pay/a"), keep(cast, "other")
    charlie = cast.principal(cast.charlie)
    for secret, name in ((inside, "elsewhere"), (outside, "pay/b"), (inside, "pay-out")):
        with pytest.raises(Invisible):
            lifecycle.rename(actor=charlie, secret=stored(secret), name=name)
    lifecycle.rename(actor=charlie, secret=stored(inside), name="pay/b")
    assert {secret.name for secret in Secret.objects.all()} == {"pay/b", "other"}


def test_a_rename_to_a_name_that_lives_or_cannot_be_changes_nothing(cast: Cast) -> None:
    secret = keep(cast)
    keep(cast, "taken")
    alice = cast.principal(cast.alice)
    for name, refusal in (("taken", NameTaken), ("a//b", InvalidName)):
        with pytest.raises(refusal):
            lifecycle.rename(actor=alice, secret=stored(secret), name=name)
    assert (stored(secret).name, stored(secret).revision) == ("payments/key", 1)


def test_a_deleted_secret_can_be_restored_with_its_history(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast), "second")
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=stored(secret))
    gone = stored(secret)
    assert (gone.live, gone.deleted_at is None) == (None, False)
    lifecycle.restore(actor=alice, secret=gone)
    back = stored(secret)
    assert (back.live, back.deleted_at, back.current_number) == (True, None, 2)
    assert read.reveal(actor=alice, secret=back).value == "second"
    assert len(events(Action.SECRET_DELETE)) == len(events(Action.SECRET_RESTORE)) == 1
    assert sound()


def test_a_name_may_be_deleted_many_times_and_live_once(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    first = keep(cast)
    for _ in range(3):
        lifecycle.delete(actor=alice, secret=stored(Secret.objects.get(live=True)))
        keep(cast)
    assert Secret.objects.filter(name="payments/key").count() == 4
    with pytest.raises(NameTaken):
        lifecycle.restore(actor=alice, secret=stored(first))
    assert stored(first).live is None
    assert sound()


def test_only_the_deleted_are_restored_and_purged(cast: Cast) -> None:
    secret = keep(cast)
    alice = cast.principal(cast.alice)
    for act in (lifecycle.restore, lifecycle.purge):
        with pytest.raises(NotDeleted):
            act(actor=alice, secret=stored(secret))
    assert stored(secret).live is True


def test_purging_destroys_the_versions_and_leaves_the_record(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast), "second")
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=stored(secret))
    lifecycle.purge(actor=alice, secret=stored(secret))
    assert not Secret.objects.exists()
    assert not SecretVersion.objects.exists()
    (event,) = events(Action.SECRET_PURGE)
    assert (event.object_uuid, event.object_name, '"versions":2' in event.details) == (
        secret.uuid,
        "payments/key",
        True,
    )
    assert sound()


def test_what_was_restored_meanwhile_is_not_purged(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=stored(secret))
    stale = stored(secret)
    lifecycle.restore(actor=alice, secret=stored(secret))
    # Another one that is deleted is none of it.
    lifecycle.delete(actor=alice, secret=keep(cast, "other"))
    with pytest.raises(StaleVersion):
        lifecycle.purge(actor=alice, secret=stale)
    assert SecretVersion.objects.count() == 2
    assert events(Action.SECRET_PURGE) == []


def test_what_was_restored_changed_and_deleted_again_meanwhile_is_not_purged(cast: Cast) -> None:
    secret, alice = keep(cast), cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=stored(secret))
    seen = stored(secret)
    lifecycle.restore(actor=alice, secret=stored(secret))
    change(cast, stored(secret), "second")
    lifecycle.delete(actor=alice, secret=stored(secret))
    with pytest.raises(StaleVersion):
        lifecycle.purge(actor=alice, secret=seen)
    assert SecretVersion.objects.filter(secret=secret).count() == 2


def test_nothing_is_purged_where_approvals_were_turned_on_meanwhile(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, alice = keep(cast), cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=stored(secret))
    clear = lifecycle._cleared

    def meanwhile(*given: Any, **options: Any) -> ApprovalGrant:
        grant = clear(*given, **options)
        place = Environment.objects.get(pk=secret.environment_id)
        place.protected = True
        place.save()
        return grant

    monkeypatch.setattr(lifecycle, "_cleared", meanwhile)
    with pytest.raises(ApprovalVoid):
        lifecycle.purge(actor=alice, secret=stored(secret))
    assert SecretVersion.objects.filter(secret=secret).exists()


def test_a_stale_deletion_is_refused(cast: Cast) -> None:
    secret = keep(cast)
    change(cast, secret, "second")
    with pytest.raises(StaleVersion):
        lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret), expected="1-1")
    with pytest.raises(StaleVersion):
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    assert stored(secret).live is True


@pytest.mark.parametrize(
    ("name", "acts", "refusal"),
    [
        ("erin", ["purge"], Forbidden),
        ("bob", ["rename", "delete", "restore", "purge"], Forbidden),
        ("root", ["rename", "delete", "restore", "purge"], Forbidden),
        ("charlie", ["rename", "delete", "restore", "purge"], Invisible),
    ],
)
def test_who_may_not_is_refused_and_nothing_happens(
    cast: Cast, name: str, acts: list[str], refusal: type[Exception]
) -> None:
    alive, gone = keep(cast), keep(cast, "gone")
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(gone))
    actor = cast.principal(getattr(cast, name))
    for act in acts:
        options: dict[str, Any] = {"name": "x"} if act == "rename" else {}
        secret = stored(gone if act in {"restore", "purge"} else alive)
        with pytest.raises(refusal):
            getattr(lifecycle, act)(actor=actor, secret=secret, **options)
    assert (stored(alive).live, stored(alive).name, stored(gone).live) == (True, "payments/key", None)
    assert AuditEvent.objects.filter(outcome="denied", actor_name=name).count() == len(acts)


def test_a_forged_row_is_not_touched(cast: Cast, sql: Callable[..., None]) -> None:
    secret = keep(cast)
    sql("UPDATE secrets_app_secret SET name = 'forged'")
    alice = cast.principal(cast.alice)
    with pytest.raises(TamperedSecret):
        lifecycle.delete(actor=alice, secret=stored(secret))
    with pytest.raises(TamperedSecret):
        lifecycle.rename(actor=alice, secret=stored(secret), name="payments/key")


def test_what_is_due_stays_due_until_a_new_value(cast: Cast) -> None:
    alice, production = cast.principal(cast.alice), cast.production
    secret = keep(cast)
    old = timezone.now() - timedelta(days=90)
    Secret.objects.filter(pk=secret.pk).update(rotated_at=old)
    due = lifecycle.mark_rotation_due(actor=alice, secret=stored(secret)).rotation_due_at
    assert due is not None
    copied = transfer.copy(actor=alice, secret=stored(secret), environment=production, name="copied")
    moved = transfer.move(actor=alice, secret=stored(secret), environment=production, name="moved")
    for each in (copied, moved):
        assert (stored(each).rotation_due_at, stored(each).rotated_at) == (due, old)
    write.rollback(actor=alice, secret=stored(moved), number=1)
    assert stored(moved).rotation_due_at == due
    change(cast, moved, "new")
    assert stored(moved).rotation_due_at is None
    assert sound()


def test_a_moved_secret_goes_on_to_resolve_its_references_and_a_copy_does_not(cast: Cast) -> None:
    alice, name = cast.principal(cast.alice), cast.development.name
    keep(cast, "part")
    whole = keep(cast, "whole", f"x-${{{name}/part}}-y", uses_references=True)
    copied = transfer.copy(actor=alice, secret=stored(whole), environment=cast.production, name="copied")
    moved = transfer.move(actor=alice, secret=stored(whole), environment=cast.production, name="moved")
    assert (stored(copied).uses_references, stored(moved).uses_references) == (False, True)
    assert Reference.objects.filter(secret=moved, name="part").exists()


def test_a_value_that_is_written_to_a_copy_at_once_is_new(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = cast.principal(cast.alice)
    secret = keep(cast)
    lifecycle.mark_rotation_due(actor=alice, secret=stored(secret))

    def overtaken(**given: Any) -> Secret:
        made = write.create(**given)
        change(cast, made, "new")
        return made

    monkeypatch.setattr(transfer, "create", overtaken)
    copied = transfer.copy(actor=alice, secret=stored(secret), environment=cast.production, name="copied")
    assert stored(copied).rotation_due_at is None
