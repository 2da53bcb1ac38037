"""When somebody is ended: all of their access at once, and what they know until nothing of it is open."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_state import lost_rows
from audit_app.models import AuditEvent
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.approvals.applying import approve_and_apply
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal, user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.environments import groups
from environments_app.environments.deletion import delete_environment, restore_environment
from environments_app.environments.memberships import grant
from environments_app.environments.service import update_environment
from environments_app.errors import (
    ApprovalNeeded,
    ApprovalVoid,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    SessionEnded,
)
from environments_app.event_sinks import create_sink
from environments_app.models import (
    AccessRequest,
    Alert,
    Approval,
    ApprovalState,
    Delivery,
    Departure,
    DeviceSignIn,
    Environment,
    GroupMember,
    LinkPurpose,
    PasswordLink,
    PersonalToken,
    Recipient,
    RequestState,
    SamlGroupMapping,
    ServiceToken,
    Session,
    User,
    UserRole,
)
from environments_app.notifications.recipients import add_recipient, remove_addressee
from environments_app.single_sign_on.group_mapping import apply_groups
from environments_app.tests.cast import Cast, choose_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import device
from environments_app.tokens.children import issue_child
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.scim_clients import add_client, issue_client_token
from environments_app.tokens.service import issue, revoke
from environments_app.trusts.service import change as change_trust
from environments_app.trusts.sign_in import sign_in
from environments_app.trusts.upkeep import purge_ended_tokens
from environments_app.users import accounts
from environments_app.users.accounts import update_user
from environments_app.users.suspensions import confirm_account
from secrets_app.departures import decisions, ending, following
from secrets_app.departures.ending import end_person, offboard
from secrets_app.exposure import equal_versions, offboarding_report
from secrets_app.models import DepartureValue, Secret, Share, Webhook
from secrets_app.outlets import outlets_of
from secrets_app.services import transfer, write
from secrets_app.services.clone import clone_environment
from secrets_app.services.read import reveal
from secrets_app.services.share import share_once
from secrets_app.tests.kept import change, keep
from secrets_app.webhooks import add_webhook
from sync_app.models import Target
from sync_app.targets.service import pause as pause_target
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db

Events = Callable[..., list[AuditEvent]]


def later(departure: Departure, **ago: float) -> None:
    """Let a departure be of some time ago."""
    row = Departure.objects.get(pk=departure.pk)
    row.at = timezone.now() - timedelta(**ago)
    row.save()


def protect(cast: Cast) -> None:
    update_environment(actor=cast.principal(cast.root), environment=cast.development, protected=True)


@pytest.mark.every_database
def test_one_request_ends_everything_of_the_person(
    cast: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    browser = signed_in(cast.erin)
    erin, root = cast.principal(cast.erin), cast.principal(cast.root)
    _, text = issue_personal(actor=erin, name="laptop")
    waiting = device.start(name="kpr", address="192.0.2.7")
    device.approve(actor=erin, code=waiting.row.user_code)
    given, _ = share_once(actor=erin, secret=keep(cast, "given"))
    got, _ = share_once(actor=cast.principal(cast.alice), secret=keep(cast, "got"), recipient=cast.erin)
    other, _ = share_once(actor=cast.principal(cast.alice), secret=keep(cast, "other"))
    request = access_requests.submit(actor=erin, environment="production", role="reader")
    nowhere = access_requests.submit(actor=erin, environment="no-such-place", role="reader")
    departure = end_person(actor=root, user=cast.erin)
    assert browser.get("/api/whoami").status_code == 401
    assert Client().get("/api/whoami", headers={"authorization": f"Bearer {text}"}).status_code == 401
    assert not Session.objects.filter(user=cast.erin).exists()
    assert not PersonalToken.objects.filter(user=cast.erin, revoked_at=None).exists()
    assert not DeviceSignIn.objects.exists()
    ended = set(Share.objects.filter(revoked_at__isnull=False).values_list("pk", flat=True))
    assert ended == {given.pk, got.pk}
    assert other.pk not in ended
    for asked in (request, nowhere):
        assert AccessRequest.objects.get(pk=asked.pk).state == RequestState.WITHDRAWN
    user = User.objects.get(pk=cast.erin.pk)
    assert (user.is_active, user.suspended_at) == (False, departure.at)
    assert departure.ended == {
        "sessions": 1, "tokens": 2, "sign_ins": 1, "links": 2, "requests": 2, "password_links": 0
    }  # fmt: skip
    assert all(row.is_authentic() for row in Share.objects.all())
    assert all(event.actor_name == "root" for event in events(Action.SECRET_SHARE_REVOKE))
    assert len(events(Action.TOKEN_REVOKE)) == 2


@pytest.mark.every_database
def test_a_worker_marks_what_they_know_and_the_departure_closes_by_itself(cast: Cast, events: Events) -> None:
    one, two = keep(cast, "one"), keep(cast, "two")
    for secret in (one, two):
        reveal(actor=cast.principal(cast.erin), secret=secret)
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    assert Secret.objects.filter(rotation_due_at__isnull=False).count() == 0
    following.run()
    assert Secret.objects.filter(rotation_due_at__isnull=False).count() == 2
    assert Alert.objects.filter(kind=following.KIND, about=departure.uuid, open=True).exists()
    change(cast, Secret.objects.get(pk=one.pk), "new")
    later(departure, minutes=3)
    following.run()
    following.run()
    assert Departure.objects.get().open
    change(cast, Secret.objects.get(pk=two.pk), "new")
    following.run()
    row = Departure.objects.get()
    assert (row.open, row.closed_by) == (None, "")
    assert row.is_authentic()
    assert not Alert.objects.filter(kind=following.KIND, open=True).exists()
    assert '"closed"' in events(Action.USER_OFFBOARD)[-1].details


def test_a_departure_that_sql_removes_is_missing(cast: Cast, sql: Callable[..., None]) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert list(lost_rows()) == []

    sql("DELETE FROM secrets_app_departurevalue")
    sql("DELETE FROM environments_app_departure")

    (lost,) = lost_rows()
    assert (lost.kind, str(departure.uuid) in lost.object) == ("missing", True)


def test_a_version_before_counts_while_it_is_served_as_the_previous_one_and_no_longer(cast: Cast) -> None:
    erin = cast.principal(cast.erin)
    for name, later_values in (("previous", ["second"]), ("long-ago", ["second", "third"])):
        reveal(actor=erin, secret=keep(cast, name))
        for value in later_values:
            change(cast, Secret.objects.get(name=name), value)
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert [row.secret.name for row in DepartureValue.objects.all()] == ["previous"]
    # AWSPREVIOUS still gets what they read.
    version = Secret.objects.get(name="previous").previous_number
    assert version == 1
    change(cast, Secret.objects.get(name="previous"), "third")
    assert DepartureValue.objects.get().state == "replaced"


def test_a_value_that_was_read_while_the_account_ended_is_found_by_the_second_look(cast: Cast) -> None:
    secret = keep(cast, "late")
    under_way = cast.principal(cast.erin)
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert not DepartureValue.objects.exists()
    # A request that was let in before the account ended.
    reveal(actor=under_way, secret=secret)
    following.run()
    assert Departure.objects.get().open
    later(departure, minutes=3)
    following.run()
    assert DepartureValue.objects.get().secret == secret
    assert Secret.objects.get().rotation_due_at is not None
    assert Departure.objects.get().open


def test_what_an_approver_approved_counts_no_more_once_they_left(cast: Cast) -> None:
    secret = keep(cast, "pay/db")
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager")
    protect(cast)
    with pytest.raises(ApprovalNeeded):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(), value="next")
    approval = Approval.objects.get()
    approvals.explain(actor=cast.principal(cast.erin), approval=approval, reason="x", held=True)
    approvals.approve(actor=cast.principal(cast.charlie), approval=Approval.objects.get())
    end_person(actor=cast.principal(cast.root), user=cast.charlie)
    with pytest.raises(ApprovalVoid, match="approver no longer has permission"):
        approvals.carry_out(actor=cast.principal(cast.erin), approval=Approval.objects.get())
    assert Secret.objects.get(pk=secret.pk).current_number == 1


def ends(cast: Cast, user: User, way: str) -> None:
    root = cast.principal(cast.root).proven()
    if way == "disabled":
        accounts.update_user(actor=root, user=user, is_active=False)
    else:
        end_person(actor=root, user=user)
    accounts.update_user(actor=root, user=User.objects.get(pk=user.pk), is_active=True)


@pytest.mark.every_database
@pytest.mark.parametrize("way", ["disabled", "offboarded"])
def test_what_an_approver_approved_counts_no_more_once_they_are_back(
    cast: Cast, way: str, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "pay/db")
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager")
    protect(cast)
    with pytest.raises(ApprovalNeeded):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(), value="next")
    approval = Approval.objects.get()
    approvals.explain(actor=cast.principal(cast.erin), approval=approval, reason="x", held=True)
    approvals.approve(actor=cast.principal(cast.charlie), approval=Approval.objects.get())
    ends(cast, cast.charlie, way)
    with pytest.raises(ApprovalVoid, match="was ended since"):
        approvals.carry_out(actor=cast.principal(cast.erin), approval=Approval.objects.get())
    assert Secret.objects.get(pk=secret.pk).current_number == 1
    page = signed_in(cast.erin).get(f"/approvals/{approval.pk}").content.decode()
    assert "The account of charlie was ended after they approved this." in page
    # Asked again, the person who is back may approve.
    with pytest.raises(ApprovalNeeded):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(), value="next")
    again = Approval.objects.latest("pk")
    assert again.pk != approval.pk
    approvals.approve(actor=cast.principal(cast.charlie), approval=again)
    approvals.carry_out(actor=cast.principal(cast.erin), approval=Approval.objects.get(pk=again.pk))
    assert Secret.objects.get(pk=secret.pk).current_number == 2
    # What was carried out stays approved, whoever leaves.
    ends(cast, cast.charlie, way)
    page = signed_in(cast.erin).get(f"/approvals/{again.pk}").content.decode()
    assert "was ended after they approved" not in page


@pytest.mark.every_database
@pytest.mark.parametrize("way", ["disabled", "offboarded"])
def test_one_of_several_approvals_counts_no_more_once_its_person_is_back(
    cast: Cast, way: str, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "pay/db")
    alice = cast.principal(cast.alice)
    dana = accounts.create_provider_user(
        actor=system_principal(is_admin=True), username="dana", issuer="oidc:okta", name_id="dana"
    )
    for user in (cast.charlie, dana):
        grant(actor=alice, environment=cast.development, user=user, role="manager")
    update_environment(
        actor=alice,
        environment=Environment.objects.get(pk=cast.development.pk),
        protected=True,
        approvals_required=2,
    )
    with pytest.raises(ApprovalNeeded):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(), value="next")
    charlie, pk = cast.principal(cast.charlie), Approval.objects.get().pk

    def approve(actor: Principal) -> ApprovalState:
        approve_and_apply(actor=actor, approval=Approval.objects.get(pk=pk))
        return ApprovalState(Approval.objects.get(pk=pk).state)

    assert approve(charlie) == ApprovalState.PENDING
    assert approvals.waiting_for(charlie) == []
    ends(cast, cast.charlie, way)
    assert approve(user_principal(dana)) == ApprovalState.PENDING
    assert Secret.objects.get(pk=secret.pk).current_number == 1
    page = signed_in(cast.erin).get(f"/approvals/{pk}").content.decode()
    assert "1 of 2 given" in page
    assert "The account of charlie was ended after they approved this." in page
    # Back, the person may say it once more.
    charlie = cast.principal(cast.charlie)
    assert [row.pk for row in approvals.waiting_for(charlie)] == [pk]
    assert approve(charlie) == ApprovalState.EXECUTED
    assert Secret.objects.get(pk=secret.pk).current_number == 2


def test_what_they_requested_is_withdrawn_with_the_reason(cast: Cast, events: Events) -> None:
    keep(cast, "pay/db")
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager")
    protect(cast)
    with pytest.raises(ApprovalNeeded):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(), value="next")
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    assert Approval.objects.get().state == ApprovalState.WITHDRAWN
    assert "the account was ended" in events(Action.APPROVAL_WITHDRAW)[0].details


def test_what_they_left_in_a_deleted_environment_does_not_come_back_with_it(cast: Cast) -> None:
    root = cast.principal(cast.root)
    link, _ = share_once(actor=cast.principal(cast.erin), secret=keep(cast, "given"))
    delete_environment(actor=root, environment=cast.development)
    departure = end_person(actor=root, user=cast.erin)
    assert departure.ended["links"] == 1
    restore_environment(actor=root, environment=Environment.every.get(pk=cast.development.pk))
    assert Share.objects.get(pk=link.pk).revoked_at is not None


def test_the_last_administrator_is_not_ended(cast: Cast) -> None:
    second = User.objects.create_user("second", role=UserRole.ADMIN)
    acting = cast.principal(second)
    end_person(actor=cast.principal(cast.root), user=second)
    with pytest.raises(SessionEnded):
        end_person(actor=acting, user=cast.root)
    with pytest.raises(Conflict):
        end_person(actor=system_principal(is_admin=True), user=cast.root)
    assert User.objects.get(pk=cast.root.pk).is_active
    assert Departure.objects.count() == 1


def test_an_administrator_who_lost_the_right_meanwhile_ends_nobody(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    second = User.objects.create_user("second", role=UserRole.ADMIN)
    acting = cast.principal(second)
    genuine = accounts.administrators_beside

    def demoted(user: User) -> list[int]:
        update_user(actor=cast.principal(cast.root), user=second, role=UserRole.USER)
        return genuine(user)

    monkeypatch.setattr(ending, "administrators_beside", demoted)
    with pytest.raises(Forbidden):
        end_person(actor=acting, user=cast.erin)
    assert User.objects.get(pk=cast.erin.pk).is_active
    assert not Departure.objects.exists()


def test_what_was_ended_goes_on_although_the_administrator_left_too(cast: Cast) -> None:
    secret = keep(cast, "one")
    reveal(actor=cast.principal(cast.erin), secret=secret)
    second = User.objects.create_user("second", role=UserRole.ADMIN)
    end_person(actor=cast.principal(second), user=cast.erin)
    end_person(actor=cast.principal(cast.root), user=second)
    following.run()
    assert Secret.objects.get().rotation_due_at is not None


@pytest.mark.every_database
@pytest.mark.parametrize("step", ["mark", "_bring_forward", "_assign", "_note_count"])
def test_a_worker_that_dies_half_way_loses_nothing_and_does_nothing_twice(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events, step: str
) -> None:
    for name in ("one", "two", "three"):
        reveal(actor=cast.principal(cast.erin), secret=keep(cast, name, owner="alice"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    genuine = getattr(following, step)

    def dies(*arguments: object, **options: object) -> None:
        if step != "_note_count":
            genuine(*arguments, **options)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(following, step, dies)
        with pytest.raises(SystemExit):
            following.run()
    # The lease keeps the next worker away, and then no longer.
    following.run()
    assert Departure.objects.get().counted_at is None
    Departure.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    following.run()
    assert Departure.objects.get(pk=departure.pk).counted_at is not None
    rows = list(DepartureValue.objects.order_by("secret__name"))
    assert [(row.secret.name, row.assignee) for row in rows] == [
        ("one", cast.alice), ("three", cast.alice), ("two", cast.alice)
    ]  # fmt: skip
    marks = [event for event in events(Action.USER_OFFBOARD) if '"due"' in event.details]
    assert len(marks) == 1
    told = Delivery.objects.filter(addressee=cast.alice.uuid, subject__contains="need a new value")
    assert told.values("subject").distinct().count() == 1


@pytest.mark.parametrize("step", ["mark", "_bring_forward", "_assign"])
def test_a_worker_goes_on_within_a_minute_after_the_request_died(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for name in ("one", "two"):
        reveal(actor=cast.principal(cast.erin), secret=keep(cast, name))
    genuine = getattr(following, step)

    def dies(*arguments: object) -> None:
        genuine(*arguments)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(following, step, dies)
        with pytest.raises(SystemExit):
            offboard(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert Departure.objects.get().counted_at is None
    # The schedule looks every 20 seconds: 40 seconds on, the next look finds it.
    Departure.objects.update(lease_until=F("lease_until") - timedelta(seconds=40))
    following.run()
    assert Departure.objects.get().counted_at is not None
    assert Secret.objects.filter(rotation_due_at__isnull=False).count() == 2


@pytest.mark.parametrize("step", ["_bring_forward", "_assign", "_note_count"])
def test_each_step_of_a_request_that_works_extends_its_lease(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    left: list[timedelta] = []
    before = {"_bring_forward": "mark", "_assign": "_bring_forward", "_note_count": "mark"}[step]
    genuine, slow = getattr(following, step), getattr(following, before)

    def passes(*arguments: object) -> None:
        slow(*arguments)
        Departure.objects.update(lease_until=timezone.now())

    def looks(*arguments: object, **options: object) -> None:
        until = Departure.objects.get().lease_until
        assert until is not None
        left.append(until - timezone.now())
        genuine(*arguments, **options)

    monkeypatch.setattr(following, before, passes)
    monkeypatch.setattr(following, step, looks)
    offboard(actor=cast.principal(cast.root), user=cast.erin)
    assert timedelta(seconds=20) < left[0] <= following.LEASE


def test_a_rotation_that_its_target_refused_leaves_the_value_open(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keep(cast, "one")
    reveal(actor=cast.principal(cast.erin), secret=secret)
    monkeypatch.setattr(following, "_queues", lambda: (set,))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert DepartureValue.objects.get().state == "by policy"
    # The policy tried, and nothing new is served; it even takes its own mark away.
    Secret.objects.update(rotation_due_at=None)
    later(departure, days=1)
    following.run()
    following.run()
    assert Departure.objects.get().open
    assert DepartureValue.objects.get().is_open
    assert Secret.objects.get().rotation_due_at is not None


def test_a_departure_that_stays_open_is_told_again(cast: Cast) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    later(departure, days=8)
    following.run()
    following.run()
    assert "still in use" in Alert.objects.get(about=departure.uuid).subject


def test_an_owner_by_name_or_address_gets_the_value_and_others_leave_it_to_managers(cast: Cast) -> None:
    for name, owner in (
        ("by-name", "Alice"), ("by-address", "alice@example.com"), ("reader", "bob"), ("team", "payments")
    ):  # fmt: skip
        reveal(actor=cast.principal(cast.erin), secret=keep(cast, name, owner=owner))
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    found = {row.secret.name: row.assignee for row in DepartureValue.objects.all()}
    assert found == {"by-name": cast.alice, "by-address": cast.alice, "reader": None, "team": None}


def test_the_last_manager_leaves_and_the_page_names_the_place(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    assert following.unmanaged(departure) == ["development", "production"]
    page = signed_in(cast.root).get(f"/departures/{departure.pk}").content.decode()
    assert page.count("has no manager any more") == 2


def test_a_service_token_that_they_saw_keeps_the_departure_open(cast: Cast) -> None:
    token, _ = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="deploy"
    )
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    later(departure, minutes=3)
    following.run()
    following.run()
    assert Departure.objects.get().open
    revoke(actor=cast.principal(cast.root), token=token)
    following.run()
    assert Departure.objects.get().open is None


@pytest.mark.every_database
@pytest.mark.parametrize("days", [0, 3])
def test_a_value_that_is_moved_after_the_end_stays_known_at_its_new_place(cast: Cast, days: int) -> None:
    alice = cast.principal(cast.alice)
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    later(departure, minutes=3)
    following.run()
    Departure.objects.update(counted_at=timezone.now() - timedelta(days=days))
    moved = transfer.move(actor=alice, secret=Secret.objects.get(), environment=cast.production, name="new")
    following.run()
    following.run()
    row = DepartureValue.objects.get(secret=moved)
    assert (row.state, row.numbers) == ("waits", [1])
    assert Secret.objects.get(pk=moved.pk).rotation_due_at is not None
    assert Departure.objects.get().open
    change(cast, Secret.objects.get(pk=moved.pk), "next")
    following.run()
    assert Departure.objects.get().open is None


@pytest.mark.parametrize("after", [False, True])
def test_a_copy_of_a_value_that_they_know_is_listed_whenever_it_was_made(cast: Cast, *, after: bool) -> None:
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    known, onto = keep(cast, "one"), keep(cast, "onto", "another value")
    reveal(actor=cast.principal(cast.erin), secret=known)
    if after:
        end_person(actor=root, user=cast.erin)
        following.run()
        later(Departure.objects.get(), minutes=3)
        following.run()
    copy = transfer.copy(actor=alice, secret=known, environment=cast.production, name="copy/of")
    transfer.copy(actor=alice, secret=copy, environment=cast.development, name="copy-of-it")
    transfer.overwrite(actor=alice, secret=known, onto=onto, expected=onto.etag)
    # What they never knew is copied to no matter of theirs, nor is a version that they do not know.
    transfer.copy(actor=alice, secret=keep(cast, "never"), environment=cast.production)
    change(cast, Secret.objects.get(pk=known.pk), "next")
    transfer.copy(
        actor=alice, secret=Secret.objects.get(pk=known.pk), environment=cast.production, name="later"
    )
    if not after:
        end_person(actor=root, user=cast.erin)
    following.run()
    following.run()
    assert {(row.secret.name, *row.numbers) for row in DepartureValue.objects.all()} == {
        ("one", 1), ("copy/of", 1), ("copy-of-it", 1), ("onto", 2)
    }  # fmt: skip
    report = offboarding_report(actor=root, user=cast.erin)
    assert {each.secret.name for each in report.standing} == {"one", "copy/of", "copy-of-it", "onto"}


def test_what_a_clone_of_an_environment_was_given_of_what_they_know_is_listed(cast: Cast) -> None:
    root = cast.principal(cast.root)
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.root, role="manager")
    for name in ("known", "replaced", "never"):
        keep(cast, name, f"of {name}")
    for name in ("known", "replaced"):
        reveal(actor=cast.principal(cast.erin), secret=Secret.objects.get(name=name))
    for value in ("second", "third"):
        change(cast, Secret.objects.get(name="replaced"), value)
    end_person(actor=root, user=cast.erin)
    following.run()
    later(Departure.objects.get(), minutes=3)
    following.run()
    source = Environment.objects.get(name="development")
    clone, count = clone_environment(
        actor=cast.principal(cast.root), source=source, name="copy", with_values=True
    )
    assert count == 3
    clone_environment(actor=cast.principal(cast.root), source=source, name="empty")
    following.run()
    following.run()
    listed = [(row.secret.environment.name, row.secret.name) for row in DepartureValue.objects.all()]
    assert sorted(listed) == [("copy", "known"), ("development", "known")]
    assert Secret.objects.get(environment=clone, name="known").rotation_due_at is not None


@pytest.mark.parametrize("before_the_end", [True, False])
def test_a_known_value_that_is_written_again_is_not_replaced(cast: Cast, *, before_the_end: bool) -> None:
    known = keep(cast, "one", "known")
    reveal(actor=cast.principal(cast.erin), secret=known)
    if before_the_end:
        for value in ("second", "third", "known"):
            change(cast, known, value)
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    later(departure, minutes=3)
    following.run()
    if not before_the_end:
        for value in ("second", "known"):
            change(cast, known, value)
        following.run()
        following.run()
    row = DepartureValue.objects.get()
    assert row.state == "waits"
    assert Secret.objects.get().rotation_due_at is not None
    assert Departure.objects.get().open
    change(cast, known, "new")
    change(cast, known, "newer")
    following.run()
    assert Departure.objects.get().open is None


def test_an_equal_value_of_a_guarded_secret_tells_nobody_that_it_is_equal(cast: Cast) -> None:
    known = keep(cast, "one", "known")
    reveal(actor=cast.principal(cast.erin), secret=known)
    for value in ("second", "third", "known"):
        change(cast, known, value)
    row = Secret.objects.get()
    assert [number for _, number in equal_versions([row], {row.uuid: [1]})] == [4]
    row.guarded = True
    assert list(equal_versions([row], {row.uuid: [1]})) == []


def set_up(cast: Cast, person: Principal) -> list[str]:
    """Let a person set up one of each kind of outlet; return their names."""
    add_recipient(actor=person, environment=cast.development, email="private@example.org")
    for name, style in (("alerts", "slack"), ("changes", "changes")):
        add_webhook(
            actor=person,
            environment=cast.development,
            name=name,
            url="https://hooks.example.org/x",
            style=style,
        )
    target = make_target(cast.development, "own-vault")
    record(
        actor=person,
        action=Action.TARGET_CREATE,
        **stream_and_object(target),
        details={"endpoint": target.endpoint},
    )
    return ["private@example.org", "alerts", "changes", "own-vault"]


@pytest.mark.every_database
def test_what_they_set_up_holds_the_departure_open_until_each_is_decided(
    cast: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    names = set_up(cast, cast.principal(cast.alice))
    manager = User.objects.create_user("manager", password="a long passphrase of theirs")
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=manager, role="manager")
    add_recipient(actor=cast.principal(manager), environment=cast.development, email="team@example.org")
    admin = signed_in(cast.root)
    preview = admin.get("/api/users/alice/offboarding").json()
    assert [each["name"] for each in preview["outlets"]] == names
    assert {each["made_by"] for each in preview["outlets"]} == {"alice"}
    page = admin.get("/people/alice/offboarding").content.decode()
    assert all(name in page for name in names)
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    later(departure, minutes=3)
    following.run()
    following.run()
    assert Departure.objects.get().open
    told = Alert.objects.get(kind=following.KIND, environment=cast.development, open=True)
    assert any("own-vault" in line for line in told.lines)
    place = f"/departures/{departure.pk}"
    browser = signed_in(manager)
    page = browser.get(place).content.decode()
    assert all(name in page for name in names)
    assert "team@example.org" not in page
    listed = browser.get(f"/api{place}").json()["outlets"]
    assert {each["name"]: each["state"] for each in listed} == dict.fromkeys(names, "waits")
    for each in listed[:2]:
        answer = browser.post(f"{place}/outlets/{each['uuid']}/keep", {"reason": "of the team"})
        assert answer.status_code == 302
    pages = browser.get(place).content.decode()
    assert pages.count("manager: of the team") == 2
    assert '"kept":"private@example.org"' in "".join(event.details for event in events(Action.USER_OFFBOARD))
    remove_addressee(actor=cast.principal(manager), addressee=Webhook.objects.get(name="changes"))
    following.run()
    assert Departure.objects.get().open
    pause_target(actor=cast.principal(manager), target=Target.objects.get())
    following.run()
    row = Departure.objects.get()
    assert row.open is None
    assert row.is_authentic()
    assert not Alert.objects.filter(kind=following.KIND, open=True).exists()


def test_who_is_no_manager_keeps_nothing_that_somebody_set_up_nor_does_a_program_or_the_leaver(
    cast: Cast,
) -> None:
    alice = cast.principal(cast.alice)
    add_recipient(actor=alice, environment=cast.development, email="private@example.org")
    reveal(actor=alice, secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    following.run()
    row = Departure.objects.get()
    uuid = Recipient.objects.get().uuid
    assert decisions.visible_outlets(cast.principal(cast.erin), row) == []
    with pytest.raises(Invisible):
        decisions.keep_outlet(actor=cast.principal(cast.erin), departure=row, uuid=uuid, reason="x")
    with pytest.raises(Forbidden, match="Another person"):
        decisions.keep_outlet(actor=system_principal(is_admin=True), departure=row, uuid=uuid, reason="x")
    root = cast.principal(cast.root)
    with pytest.raises(InvalidField):
        decisions.keep_outlet(actor=root, departure=row, uuid=uuid, reason=" ")
    decisions.keep_outlet(actor=root, departure=row, uuid=uuid, reason="of the team")
    with pytest.raises(Conflict):
        decisions.keep_outlet(actor=root, departure=row, uuid=uuid, reason="again")
    # A row that was edited in the database keeps nothing.
    Departure.objects.filter(pk=departure.pk).update(kept={str(uuid): {"by": "nobody", "reason": "x"}})
    [seen] = decisions.visible_outlets(root, Departure.objects.get())
    assert seen.state == "waits"


def test_who_gave_a_target_its_credentials_last_is_named_and_not_who_gave_the_ones_before(
    cast: Cast,
) -> None:
    target = make_target(cast.development, "vault")
    for person in (cast.bob, cast.erin, cast.alice):
        record(
            actor=cast.principal(person),
            action=Action.TARGET_CREATE if person is cast.bob else Action.TARGET_CHANGE,
            **stream_and_object(target),
            details={"endpoint": target.endpoint},
        )
    # A change of a rule is no choice of where it leads.
    record(
        actor=cast.principal(cast.charlie),
        action=Action.TARGET_CHANGE,
        **stream_and_object(target),
        details={"interval_seconds": 60},
    )
    people = [cast.alice, cast.bob, cast.charlie, cast.erin]
    found = outlets_of(people, CustodyGraph())
    assert {person.username: len(found[person.uuid]) for person in people} == {
        "alice": 1, "bob": 1, "charlie": 0, "erin": 0
    }  # fmt: skip
    [outlet] = found[cast.alice.uuid]
    assert (outlet.made_by, outlet.chosen_by) == ("bob", "alice")


def test_what_a_token_of_theirs_set_up_and_their_event_sink_are_named(cast: Cast) -> None:
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    token, _ = issue(actor=alice, environment=cast.development, role="manager", name="deploy")
    add_recipient(actor=token_principal(token), environment=cast.development, email="private@example.org")
    found = outlets_of([cast.alice, cast.erin], CustodyGraph())
    assert [each.name for each in found[cast.alice.uuid]] == ["deploy", "private@example.org"]
    assert found[cast.erin.uuid] == []
    create_sink(actor=root, name="siem", address="https://siem.example.org/x?format=ocsf")
    found = outlets_of([cast.root, cast.alice], CustodyGraph())
    assert [each.kind for each in found[cast.root.uuid]] == ["Event sink"]
    assert "Event sink" not in [each.kind for each in found[cast.alice.uuid]]


def test_a_trust_of_theirs_holds_the_departure_open_until_it_is_disabled_or_kept(cast: Cast) -> None:
    trust = make_trust(cast, Issuer(), role="reader")
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    later(departure, minutes=3)
    following.run()
    following.run()
    assert Departure.objects.get().open
    change_trust(actor=cast.principal(cast.root), trust=trust, enabled=False)
    following.run()
    assert Departure.objects.get().open is None


def test_what_a_token_of_theirs_read_is_counted_and_marked_by_a_person(
    cast: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    token, _ = issue(actor=alice, environment=cast.development, role="reader", name="deploy")
    child, _ = issue_child(actor=token_principal(token), parent=token, name="job", less={})
    other, _ = issue(actor=root, environment=cast.development, role="reader", name="other")
    read, along, replaced, never = (
        keep(cast, name, f"of {name}", actor=cast.erin) for name in ("read", "along", "replaced", "never")
    )
    reveal(actor=token_principal(token), secret=read)
    reveal(actor=token_principal(token), secret=replaced)
    reveal(actor=token_principal(child), secret=along)
    reveal(actor=token_principal(other), secret=never)
    for value in ("second", "third"):
        write.update(actor=cast.principal(cast.erin), secret=Secret.objects.get(pk=replaced.pk), value=value)
    departure = end_person(actor=root, user=cast.alice)
    later(departure, minutes=3)
    following.run()
    assert not DepartureValue.objects.exists()
    admin, place = signed_in(cast.root), f"/departures/{departure.pk}"
    [seen] = admin.get(f"/api{place}").json()["outlets"]
    assert (seen["name"], seen["kind"], seen["state"]) == ("deploy", "Service token", "waits")
    assert (seen["read_count"], seen["unlisted_count"]) == (2, 2)
    assert seen["read_since"] is not None
    page = admin.get(place).content.decode()
    assert "read 2 secrets" in page
    assert "Mark what it read (2)" in page
    assert admin.post(f"{place}/outlets/{seen['uuid']}/mark").status_code == 302
    assert Secret.objects.filter(rotation_due_at__isnull=False).count() == 2
    assert [event.actor_name for event in events(Action.USER_OFFBOARD) if "read_by" in event.details] == [
        "root"
    ]
    following.run()
    rows = {row.secret.name: row for row in DepartureValue.objects.all()}
    assert {name: (row.state, row.read_by) for name, row in rows.items()} == {
        "read": ("waits", "Service token deploy"), "along": ("waits", "Service token deploy")
    }  # fmt: skip
    page = admin.get(place).content.decode()
    assert page.count("read by Service token deploy") == 2
    assert "Mark what it read" not in page.replace("Mark what a token or trust read", "")
    again = admin.post(f"/api{place}/outlets/{seen['uuid']}/mark", content_type="application/json")
    assert again.status_code == 409
    # What was read and then copied is found by the next look.
    transfer.copy(actor=cast.principal(cast.erin), secret=read, environment=cast.development, name="copy")
    following.run()
    following.run()
    assert DepartureValue.objects.filter(secret__name="copy").exists()
    for name in ("read", "along", "copy"):
        write.update(
            actor=cast.principal(cast.erin), secret=Secret.objects.get(name=name), value=f"new {name}"
        )
        write.update(
            actor=cast.principal(cast.erin), secret=Secret.objects.get(name=name), value=f"newer {name}"
        )
    following.run()
    assert Departure.objects.get().open
    kept = {"reason": "the team's pipeline"}
    assert admin.post(f"{place}/outlets/{seen['uuid']}/keep", kept).status_code == 302
    following.run()
    assert Departure.objects.get().open is None


def test_what_workloads_read_by_a_trust_of_theirs_is_counted_also_of_tokens_that_are_gone(cast: Cast) -> None:
    root, issuer = cast.principal(cast.root), Issuer()
    trust = make_trust(cast, issuer, role="reader")
    tokens = [sign_in(trust_name=trust.name, jwt=issuer.sign(), address="192.0.2.7").token for _ in range(2)]
    for number, token in enumerate(tokens):
        reveal(
            actor=token_principal(token), secret=keep(cast, f"read/{number}", environment=trust.environment)
        )
    ServiceToken.objects.filter(pk__in=[token.pk for token in tokens]).update(
        expires_at=timezone.now() - timedelta(days=8)
    )
    assert purge_ended_tokens() == 2
    end_person(actor=root, user=cast.alice)
    row = Departure.objects.get()
    [seen] = [each for each in decisions.visible_outlets(root, row) if each.uuid == trust.uuid]
    assert seen.read_count == 2
    # Alice wrote them, and knows them by herself once they are counted.
    assert decisions.mark_reads(actor=root, departure=row, uuid=trust.uuid) == 2


def test_who_may_not_decide_marks_nothing_and_no_reader_by_itself_is_none(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    token, _ = issue(actor=alice, environment=cast.development, role="reader", name="deploy")
    add_recipient(actor=alice, environment=cast.development, email="private@example.org")
    reveal(actor=token_principal(token), secret=keep(cast, "one", actor=cast.erin))
    row = end_person(actor=cast.principal(cast.root), user=cast.alice)
    for actor, uuid, error in (
        (cast.principal(cast.erin), token.uuid, Invisible),
        (system_principal(is_admin=True), token.uuid, Forbidden),
        (cast.principal(cast.root), Recipient.objects.get().uuid, Conflict),
    ):
        with pytest.raises(error):
            decisions.mark_reads(actor=actor, departure=row, uuid=uuid)
    decisions.close_departure(actor=cast.principal(cast.root), departure=row, reason="known")
    with pytest.raises(Conflict, match="closed"):
        decisions.mark_reads(actor=cast.principal(cast.root), departure=row, uuid=token.uuid)
    assert not DepartureValue.objects.exists()


def test_a_token_of_a_scim_client_comes_first(cast: Cast) -> None:
    root = cast.principal(cast.root)
    issue(actor=root, environment=cast.development, role="reader", name="a-deploy")
    issue(actor=root, environment=None, role="admin", name="Administers")
    client = add_client(actor=root, name="Okta", preset="okta")
    issue_client_token(actor=root, client=client)
    kinds = [each.kind for each in outlets_of([cast.root], CustodyGraph())[cast.root.uuid]]
    assert kinds == ["SCIM token", "Service token", "Service token"]


def test_more_outlets_and_more_people_take_no_more_statements(cast: Cast) -> None:
    asked = []
    people = [cast.alice]
    for count in (1, 5):
        for number in range(count):
            add_recipient(
                actor=cast.principal(cast.alice),
                environment=cast.development,
                email=f"{count}.{number}@example.org",
            )
        with CaptureQueriesContext(connection) as queries:
            outlets_of(people, CustodyGraph())
        asked.append(len(queries))
        people = [cast.alice, cast.bob, cast.erin, cast.charlie]
    assert asked[0] == asked[1]


def test_no_page_says_that_nothing_is_known_while_keeper_is_counting(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    said = "The audit log shows no value"
    place, browser = f"/departures/{departure.pk}", signed_in(cast.root)
    page = browser.get(place).content.decode()
    assert "Keeper is counting them." in page
    assert said not in page
    following.run()
    assert said in browser.get(place).content.decode()


def test_a_value_is_kept_with_a_reason_by_who_may_replace_it(cast: Cast) -> None:
    secret = keep(cast, "one")
    reveal(actor=cast.principal(cast.erin), secret=secret)
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    value, alice = DepartureValue.objects.get(), cast.principal(cast.alice)
    for actor in (cast.principal(cast.bob), cast.principal(cast.root)):
        with pytest.raises(Forbidden):
            decisions.keep_value(actor=actor, value=value, reason="test data")
    with pytest.raises(InvalidField):
        decisions.keep_value(actor=alice, value=value, reason=" ")
    decisions.keep_value(actor=alice, value=value, reason="test data")
    assert DepartureValue.objects.get().state == "kept"
    with pytest.raises(Conflict):
        decisions.keep_value(actor=alice, value=value, reason="again")
    DepartureValue.objects.update(reason="forged by SQL")
    assert DepartureValue.objects.get().is_open
    assert departure.open


def test_neither_a_program_nor_the_person_who_is_back_decides_what_stays(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    add_recipient(actor=alice, environment=cast.development, email="private@example.org")
    reveal(actor=alice, secret=keep(cast, "one"))
    token, _ = issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="manager", name="ci"
    )
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    following.run()
    update_user(actor=cast.principal(cast.root), user=User.objects.get(pk=cast.alice.pk), is_active=True)
    back, value = cast.principal(cast.alice), DepartureValue.objects.get()
    assert "manager" in {each.role for each in back.grants}
    for actor in (back, token_principal(token)):
        with pytest.raises(Forbidden, match="Another person"):
            decisions.keep_value(actor=actor, value=value, reason="mine")
        with pytest.raises(Forbidden, match="Another person"):
            decisions.assign_value(actor=actor, value=value, username="erin")
    row, uuid = Departure.objects.get(pk=departure.pk), Recipient.objects.get().uuid
    with pytest.raises(Forbidden, match="Another person"):
        decisions.keep_outlet(actor=back, departure=row, uuid=uuid, reason="mine")


def test_who_looks_at_a_departure_is_on_record_and_sees_nothing_of_deleted_places(
    cast: Cast, events: Events
) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    root = cast.principal(cast.root)
    departure = end_person(actor=root, user=cast.erin)
    following.run()
    (value,) = decisions.read_departure(actor=root, id=departure.pk)[1]
    looked = events(Action.TRAIL_VIEW)[-1]
    assert (looked.actor_name, '"face":"departure"' in looked.details) == ("root", True)
    delete_environment(actor=root, environment=Environment.objects.get(pk=cast.development.pk))
    assert decisions.read_departure(actor=root, id=departure.pk)[1] == []
    with pytest.raises(Invisible):
        decisions.find_value(actor=root, id=value.pk)


def test_a_kept_value_is_open_again_once_they_know_a_later_version(cast: Cast) -> None:
    secret, erin = keep(cast, "one"), cast.principal(cast.erin)
    reveal(actor=erin, secret=secret)
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    decisions.keep_value(
        actor=cast.principal(cast.alice), value=DepartureValue.objects.get(), reason="test data"
    )
    # A request that was let in before the account ended.
    reveal(actor=erin, secret=change(cast, Secret.objects.get(), "new"))
    later(departure, minutes=3)
    following.run()
    value = DepartureValue.objects.get()
    assert (value.numbers, value.state, value.reason) == ([1, 2], "waits", "")


def test_the_second_look_marks_no_value_that_somebody_kept(cast: Cast) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    decisions.keep_value(
        actor=cast.principal(cast.alice), value=DepartureValue.objects.get(), reason="test data"
    )
    Secret.objects.update(rotation_due_at=None)
    later(departure, minutes=3)
    following.run()
    assert Departure.objects.get().settled_at is not None
    assert Secret.objects.get().rotation_due_at is None


def test_a_copy_of_an_installation_and_a_forged_row_mark_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    with monkeypatch.context() as patched:
        patched.setattr(following, "is_active", lambda: False)
        following.run()
    Departure.objects.update(at=timezone.now() - timedelta(days=1))
    following.run()
    assert not DepartureValue.objects.exists()
    assert Secret.objects.get().rotation_due_at is None


def test_an_owner_that_two_people_could_be_is_nobody(cast: Cast) -> None:
    update_user(actor=cast.principal(cast.root), user=cast.charlie, email="alice@example.com")
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one", owner="alice@example.com"))
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    assert DepartureValue.objects.get().assignee is None


def test_who_was_given_a_value_meanwhile_keeps_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="editor")
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one", owner="alice"))
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    genuine = following.may_replace

    def meanwhile(person: User, secret: Secret) -> bool:
        DepartureValue.objects.update(assignee=cast.charlie)
        return genuine(person, secret)

    monkeypatch.setattr(following, "may_replace", meanwhile)
    following.run()
    assert DepartureValue.objects.get().assignee == cast.charlie
    told = Delivery.objects.filter(addressee=cast.alice.uuid, subject__contains="need a new value")
    assert not told.exists()


def test_a_value_that_opens_again_while_its_departure_closes_keeps_it_open(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    Secret.objects.update(live=None)
    later(departure, minutes=3)
    genuine = lock_authentic

    def meanwhile(departure: Departure) -> AbstractContextManager[Departure]:
        # Somebody restores the secret.
        Secret.objects.update(live=True)
        return genuine(departure)

    monkeypatch.setattr(following, "lock_authentic", meanwhile)
    following.run()
    following.run()
    assert Departure.objects.get().open


def test_a_value_is_given_to_nobody_who_is_disabled(cast: Cast) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="editor")
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    update_user(actor=cast.principal(cast.root), user=cast.charlie, is_active=False)
    with pytest.raises(InvalidField):
        decisions.assign_value(
            actor=cast.principal(cast.alice), value=DepartureValue.objects.get(), username="charlie"
        )


def test_a_link_for_a_new_password_ends_with_the_account(cast: Cast) -> None:
    PasswordLink(purpose=LinkPurpose.RESET, user=cast.erin, address=cast.erin.email).save()
    departure = end_person(actor=cast.principal(cast.root), user=User.objects.get(pk=cast.erin.pk))
    assert departure.ended["password_links"] == 1
    assert not PasswordLink.objects.filter(ended_at=None).exists()


def test_a_value_that_was_replaced_meanwhile_is_neither_kept_nor_assigned(cast: Cast) -> None:
    secret = keep(cast, "one")
    reveal(actor=cast.principal(cast.erin), secret=secret)
    end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    value, alice = DepartureValue.objects.get(), cast.principal(cast.alice)
    with pytest.raises(InvalidField):
        decisions.assign_value(actor=alice, value=value, username="bob")
    assert decisions.assign_value(actor=alice, value=value, username="Alice").assignee == cast.alice
    change(cast, Secret.objects.get(), "new")
    with pytest.raises(Conflict):
        decisions.keep_value(actor=alice, value=value, reason="late")
    with pytest.raises(Conflict):
        decisions.assign_value(actor=alice, value=value, username="alice")


def test_an_administrator_closes_a_departure_with_a_reason(cast: Cast) -> None:
    reveal(actor=cast.principal(cast.erin), secret=keep(cast, "one"))
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    with pytest.raises(Forbidden):
        decisions.close_departure(actor=cast.principal(cast.alice), departure=departure, reason="done")
    decisions.close_departure(actor=cast.principal(cast.root), departure=departure, reason="done elsewhere")
    with pytest.raises(Conflict):
        decisions.close_departure(actor=cast.principal(cast.root), departure=departure, reason="again")
    # Ended again: a new one.
    assert end_person(actor=cast.principal(cast.root), user=cast.erin).pk != departure.pk


def test_an_editor_sees_the_values_of_their_places_and_others_see_nothing(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.production, user=cast.erin, role="editor")
    for name, place in (("here", cast.development), ("there", cast.production)):
        reveal(actor=cast.principal(cast.erin), secret=keep(cast, name, environment=place))
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="editor")
    departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
    following.run()
    browser = signed_in(cast.charlie)
    document = browser.get(f"/api/departures/{departure.pk}").json()
    assert [row["name"] for row in document["values"]] == ["here"]
    page = browser.get(f"/departures/{departure.pk}").content.decode()
    assert "here" in page
    assert "there" not in page
    assert browser.get("/api/departures").json()["results"] != []
    reader = signed_in(cast.bob)
    assert reader.get(f"/departures/{departure.pk}").status_code == 404
    assert reader.get("/api/departures").json()["results"] == []
    value = DepartureValue.objects.get(secret__name="there")
    with pytest.raises(Invisible):
        decisions.find_value(actor=cast.principal(cast.charlie), id=value.pk)


def test_the_pages_keep_assign_and_close(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    for name in ("one", "two"):
        reveal(actor=cast.principal(cast.erin), secret=keep(cast, name))
    offboard(actor=cast.principal(cast.root), user=cast.erin)
    one, two = DepartureValue.objects.order_by("secret__name")
    browser, place = signed_in(cast.alice), f"/departures/{one.departure_id}"
    assert browser.post(f"/departures/values/{one.pk}/keep", {"reason": "test data"}).status_code == 302
    assert browser.post(f"/departures/values/{two.pk}/assign", {"username": "alice"}).status_code == 302
    page = browser.get(place).content.decode()
    assert "1 of 2 done" in page
    assert "alice: test data" in page
    admin = signed_in(cast.root)
    assert "erin" in admin.get("/departures").content.decode()
    assert admin.post(f"{place}/close", {"reason": "enough"}).status_code == 302
    assert "closed by root" in " ".join(admin.get(place).content.decode().split())


def test_the_pages_of_fourteen_values_are_quick_and_ask_as_often_as_those_of_two(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    departure, asked = end_person(actor=cast.principal(cast.root), user=cast.erin), []
    for secrets in (2, 12):
        for number in range(secrets):
            known = keep(cast, f"of-{secrets}/{number}")
            DepartureValue.objects.create(departure=departure, secret=known, numbers=[1], counted_number=1)
        for person in (cast.root, cast.alice):
            browser = signed_in(person)
            for path in ("/departures", f"/departures/{departure.pk}"):
                seconds, queries = [], CaptureQueriesContext(connection)
                for _ in range(2):
                    began = time.process_time()
                    with queries:
                        assert browser.get(path).status_code == 200
                    seconds.append(time.process_time() - began)
                assert min(seconds) < 0.3
                asked.append(len(queries))
    assert asked[:4] == asked[4:]


class TestComingBack:
    def test_soon_after_everything_but_sessions_is_as_before(self, cast: Cast) -> None:
        departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
        # A sign-in and a token that were under way when the account ended.
        Session.objects.create(
            session_key="x" * 64, user=cast.erin, session_data="", expire_date=timezone.now() + timedelta(1)
        )
        update_user(actor=cast.principal(cast.root), user=departure.user, is_active=True)
        user = User.objects.get(pk=cast.erin.pk)
        assert (user.is_active, user.suspended_at) == (True, None)
        assert not Session.objects.filter(user=user).exists()
        assert Departure.objects.get().open

    def test_after_a_day_values_wait_for_managers(self, cast: Cast, events: Events) -> None:
        secret = keep(cast, "one")
        departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
        old = timezone.now() - timedelta(hours=25)
        user = User.objects.get(pk=cast.erin.pk)
        user.suspended_at = old
        user.save()
        departure.at = old
        departure.save()
        update_user(actor=cast.principal(cast.root), user=user, is_active=True)
        acting: Principal = cast.principal(User.objects.get(pk=cast.erin.pk))
        assert acting.suspended
        with pytest.raises(Forbidden):
            reveal(actor=acting, secret=secret)
        [event] = events(Action.ACCESS_SUSPEND)
        assert event.object_name == "erin"

    def test_the_page_says_what_is_so(self, cast: Cast, signed_in: Callable[[User], Client]) -> None:
        form = {"email": "", "display_name": "", "role": "user", "is_active": "on"}
        address, root = f"/admin/environments_app/user/{cast.erin.pk}/change/", signed_in(cast.root)
        departure = end_person(actor=cast.principal(cast.root), user=cast.erin)
        before = root.get("/people/erin").content.decode()
        assert "Once it is enabled, it has the access that it had, also to values." in before
        page = root.post(address, form, follow=True).content.decode()
        assert "The access of erin counts again, also to values: it ended less than 24 hours ago." in page
        assert "is suspended" not in page
        end_person(actor=cast.principal(cast.root), user=User.objects.get(pk=cast.erin.pk))
        user = User.objects.get(pk=cast.erin.pk)
        user.suspended_at = old = timezone.now() - timedelta(hours=25)
        user.save()
        row = Departure.objects.get(pk=departure.pk)
        row.at = old
        row.save()
        assert "Once it is enabled, it shows names alone" in root.get("/people/erin").content.decode()
        page = root.post(address, form, follow=True).content.decode()
        assert "The access of erin is suspended: it waits for a manager of development." in page
        assert "counts again" not in page

    def test_a_suspension_from_before_is_not_lifted(self, cast: Cast) -> None:
        root = cast.principal(cast.root)
        accounts.set_password(actor=root, user=cast.erin, password="another-long-passphrase")
        end_person(actor=root, user=User.objects.get(pk=cast.erin.pk))
        update_user(actor=root, user=User.objects.get(pk=cast.erin.pk), is_active=True)
        assert User.objects.get(pk=cast.erin.pk).suspended_at is not None

    @pytest.mark.parametrize("disabled", [False, True])
    def test_what_managers_confirmed_before_the_end_opens_nothing_after_it(
        self, cast: Cast, disabled: bool
    ) -> None:
        secret, root = keep(cast, "one"), cast.principal(cast.root)
        accounts.set_password(actor=root, user=cast.erin, password="another-long-passphrase")
        choose_password(cast.erin)
        erin = User.objects.get(pk=cast.erin.pk)
        confirm_account(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            user=erin,
            since=erin.suspended_at,
        )
        reveal(actor=cast.principal(User.objects.get(pk=erin.pk)), secret=secret)
        if disabled:
            update_user(actor=root, user=erin, is_active=False)
        end_person(actor=root, user=User.objects.get(pk=erin.pk))
        update_user(actor=root, user=User.objects.get(pk=erin.pk), is_active=True)
        with pytest.raises(Forbidden):
            reveal(actor=cast.principal(User.objects.get(pk=erin.pk)), secret=secret)

    def test_the_second_end_of_a_person_who_was_back_has_its_own_time(self, cast: Cast) -> None:
        root = cast.principal(cast.root)
        later(end_person(actor=root, user=cast.erin), days=3)
        update_user(actor=root, user=User.objects.get(pk=cast.erin.pk), is_active=True)
        user = User.objects.get(pk=cast.erin.pk)
        user.suspended_at = None
        user.save()
        end_person(actor=root, user=user)
        departure = Departure.objects.get()
        assert departure.at > timezone.now() - timedelta(minutes=1)
        following.run()
        # Requests that are under way may read yet.
        assert Departure.objects.get().settled_at is None
        update_user(actor=root, user=User.objects.get(pk=cast.erin.pk), is_active=True)
        assert User.objects.get(pk=cast.erin.pk).suspended_at is None

    def test_a_departure_that_was_deleted_by_sql_lifts_nothing(self, cast: Cast) -> None:
        end_person(actor=cast.principal(cast.root), user=cast.erin)
        Departure.objects.all().delete()
        update_user(actor=cast.principal(cast.root), user=cast.erin, is_active=True)
        assert User.objects.get(pk=cast.erin.pk).suspended_at is not None


class TestMoves:
    @pytest.fixture
    def group(self, cast: Cast) -> Group:
        """A group by which charlie reads in development, and a value that charlie read."""
        group = groups.create_group(actor=cast.principal(cast.root), name="payments")
        grant(actor=cast.principal(cast.alice), environment=cast.development, group=group, role="reader")
        groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)
        reveal(actor=cast.principal(cast.charlie), secret=keep(cast, "pay/key"))
        return group

    def lose(self, cast: Cast) -> None:
        member = GroupMember.objects.get(user=cast.charlie)
        groups.remove_from_group(actor=cast.principal(cast.root), member=member)

    @pytest.mark.every_database
    def test_who_leaves_a_group_and_knows_values_there_is_listed_and_nothing_is_marked(
        self, cast: Cast, group: Group, events: Events
    ) -> None:
        self.lose(cast)
        departure = Departure.objects.get()
        following.run()
        assert [row.secret.name for row in DepartureValue.objects.all()] == ["pay/key"]
        assert Secret.objects.get().rotation_due_at is None
        assert Alert.objects.filter(
            about=departure.uuid, open=True, subject__contains="charlie moved"
        ).exists()
        assert not events(Action.USER_OFFBOARD)
        later(departure, minutes=3)
        following.run()
        assert Departure.objects.get().open
        change(cast, Secret.objects.get(), "new")
        following.run()
        assert Departure.objects.get().open is None
        assert [event.object_name for event in events(Action.USER_MOVE)] == ["charlie"]

    def test_a_sign_in_that_takes_a_role_away_lists_the_values_too(self, cast: Cast) -> None:
        SamlGroupMapping.objects.create(group="ops", environment=cast.development, role="reader")
        apply_groups(actor=system_principal(), user=cast.charlie, groups={"ops"})
        reveal(actor=cast.principal(cast.charlie), secret=keep(cast, "pay/key"))
        apply_groups(actor=system_principal(), user=cast.charlie, groups=())
        following.run()
        assert DepartureValue.objects.get().departure.kind == "moved"

    def test_who_may_still_read_the_values_has_nothing_to_follow(self, cast: Cast, group: Group) -> None:
        grant(
            actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="reader"
        )
        self.lose(cast)
        following.run()
        assert not DepartureValue.objects.exists()
        assert not Alert.objects.filter(kind=following.KIND).exists()

    def test_who_gets_the_access_back_closes_it(self, cast: Cast, group: Group) -> None:
        self.lose(cast)
        following.run()
        groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)
        later(Departure.objects.get(), minutes=3)
        following.run()
        assert Departure.objects.get().open is None

    def test_many_moves_are_counted_once_an_hour(
        self, cast: Cast, group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[int] = []
        genuine = following.readable_by

        def count(user: User) -> set[int]:
            counted.append(user.pk)
            return genuine(user)

        monkeypatch.setattr(following, "readable_by", count)
        self.lose(cast)
        following.run()
        for _ in range(3):
            groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)
            self.lose(cast)
            following.run()
        assert len(counted) == 1
        Departure.objects.update(counted_at=timezone.now() - timedelta(hours=2))
        following.run()
        assert len(counted) == 2

    def test_the_person_who_moved_does_not_decide_about_their_values(self, cast: Cast, group: Group) -> None:
        self.lose(cast)
        following.run()
        grant(
            actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="editor"
        )
        with pytest.raises(Forbidden):
            decisions.keep_value(
                actor=cast.principal(cast.charlie), value=DepartureValue.objects.get(), reason="mine"
            )
        assert DepartureValue.objects.get().is_open

    def test_a_forged_row_keeps_nobody_in_a_group(self, cast: Cast, group: Group) -> None:
        self.lose(cast)
        Departure.objects.update(ended_by_name="x", at=timezone.now() - timedelta(days=1))
        groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)
        self.lose(cast)
        assert not GroupMember.objects.exists()
