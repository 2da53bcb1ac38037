"""Two who decide the same thing at the same moment: one of them does, and what it opens is opened once."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.authentication import second_factor
from environments_app.authentication.second_factor import renew_codes, seal_seed
from environments_app.authorization.rows import set_fields
from environments_app.errors import AccessError, ApprovalNeeded
from environments_app.models import Approval, Membership, Role, SecondFactor, User, UserRole
from environments_app.sessions.service import lock_actor
from environments_app.tests.cast import Cast
from environments_app.users import accounts
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database
Events = Callable[..., list[AuditEvent]]
NEW = "canary-7b21-new"


def only_one(results: list[Any]) -> Any:
    """Return what the one got who was first; everybody else was refused in words."""
    got = [each for each in results if not isinstance(each, BaseException)]
    assert len(got) == 1, results
    assert all(isinstance(each, AccessError) for each in results if each is not got[0]), results
    return got[0]


@pytest.fixture
def asked(cast: Cast) -> Approval:
    """Return erin's request to write in protected production, which alice and bob may decide."""
    keep(cast, environment=cast.production)
    for user, role in ((cast.erin, Role.EDITOR), (cast.bob, Role.MANAGER)):
        Membership.objects.create(environment=cast.production, user=user, role=role)
    cast.production.protected = True
    cast.production.save()
    secret = Secret.objects.select_related("environment").get()
    with pytest.raises(ApprovalNeeded) as raised:
        write.update(actor=cast.principal(cast.erin), secret=secret, value=NEW)
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def test_a_request_is_decided_once(
    transactional_db: None, cast: Cast, asked: Approval, events: Events
) -> None:
    alice, bob = cast.principal(cast.alice), cast.principal(cast.bob)
    decided = only_one(
        at_once(
            lambda: approvals.approve(actor=alice, approval=asked),
            lambda: approvals.reject(actor=bob, approval=asked),
            lambda: approvals.approve(actor=bob, approval=asked),
        )
    )
    assert Approval.objects.get().state == decided.state
    outcomes = sorted(event.outcome for event in events(Action.APPROVAL_DECIDE))
    assert outcomes == ["allowed", "denied", "denied"]


def test_access_that_was_asked_for_is_granted_once(
    transactional_db: None, cast: Cast, events: Events
) -> None:
    request = access_requests.submit(
        actor=cast.principal(cast.charlie), environment="development", role="reader", minutes=60
    )
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.MANAGER)
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    results = at_once(
        lambda: decisions.approve(actor=alice, request=request),
        lambda: decisions.approve(actor=root, request=request),
        lambda: decisions.reject(actor=root, request=request),
    )
    only_one(results)
    assert Membership.objects.filter(user=cast.charlie).count() <= 1
    assert len(events(Action.ACCESS_DECIDE)) == 1


def test_two_acts_of_one_person_wait_for_each_other(transactional_db: None, cast: Cast) -> None:
    alice = cast.principal(cast.alice)

    def act(people: list[User]) -> None:
        for _ in range(40):
            with lock_actor(alice, Action.MEMBER_GRANT, cast.development, people=people):
                pass

    assert at_once(partial(act, [cast.charlie]), partial(act, []), partial(act, [cast.bob])) == [None] * 3


def test_a_recovery_code_lets_in_once(transactional_db: None, cast: Cast, events: Events) -> None:
    factor = SecondFactor(user=cast.alice)
    seal_seed(factor, b"s" * 20)
    factor.save()
    code = renew_codes(factor)[0]
    cast.alice.second_factor = factor.uuid
    cast.alice.save()
    alice = User.objects.get(pk=cast.alice.pk)
    actor = cast.principal(alice)
    used = at_once(*(lambda: second_factor.use_code(actor=actor, user=alice, text=code) for _ in range(4)))
    assert sorted(map(str, used)) == ["None", "None", "None", "recovery code"]
    assert second_factor.recovery_codes_left(alice) == 9
    assert len(events(Action.SECOND_FACTOR_CHANGE)) == 1


def test_the_last_two_administrators_do_not_take_the_role_from_each_other(
    transactional_db: None, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = accounts.create_user(actor=cast.principal(cast.root), username="other", role="admin")
    root, others = cast.principal(cast.root), cast.principal(other)
    both = threading.Barrier(2)

    def meet(user: User, changes: Any) -> list[str]:
        # If each holds one row here, neither gets the other's: the database has to end one of them.
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)
        return set_fields(user, changes)

    monkeypatch.setattr("environments_app.users.accounts.set_fields", meet)
    left = only_one(
        at_once(
            lambda: accounts.update_user(actor=root, user=other, role="user"),
            lambda: accounts.update_user(actor=others, user=cast.root, role="user"),
        )
    )
    admins = User.objects.filter(role=UserRole.ADMIN, is_active=True)
    assert list(admins) == [each for each in (cast.root, other) if each != left]
