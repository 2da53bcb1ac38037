"""Who sees which requests for access, how many may wait, and which ones end."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.authorization.rows import access_rows
from environments_app.environments.access_history import access_at
from environments_app.errors import Conflict, Forbidden, Invisible
from environments_app.models import AccessRequest, Environment, Membership, User, UserRole
from environments_app.models.access import Source
from environments_app.models.access_request import RequestState
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


def put(cast: Cast, who: User, **fields: Any) -> AccessRequest:
    given: dict[str, Any] = {
        "environment": cast.production,
        "environment_name": "production",
        "requester": who,
        "role": "reader",
        "expires_at": timezone.now() + timedelta(hours=1),
    }
    row = AccessRequest(**given | fields)
    row.save()
    return row


def ids(rows: Any) -> list[int]:
    return sorted(row.pk for row in rows)


def test_who_sees_which_requests(cast: Cast) -> None:
    bobs, ericas = put(cast, cast.bob), put(cast, cast.erin)
    nowhere = put(cast, cast.bob, environment=None, environment_name="nowhere")
    over = put(cast, cast.bob, expires_at=timezone.now() - timedelta(seconds=1))
    closed = put(cast, cast.bob, state=RequestState.REJECTED)
    alice, bob = cast.principal(cast.alice), cast.principal(cast.bob)
    assert ids(access_requests.visible_requests(bob)) == ids([bobs, nowhere, over, closed])
    assert ids(access_requests.own_requests(bob)) == ids([bobs, nowhere, over, closed])
    assert ids(access_requests.visible_requests(alice)) == ids([bobs, ericas, over, closed])
    assert ids(access_requests.visible_requests(cast.principal(cast.charlie))) == []
    assert ids(access_requests.waiting_for(alice)) == ids([bobs, ericas])
    assert access_requests.waiting_for(bob) == []
    own = put(cast, cast.alice)
    assert own.pk not in ids(access_requests.waiting_for(alice))
    AccessRequest.objects.filter(pk=ericas.pk).update(role="manager")
    assert ids(access_requests.waiting_for(alice)) == [bobs.pk]
    # One for no environment is its requester's alone, and so is the answer that there is none.
    assert access_requests.find_request(actor=bob, id=nowhere.pk) == nowhere
    for actor, pk in ((alice, nowhere.pk), (cast.principal(cast.root), nowhere.pk), (bob, 987654)):
        with pytest.raises(Invisible):
            access_requests.find_request(actor=actor, id=pk)


def ask(cast: Cast, who: User, **wanted: Any) -> AccessRequest:
    given: dict[str, Any] = {"environment": "production", "role": "reader", "minutes": 60}
    return access_requests.submit(actor=cast.principal(who), **given | wanted)


def test_an_equal_request_is_the_same_and_each_difference_another(cast: Cast) -> None:
    first = ask(cast, cast.bob)
    assert ask(cast, cast.bob).pk == first.pk
    others = [
        ask(cast, cast.erin),
        ask(cast, cast.bob, role="editor"),
        ask(cast, cast.bob, prefix="part"),
        ask(cast, cast.bob, minutes=61),
        ask(cast, cast.bob, environment="nowhere"),
    ]
    assert len({first.pk, *ids(others)}) == 6
    first.expires_at = timezone.now() - timedelta(seconds=1)
    first.save()
    again = ask(cast, cast.bob)
    assert again.pk not in {first.pk, *ids(others)}
    access_requests.withdraw(actor=cast.principal(cast.bob), request=again)
    assert ask(cast, cast.bob).pk != again.pk


def test_so_many_wait_and_no_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_requests, "_MAX_OPEN", 2)
    first = ask(cast, cast.bob, minutes=11)
    ask(cast, cast.bob, minutes=12)
    ask(cast, cast.erin, minutes=13)
    with pytest.raises(Conflict, match="2 of your requests"):
        ask(cast, cast.bob, minutes=14)
    access_requests.withdraw(actor=cast.principal(cast.bob), request=first)
    last = ask(cast, cast.bob, minutes=14)
    last.expires_at = timezone.now() - timedelta(seconds=1)
    last.save()
    ask(cast, cast.bob, minutes=15)
    assert AccessRequest.objects.filter(requester=cast.bob).count() == 4


def test_what_is_unanswered_expires_once(cast: Cast) -> None:
    due = put(cast, cast.bob, expires_at=timezone.now() - timedelta(seconds=1))
    put(cast, cast.bob)
    put(cast, cast.bob, state=RequestState.REJECTED, expires_at=timezone.now() - timedelta(seconds=1))
    assert (access_requests.expire_due(), access_requests.expire_due()) == (1, 0)
    assert AccessRequest.objects.get(state=RequestState.EXPIRED).pk == due.pk
    assert AuditEvent.objects.filter(action=Action.ACCESS_EXPIRE).count() == 1


def test_only_the_requester_withdraws_and_an_auditor_asks_nothing(cast: Cast) -> None:
    request = ask(cast, cast.bob)
    for other in (cast.alice, cast.erin, cast.root):
        with pytest.raises(Forbidden):
            access_requests.withdraw(actor=cast.principal(other), request=request)
    assert AccessRequest.objects.get(pk=request.pk).state == RequestState.PENDING
    over = ask(cast, cast.bob, role="editor")
    decisions.reject(actor=cast.principal(cast.alice), request=over)
    with pytest.raises(Conflict):
        access_requests.withdraw(actor=cast.principal(cast.bob), request=over)
    auditor = User.objects.create_user("ada", role=UserRole.AUDITOR)
    with pytest.raises(Forbidden, match="Auditors"):
        ask(cast, auditor)


def test_access_that_was_asked_for_ends_and_nothing_else_does(cast: Cast) -> None:
    past, future = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(hours=1)

    def member(place: Environment, user: User, **fields: Any) -> Membership:
        row = Membership(environment=place, user=user, role="reader", **fields)
        row.save()
        return row

    over = member(cast.production, cast.bob, source=Source.REQUEST, expires_at=past)
    kept = [
        member(cast.production, cast.vera, source=Source.REQUEST, expires_at=future),
        member(cast.production, cast.erin, expires_at=past),
        member(cast.production, cast.charlie, source=Source.REQUEST),
    ]
    assert (decisions.end_expired(), decisions.end_expired()) == (1, 0)
    left = set(Membership.objects.values_list("pk", flat=True))
    assert over.pk not in left
    assert {row.pk for row in kept} <= left
    assert [problem.object for problem in access_rows() if str(over.uuid) in problem.object] == []
    assert "bob" not in {way.who for way in access_at(cast.production, timezone.now())}


def test_access_that_was_extended_at_the_moment_of_its_end_stays(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, future = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(hours=1)
    rows = [
        Membership(
            environment=cast.production, user=user, role="reader", source=Source.REQUEST, expires_at=past
        )
        for user in (cast.bob, cast.vera)
    ]
    for row in rows:
        row.save()
    read = verified_rows

    def read_before_one_is_extended(found: Any) -> list[Membership]:
        over = read(found)
        stored = Membership.objects.get(pk=rows[0].pk)
        stored.expires_at = future
        stored.save()
        return over

    monkeypatch.setattr(decisions, "verified_rows", read_before_one_is_extended)
    decisions.end_expired()
    left = Membership.objects.filter(pk__in=[row.pk for row in rows])
    assert [(row.pk, row.expires_at) for row in left] == [(rows[0].pk, future)]
    assert AuditEvent.objects.filter(action=Action.MEMBER_EXPIRE).count() == 1
