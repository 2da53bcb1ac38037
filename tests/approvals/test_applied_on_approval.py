"""An approval applies the act at once, as its requester, with the rights of that moment, and loses nothing."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import applying
from environments_app.approvals import service as approvals
from environments_app.environments import memberships
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Forbidden
from environments_app.models import Approval, ApprovalState, Membership, Role, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.models import PendingValue, Secret
from secrets_app.services import write
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """A secret of protected production, which alice and erin manage, and bob edits."""
    kept = keep(cast, "payments/db", environment=cast.production)
    for user, role in ((cast.erin, Role.MANAGER), (cast.bob, Role.EDITOR)):
        Membership.objects.create(environment=cast.production, user=user, role=role)
    cast.production.protected = True
    cast.production.save()
    return Secret.objects.select_related("environment").get(pk=kept.pk)


def asked(cast: Cast, secret: Secret, *, user: User | None = None, comment: str = "") -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        write.update(
            actor=cast.principal(user or cast.alice), secret=secret, value="proposed", comment=comment
        )
    return stored(raised.value.approval)


def stored(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def number(secret: Secret) -> int:
    return Secret.objects.get(pk=secret.pk).current_number


def test_it_is_applied_at_once_and_recorded_as_an_act_of_both(
    cast: Cast, secret: Secret, events: Events
) -> None:
    request = asked(cast, secret)
    applied = applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    assert (applied.done, applied.reason, number(secret)) == (True, "", 2)
    (written,) = events("secret.update")
    assert (written.actor_name, json.loads(written.details)["approved_by"]) == ("alice", "erin")
    assert stored(request.pk).state == ApprovalState.EXECUTED
    assert not PendingValue.objects.exists()


def test_a_right_lost_a_moment_ago_refuses_and_the_request_stays(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret, user=cast.bob)
    take_away(Membership.objects.filter(environment=cast.production, user=cast.bob))
    applied = applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    assert (applied.done, number(secret)) == (False, 1)
    found = stored(request.pk)
    assert (found.state, found.failure) == (ApprovalState.APPROVED, applied.reason)
    assert found.failure
    assert PendingValue.objects.exists()


def test_a_disabled_requester_is_refused(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret, user=cast.bob)
    bob = User.objects.get(pk=cast.bob.pk)
    bob.is_active = False
    bob.save()
    assert not applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request).done
    assert number(secret) == 1


def test_a_later_change_refuses(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret)
    other = asked(cast, secret, user=cast.bob)
    assert applying.approve_and_apply(actor=cast.principal(cast.erin), approval=other).done
    with pytest.raises(ApprovalVoid, match="has changed since the request"):
        applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    assert (stored(request.pk).state, number(secret)) == (ApprovalState.PENDING, 2)


def test_nobody_approves_their_own_by_it(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret)
    with pytest.raises(Forbidden):
        applying.approve_and_apply(actor=cast.principal(cast.alice), approval=request)
    assert (stored(request.pk).state, number(secret)) == (ApprovalState.PENDING, 1)


def test_what_is_held_waits_for_its_requester(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret)
    approvals.explain(actor=cast.principal(cast.alice), approval=request, reason="tonight", held=True)
    applied = applying.approve_and_apply(actor=cast.principal(cast.erin), approval=stored(request.pk))
    assert (applied.done, applied.reason, number(secret)) == (False, "", 1)
    assert applying.apply_left() == 0
    approvals.carry_out(actor=cast.principal(cast.alice), approval=stored(request.pk))
    assert number(secret) == 2


def test_a_hold_that_is_taken_off_in_the_database_spoils_the_request(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret)
    approvals.explain(actor=cast.principal(cast.alice), approval=request, reason="", held=True)
    Approval.objects.filter(pk=request.pk).update(held="")
    assert not stored(request.pk).is_authentic()


def test_after_a_crash_the_schedule_applies_it_once(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(cast, secret)

    def end(*_args: object, **_options: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(approvals, "carry_out", end)
        with pytest.raises(SystemExit):
            applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    assert (stored(request.pk).state, number(secret)) == (ApprovalState.APPROVED, 1)
    assert PendingValue.objects.exists()
    assert applying.apply_left() == 0, "the request may still be at it"
    Approval.objects.filter(pk=request.pk).update(decided_at=timezone.now() - timedelta(minutes=5))
    assert (applying.apply_left(), number(secret)) == (1, 2)
    assert (applying.apply_left(), number(secret)) == (0, 2)


def left(cast: Cast, secret: Secret) -> Approval:
    """Return a request that was approved by a process that ended before it applied it."""
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=asked(cast, secret))
    Approval.objects.filter(pk=approved.pk).update(decided_at=timezone.now() - timedelta(minutes=5))
    return stored(approved.pk)


def test_who_comes_second_notes_no_failure(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, right = left(cast, secret), approvals.carry_out

    def twice(**options: Any) -> Any:
        right(**{**options, "approval": stored(request.pk)})
        return right(**options)

    monkeypatch.setattr(approvals, "carry_out", twice)
    applying.apply_left()
    assert (stored(request.pk).state, stored(request.pk).failure) == (ApprovalState.EXECUTED, "")
    assert number(secret) == 2


def test_one_that_raises_the_unexpected_holds_up_no_other(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, right = left(cast, secret), approvals.carry_out
    with pytest.raises(ApprovalNeeded):
        write.create(
            actor=cast.principal(cast.alice), environment=cast.production, name="new",
            secret_type=SecretType.TEXT, value="v",
        )  # fmt: skip
    second = approvals.approve(
        actor=cast.principal(cast.erin), approval=stored(Approval.objects.latest("id").pk)
    )
    Approval.objects.filter(pk=second.pk).update(decided_at=timezone.now() - timedelta(minutes=5))

    def carry_out(**options: Any) -> Any:
        if options["approval"].pk == broken.pk:
            raise KeyError
        return right(**options)

    monkeypatch.setattr(approvals, "carry_out", carry_out)
    with pytest.raises(KeyError):
        applying.apply_left()
    assert stored(second.pk).state == ApprovalState.EXECUTED
    assert stored(broken.pk).state == ApprovalState.APPROVED


def test_what_could_not_be_applied_is_not_tried_again_by_itself(cast: Cast, secret: Secret) -> None:
    request = asked(cast, secret, user=cast.bob)
    take_away(Membership.objects.filter(environment=cast.production, user=cast.bob))
    applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    Approval.objects.filter(pk=request.pk).update(decided_at=timezone.now() - timedelta(minutes=5))
    assert applying.apply_left() == 0


def test_a_token_is_issued_by_its_requester_who_alone_sees_it(cast: Cast, secret: Secret) -> None:
    with pytest.raises(ApprovalNeeded) as raised:
        issue(actor=cast.principal(cast.alice), environment=cast.production, role="reader", name="ci")
    request = stored(raised.value.approval)
    applied = applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request)
    assert (applied.done, applied.reason) == (False, "")
    assert not ServiceToken.objects.filter(name="ci").exists()


def test_access_is_granted_by_the_approval(cast: Cast, secret: Secret) -> None:
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.alice), environment=cast.production, user=cast.charlie, role="reader"
        )
    request = stored(raised.value.approval)
    assert applying.approve_and_apply(actor=cast.principal(cast.erin), approval=request).done
    assert Membership.objects.filter(user=cast.charlie, environment=cast.production).exists()


def test_the_page_shows_reason_and_secret_and_says_what_happened(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    request = asked(cast, secret, comment="leaked in a log")
    page = signed_in(cast.erin)
    shown = page.get(f"/approvals/{request.pk}").content.decode()
    assert "leaked in a log" in shown
    assert f'href="/secrets/{secret.pk}"' in shown
    assert "proposed" not in shown
    answer = page.post(f"/approvals/{request.pk}/approve", {"comment": "ok"}, follow=True)
    assert "Approved and applied." in answer.content.decode()
    assert number(secret) == 2
    notices = signed_in(cast.alice).get("/notifications").content.decode()
    assert "approved your request, now applied, to update payments/db" in notices


@pytest.mark.parametrize("why", ["held", "over", "failed", "shown once", "lately", "rejected", "edited"])
def test_the_schedule_leaves_alone_what_is_not_its_own(cast: Cast, secret: Secret, why: str) -> None:
    request = left(cast, secret)
    changes: dict[str, dict[str, Any]] = {
        "held": {"held": "held"},
        "over": {"expires_at": timezone.now() - timedelta(seconds=1)},
        "failed": {"failure": "no right"},
        "shown once": {"action": next(iter(applying._SHOWN_ONCE))},
        "lately": {"decided_at": timezone.now()},
        "rejected": {"state": ApprovalState.REJECTED},
        "edited": {},
    }
    for name, value in changes[why].items():
        setattr(request, name, value)
    request.save()
    if why == "edited":
        Approval.objects.filter(pk=request.pk).update(requester_uuid=cast.charlie.uuid)
    assert (applying.apply_left(), number(secret)) == (0, 1)
    assert stored(request.pk).state == request.state
