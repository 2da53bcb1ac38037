"""Who sees which requests where: each list differs from the next by one thing about a request."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import history
from environments_app.approvals import service as approvals
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.models import (
    Approval,
    ApprovalEntry,
    ApprovalState,
    Environment,
    Membership,
    Role,
    User,
)
from environments_app.models.approval import EntryKind
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
OBJECT = UUID(int=7)
LONG_AGO = timedelta(days=8)


def put(user: User, environment: Environment, **fields: Any) -> Approval:
    """Store a request for the end of a protection, as somebody made it."""
    given: dict[str, Any] = {
        "environment": environment,
        "action": Action.ENVIRONMENT_UPDATE,
        "object_kind": "environment",
        "object_uuid": OBJECT,
        "object_name": environment.name,
        "digest": b"x" * 48,
        "requester_kind": ActorKind.USER,
        "requester_uuid": user.uuid,
        "requester_name": user.username,
        "expires_at": timezone.now() + timedelta(hours=1),
    }
    row = Approval(**given | fields)
    row.save()
    return row


def write_on(approval: Approval, author: User, kind: EntryKind = EntryKind.COMMENT) -> ApprovalEntry:
    entry = ApprovalEntry(
        approval=approval, kind=kind, author_uuid=author.uuid, author_name=author.username, text="x"
    )
    entry.save()
    return entry


@pytest.fixture
def place(cast: Cast) -> Environment:
    """Return production, protected, which alice and erin manage."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    return cast.production


def over(**fields: Any) -> dict[str, Any]:
    return {"expires_at": timezone.now() - timedelta(seconds=1), **fields}


def ids(rows: Any) -> list[int]:
    return sorted(row.pk for row in rows)


def test_one_sees_ones_own_and_those_of_what_one_manages(cast: Cast, place: Environment) -> None:
    token, _ = issue(actor=system_principal(is_admin=True), environment=place, role="reader", name="ci")
    bobs = put(cast.bob, place)
    erins = put(cast.erin, cast.development)
    tokens = put(cast.bob, place, requester_kind=ActorKind.TOKEN, requester_uuid=token.uuid)
    # A token that has the uuid of a person is not that person.
    disguised = put(cast.bob, place, requester_kind=ActorKind.TOKEN)
    shown = {
        user.username: ids(approvals.visible_approvals(cast.principal(user)))
        for user in (cast.bob, cast.charlie, cast.erin, cast.alice)
    }
    of_place = ids([bobs, tokens, disguised])
    assert shown == {
        "bob": [bobs.pk],
        "charlie": [],
        "erin": sorted([*of_place, erins.pk]),
        "alice": sorted([*of_place, erins.pk]),
    }
    assert ids(approvals.visible_approvals(token_principal(token))) == [tokens.pk]


def test_what_is_pending_about_an_object(cast: Cast, place: Environment) -> None:
    wanted = put(cast.bob, place)
    put(cast.bob, place, object_uuid=uuid4())
    put(cast.bob, place, **over())
    for state in ApprovalState:
        if state != ApprovalState.PENDING:
            put(cast.bob, place, state=state)
    erin = cast.principal(cast.erin)
    assert ids(approvals.pending_about(erin, OBJECT)) == [wanted.pk]
    assert approvals.pending_about(cast.principal(cast.charlie), OBJECT) == []
    for _ in range(4):
        put(cast.bob, place)
    assert len(approvals.pending_about(erin, OBJECT)) == 3


def test_what_waits_for_a_person(cast: Cast, place: Environment) -> None:
    wanted = put(cast.bob, place)
    put(cast.erin, place)
    put(cast.bob, place, **over())
    put(cast.bob, cast.development)
    for state in ApprovalState:
        if state != ApprovalState.PENDING:
            put(cast.bob, place, state=state)
    edited = put(cast.bob, place)
    Approval.objects.filter(pk=edited.pk).update(object_name="something else")
    assert ids(approvals.waiting_for(cast.principal(cast.erin))) == [wanted.pk]
    assert approvals.waiting_for(cast.principal(cast.bob)) == []


def test_what_became_of_ones_own_requests(cast: Cast, place: Environment) -> None:
    now, long_ago = timezone.now(), timezone.now() - LONG_AGO
    to_apply = put(cast.bob, place, state=ApprovalState.APPROVED, decided_at=long_ago)
    refused = put(cast.bob, place, state=ApprovalState.REJECTED, decided_at=now, **over())
    applied = put(cast.bob, place, state=ApprovalState.EXECUTED, decided_at=now, **over())
    for fields in (
        {"state": ApprovalState.APPROVED, "decided_at": now, **over()},
        {"state": ApprovalState.REJECTED, "decided_at": long_ago},
        {"state": ApprovalState.EXECUTED, "decided_at": long_ago},
        # Who applied it themselves knows.
        {"state": ApprovalState.EXECUTED, "decided_at": now, "held": "held"},
        {"state": ApprovalState.WITHDRAWN, "decided_at": now},
        {"state": ApprovalState.PENDING},
        {"state": ApprovalState.APPROVED, "decided_at": now, "requester_uuid": cast.vera.uuid},
        {"state": ApprovalState.APPROVED, "decided_at": now, "requester_kind": ActorKind.TOKEN},
    ):
        put(cast.bob, place, **fields)
    found = approvals.resolved_for(cast.principal(cast.bob))
    assert ids(found) == ids([to_apply, refused, applied])
    assert approvals.in_state(found, ApprovalState.REJECTED) == [refused]


def test_whose_comments_one_reads(cast: Cast, place: Environment) -> None:
    erin, bob = cast.principal(cast.erin), cast.principal(cast.bob)
    own, waiting, written_on, closed, late = (put(cast.bob, place) for _ in range(5))
    strangers = put(cast.vera, place)
    wanted = write_on(own, cast.erin)
    for request in (waiting, written_on, closed, late, strangers):
        write_on(request, cast.vera)
    write_on(own, cast.bob)
    write_on(own, cast.erin, EntryKind.APPROVAL)
    for request, fields in ((closed, {"state": ApprovalState.REJECTED}), (late, over())):
        for name, value in fields.items():
            setattr(request, name, value)
        request.save()
    on_own = [entry for entry in history.comments_for(bob, []) if entry.approval_id == own.pk]
    assert on_own == [wanted]
    assert {entry.approval_id for entry in history.comments_for(bob, [])} == {
        own.pk,
        waiting.pk,
        written_on.pk,
    }
    # What waits for her, and what she has written on where she still sees it.
    assert {entry.approval_id for entry in history.comments_for(erin, [waiting])} == {own.pk, waiting.pk}
    take_away(Membership.objects.filter(environment=place, user=cast.erin))
    assert not history.comments_for(cast.principal(cast.erin), []).exists()
    disguised = put(cast.charlie, place, requester_kind=ActorKind.TOKEN)
    write_on(disguised, cast.vera)
    assert not history.comments_for(cast.principal(cast.charlie), []).exists()


def test_who_wrote_is_told_of_the_next_comment_while_they_see_it(cast: Cast, place: Environment) -> None:
    request, other = put(cast.bob, place), put(cast.bob, place)
    write_on(request, cast.erin)
    write_on(other, cast.vera)
    assert history._concerned(request) == {cast.bob.uuid, cast.erin.uuid, cast.alice.uuid}
    take_away(Membership.objects.filter(environment=place, user=cast.erin))
    assert history._concerned(request) == {cast.bob.uuid, cast.alice.uuid}


def test_what_is_due_expires_once_and_destroys_what_was_kept(cast: Cast, place: Environment) -> None:
    due = [put(cast.bob, place, **over()), put(cast.bob, place, state=ApprovalState.APPROVED, **over())]
    put(cast.bob, place)
    put(cast.bob, place, state=ApprovalState.REJECTED, **over())
    assert (approvals.expire_due(), approvals.expire_due()) == (2, 0)
    expired = Approval.objects.filter(state=ApprovalState.EXPIRED)
    assert ids(expired) == ids(due)
    assert all(row.finished_at and row.is_authentic() for row in expired)
    assert AuditEvent.objects.filter(action=Action.APPROVAL_EXPIRE).count() == 2


def test_what_was_applied_at_the_moment_of_its_end_is_not_expired(
    cast: Cast, place: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, left = (put(cast.bob, place, state=ApprovalState.APPROVED, **over()) for _ in range(2))
    read = verified_rows

    def read_before_it_is_applied(rows: Any) -> list[Approval]:
        found = read(rows)
        stored = Approval.objects.get(pk=applied.pk)
        stored.state = ApprovalState.EXECUTED
        stored.save()
        return found

    monkeypatch.setattr(approvals, "verified_rows", read_before_it_is_applied)
    approvals.expire_due()
    states = dict(Approval.objects.values_list("pk", "state"))
    assert states == {applied.pk: ApprovalState.EXECUTED, left.pk: ApprovalState.EXPIRED}
    events = AuditEvent.objects.filter(action=Action.APPROVAL_EXPIRE)
    assert [event.object_uuid for event in events] == [left.uuid]


def test_a_failure_is_noted_on_its_own_request(cast: Cast, place: Environment) -> None:
    first, second = (put(cast.bob, place, state=ApprovalState.APPROVED) for _ in range(2))
    assert approvals.note_failure(first, "x" * 400) == "x" * 300
    assert approvals.note_failure(first, "") == "It could not be applied."
    rows = dict(Approval.objects.values_list("pk", "failure"))
    assert rows == {first.pk: "It could not be applied.", second.pk: ""}


def test_the_admin_shows_that_somebody_wrote_about_a_request_and_not_what(
    cast: Cast, place: Environment, signed_in: Callable[[User], Client]
) -> None:
    """It is for those who decide."""
    entry = write_on(put(cast.alice, place), cast.erin)
    entry.text = "for the eyes of those who decide"
    entry.save()
    page = signed_in(cast.root).get(f"/admin/environments_app/approvalentry/{entry.pk}/change/")
    assert page.status_code == 200
    assert "erin" in page.content.decode()
    assert entry.text not in page.content.decode()
