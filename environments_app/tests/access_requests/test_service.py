"""Somebody asks for access, another person grants it, and it ends by itself."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments import memberships
from environments_app.errors import (
    ApprovalNeeded,
    ApprovalVoid,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    LastManager,
    Tampered,
)
from environments_app.models import (
    AccessRequest,
    Alert,
    Approval,
    Delivery,
    Environment,
    Membership,
    Role,
    User,
)
from environments_app.models.access import Source
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

Events = Callable[..., list[AuditEvent]]


def asked(cast: Cast, who: User, **wanted: Any) -> AccessRequest:
    options: dict[str, Any] = {"environment": "production", "role": "reader", "minutes": 60} | wanted
    return access_requests.submit(actor=cast.principal(who), **options)


def roles(cast: Cast, user: User) -> set[tuple[str, str, str]]:
    return {(grant.environment_name, grant.role, grant.prefix) for grant in cast.principal(user).grants}


def protect(cast: Cast) -> None:
    cast.production.protected = True
    cast.production.save()


def test_what_is_granted_ends_by_itself_at_its_second(cast: Cast, events: Events) -> None:
    request = asked(cast, cast.charlie, prefix="pay/", reason="ticket OPS-7")
    assert roles(cast, cast.charlie) == set()
    granted = decisions.approve(actor=cast.principal(cast.alice), request=request, comment="until six")
    assert roles(cast, cast.charlie) == {("production", "reader", "pay")}
    row = Membership.objects.get(user=cast.charlie)
    assert granted.membership_uuid == row.uuid
    assert row.expires_at is not None
    assert timedelta(minutes=59) < row.expires_at - timezone.now() <= timedelta(minutes=60)
    with mock.patch.object(timezone, "now", return_value=row.expires_at):
        assert user_principal(cast.charlie).grants == ()
        assert decisions.end_expired() == 1
    assert not Membership.objects.filter(user=cast.charlie).exists()
    steps = AuditEvent.objects.filter(action__regex="^(access|member)[.]").order_by("id")
    assert [event.action for event in steps] == [
        "access.ask",
        "member.grant",
        "access.decide",
        "member.expire",
    ]
    assert str(request.uuid) in events("member.grant")[0].details
    assert not list(access_rows())


def test_an_environment_that_is_not_there_answers_the_same(
    cast: Cast, signed_in: Callable[..., Client]
) -> None:
    client = signed_in(cast.charlie)
    seen = []
    for name in ("production", "no-such-place"):
        body = {"environment": name, "role": "reader", "minutes": 60}
        answer = client.post("/api/access-requests", body, content_type="application/json")
        page = client.get(f"/access-requests/{answer.json()['id']}")
        shown = re.sub(r"(access-requests/|Access request )[0-9]+", "", page.content.decode())
        plain = {key: value for key, value in answer.json().items() if key not in {"id", "uuid"}}
        times = {key: plain.pop(key) for key in ("asked_at", "expires_at")}
        assert all(times.values())
        seen.append(
            (answer.status_code, plain | {"environment": "NAME"}, _without_times(shown.replace(name, "NAME")))
        )
    assert seen[0] == seen[1]
    assert seen[0][0] == 202
    # And in the list of what one asked for, once its time is over.
    AccessRequest.objects.update(asked_at=timezone.now())
    assert {row.shown_state for row in access_requests.own_requests(cast.principal(cast.charlie))} == {
        "asked"
    }
    # Nobody else sees the one of no environment.
    nowhere = AccessRequest.objects.get(environment_name="no-such-place")
    for user in (cast.alice, cast.root, cast.bob):
        with pytest.raises(Invisible):
            access_requests.find_request(actor=cast.principal(user), id=nowhere.pk)
        with pytest.raises(Invisible):
            decisions.approve(actor=cast.principal(user), request=nowhere)


def _without_times(page: str) -> str:
    page = re.sub(r"<time[^>]*>[^<]*</time>", "", page)
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"|nonce="[^"]*"|data-ends-in="[0-9]+"', "", page)


def test_nobody_answers_for_themselves_and_no_token_does(
    cast: Cast, bearer: Callable[..., Client], events: Events
) -> None:
    own = asked(cast, cast.alice)
    for act in (decisions.approve, decisions.reject):
        with pytest.raises(Forbidden):
            act(actor=cast.principal(cast.alice), request=own)
    request = asked(cast, cast.charlie)
    token = bearer("manager", cast.production)
    for answer in ("grant", "refuse"):
        path = f"/api/access-requests/{request.pk}/{answer}"
        assert token.post(path, {}, content_type="application/json").status_code == 403
    body = {"environment": "production", "role": "manager"}
    assert token.post("/api/access-requests", body, content_type="application/json").status_code == 403
    for outsider in (cast.charlie, cast.bob):
        with pytest.raises((Forbidden, Invisible)):
            decisions.approve(actor=cast.principal(outsider), request=request)
    assert not Membership.objects.filter(environment=cast.production, user=cast.charlie).exists()
    assert {event.outcome for event in events("member.grant")} == {"denied"}
    assert [event.outcome for event in events("access.ask")].count("denied") == 1


@pytest.mark.parametrize(
    "more",
    [{"role": "editor"}, {"prefix": ""}, {"prefix": "other"}, {"minutes": 61}],
    ids=["role", "all names", "another prefix", "time"],
)
def test_no_more_is_granted_than_was_asked_for(cast: Cast, more: dict[str, Any]) -> None:
    request = asked(cast, cast.charlie, prefix="pay")
    with pytest.raises(InvalidField):
        decisions.approve(actor=cast.principal(cast.alice), request=request, **more)
    less = {"role": "viewer", "prefix": "pay/eu", "minutes": 5}
    decisions.approve(actor=cast.principal(cast.alice), request=request, **less)  # type: ignore[arg-type]
    assert roles(cast, cast.charlie) == {("production", "viewer", "pay/eu")}


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"minutes": 4}, "minutes"),
        ({"minutes": 100 * 60 + 1}, "minutes"),
        ({"role": "admin"}, "role"),
        ({"environment": "No Place"}, "environment"),
        ({"prefix": "a//b"}, "prefix"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_what_cannot_be_asked_for(cast: Cast, settings: Settings, wanted: dict[str, Any], field: str) -> None:
    settings.KEEPER_ACCESS_MAX_HOURS = 100
    with pytest.raises(InvalidField) as refusal:
        asked(cast, cast.charlie, **wanted)
    assert refusal.value.field == field


def test_a_request_is_answered_once_and_ends(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    first = asked(cast, cast.charlie)
    assert asked(cast, cast.charlie).pk == first.pk
    decisions.reject(actor=alice, request=first, comment="use staging")
    for act in (decisions.approve, decisions.reject):
        with pytest.raises(Conflict):
            act(actor=alice, request=first)
    second = asked(cast, cast.charlie)
    with pytest.raises(Forbidden):
        access_requests.withdraw(actor=alice, request=second)
    access_requests.withdraw(actor=cast.principal(cast.charlie), request=second)
    third = asked(cast, cast.charlie)
    with mock.patch.object(timezone, "now", return_value=third.expires_at):
        assert access_requests.expire_due() == 1
        with pytest.raises(Conflict):
            decisions.approve(actor=alice, request=third)
    assert not Alert.objects.filter(open=True).exists()
    assert not list(access_rows())


def test_a_later_grant_takes_the_place_of_an_earlier_one(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    # Beside a grant by hand for the same names, which stays when the time is over.
    memberships.grant(actor=alice, environment=cast.production, user=cast.charlie, role="viewer")
    decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="editor"))
    decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="editor", minutes=120))
    with pytest.raises(Conflict, match="earlier"):
        decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="reader", minutes=120))
    over = timezone.now() + timedelta(minutes=121)
    with mock.patch.object(timezone, "now", return_value=over):
        assert {grant.role for grant in user_principal(cast.charlie).grants} == {Role.VIEWER}
        # Before anything was tidied up.
        decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="reader", minutes=60))
        assert {grant.role for grant in user_principal(cast.charlie).grants} == {Role.VIEWER, Role.READER}
    assert not list(access_rows())


def test_what_somebody_edits_grants_nothing(cast: Cast, sql: Callable[..., None]) -> None:
    request = asked(cast, cast.charlie, role="viewer")
    sql("UPDATE environments_app_accessrequest SET role = 'manager' WHERE id = %s", request.pk)
    stored = AccessRequest.objects.get(pk=request.pk)
    with pytest.raises(Tampered):
        decisions.approve(actor=cast.principal(cast.alice), request=stored)
    # Read before it was edited: it is not made genuine by the answer.
    with pytest.raises(Tampered):
        decisions.approve(actor=cast.principal(cast.alice), request=request)
    assert roles(cast, cast.charlie) == set()
    assert [problem.kind for problem in access_rows()] == ["edited"]


@pytest.mark.parametrize("change", ["is_active = 0", "role = 'admin'"])
def test_who_was_disabled_or_edited_since_they_asked_is_not_let_in(
    cast: Cast, sql: Callable[..., None], change: str
) -> None:
    request = asked(cast, cast.charlie)
    if change == "is_active = 0":
        cast.charlie.is_active = False
        cast.charlie.save()
    else:
        sql(f"UPDATE environments_app_user SET {change} WHERE id = %s", cast.charlie.pk)
    with pytest.raises(Conflict, match="disabled"):
        decisions.approve(actor=cast.principal(cast.alice), request=request)
    assert not Membership.objects.filter(user=cast.charlie).exists()


def test_a_request_that_was_edited_asks_nobody_to_approve_it(cast: Cast, sql: Callable[..., None]) -> None:
    protect(cast)
    request = asked(cast, cast.charlie, role="viewer")
    sql("UPDATE environments_app_accessrequest SET role = 'editor' WHERE id = %s", request.pk)
    stored = AccessRequest.objects.get(pk=request.pk)
    with pytest.raises(Tampered):
        decisions.approve(actor=cast.principal(cast.alice), request=stored)
    assert not Approval.objects.exists()


@pytest.mark.parametrize(
    "kept",
    [{"environment": "development"}, {"user": "bob"}, {"prefix": "other"}, {"source": Source.PEOPLE}],
    ids=lambda kept: next(iter(kept)),
)
def test_a_later_grant_takes_nothing_away_but_the_earlier_one(cast: Cast, kept: dict[str, str]) -> None:
    given = {"environment": "production", "user": "charlie", "prefix": "", "source": Source.REQUEST} | kept
    named = {name: getattr(cast, given[name]) for name in ("environment", "user")}
    Membership(role="reader", prefix=given["prefix"], source=given["source"], **named).save()
    decisions.approve(actor=cast.principal(cast.alice), request=asked(cast, cast.charlie))
    assert Membership.objects.filter(**named, prefix=given["prefix"], source=given["source"]).exists()


@pytest.mark.parametrize("minutes", [60, None])
def test_a_later_grant_is_no_shorter_than_the_earlier_one(cast: Cast, minutes: int | None) -> None:
    alice = cast.principal(cast.alice)
    decisions.approve(actor=alice, request=asked(cast, cast.charlie, minutes=minutes))
    with pytest.raises(Conflict, match="more access"):
        decisions.approve(actor=alice, request=asked(cast, cast.charlie, minutes=30))


def test_an_edited_grant_is_not_withdrawn_as_one_that_is_over(cast: Cast, sql: Callable[..., None]) -> None:
    alice = cast.principal(cast.alice)
    decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="viewer"))
    sql("UPDATE environments_app_membership SET expires_at = '2020-01-01 00:00:00' WHERE source = 'request'")
    with pytest.raises(Conflict, match="more access"):
        decisions.approve(actor=alice, request=asked(cast, cast.charlie))
    assert [problem.kind for problem in access_rows()] == ["edited"]


def test_in_a_protected_environment_a_manager_is_the_second_person_for_reading(cast: Cast) -> None:
    protect(cast)
    request = asked(cast, cast.charlie)
    # An administrator could have made the account that asks.
    assert not decisions.may_answer(cast.principal(cast.root), request)
    with pytest.raises(Forbidden):
        decisions.approve(actor=cast.principal(cast.root), request=request)
    decisions.approve(actor=cast.principal(cast.alice), request=request)
    assert roles(cast, cast.charlie) == {("production", "reader", "")}


def test_there_a_role_that_writes_takes_a_third_person(cast: Cast, events: Events) -> None:
    protect(cast)
    request = asked(cast, cast.root, role="editor")
    with pytest.raises(ApprovalNeeded) as raised:
        decisions.approve(actor=cast.principal(cast.alice), request=request, minutes=30)
    approval = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert not access_requests.own_requests(cast.principal(cast.root)).get().membership_uuid
    # An administrator decides about access, but not about what they asked for themselves.
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.root), approval=approval)
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=approval)
    assert roles(cast, cast.root) == set()
    approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)
    assert roles(cast, cast.root) == {("production", "editor", "")}
    row = Membership.objects.get(user=cast.root, environment=cast.production)
    assert row.expires_at is not None
    assert row.expires_at - timezone.now() <= timedelta(minutes=30)
    assert str(approval.uuid) in events("member.grant")[0].details
    with pytest.raises((ApprovalVoid, Conflict)):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)


def test_an_administrator_who_lets_somebody_in_breaks_the_glass(cast: Cast, events: Events) -> None:
    decisions.approve(actor=cast.principal(cast.root), request=asked(cast, cast.charlie))
    assert [event.actor_name for event in events("member.break_glass")] == ["root"]


def test_managers_are_told_and_who_asked_is_answered(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.charlie.email = "charlie@example.com"
    cast.charlie.save()
    request = asked(cast, cast.charlie, reason="deploy")
    # erin has no address, root is asked only where no manager is; bob manages nothing there.
    assert set(Delivery.objects.values_list("addressee", flat=True)) == {cast.alice.uuid}
    assert access_requests.waiting_for(cast.principal(cast.erin)) == [request]
    decisions.approve(actor=cast.principal(cast.erin), request=request)
    assert (
        Delivery.objects.filter(addressee=cast.charlie.uuid)
        .get()
        .subject.startswith("erin gave you the Reader role until")
    )
    assert not Alert.objects.filter(open=True).exists()
    assert access_requests.waiting_for(cast.principal(cast.erin)) == []


def test_who_asked_is_told_of_a_refusal(cast: Cast) -> None:
    cast.charlie.email = "charlie@example.com"
    cast.charlie.save()
    request = asked(cast, cast.charlie, reason="deploy")
    decisions.reject(actor=cast.principal(cast.alice), request=request, comment="not now")
    told = Delivery.objects.get(addressee=cast.charlie.uuid)
    assert told.subject == "alice rejected your request for access (production)"


def test_a_manager_for_a_while_is_not_the_last_one(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    decisions.approve(actor=alice, request=asked(cast, cast.charlie, role="manager"))
    permanent = Membership.objects.get(environment=cast.production, user=cast.alice)
    with pytest.raises(LastManager):
        memberships.revoke_membership(actor=cast.principal(cast.charlie), membership=permanent)


def test_one_asks_where_one_was_refused(cast: Cast, signed_in: Callable[..., Client]) -> None:
    client = signed_in(cast.charlie)
    missing, hidden = (client.get(f"/environments/{name}") for name in ("nothing", "production"))
    assert missing.status_code == hidden.status_code == 404
    assert b'href="/access-requests/new"' in hidden.content
    assert Client().get("/saml/finish").content.count(b"/access-requests/new") == 0
    form = {"environment": "production", "role": "reader", "minutes": "60", "reason": "look"}
    answer = client.post("/access-requests/new", form, follow=True)
    assert b"Your request for access" in answer.content
    # What is said is true of one that does not exist, too.
    nowhere = client.post("/access-requests/new", {**form, "environment": "nowhere"}, follow=True)
    for told in (answer, nowhere):
        assert b"If the environment exists, its managers will see your request." in told.content
    # As a word: tokens against CSRF have any five letters somewhere.
    assert not re.search(rb"\balice\b", answer.content)
    manager = signed_in(cast.alice)
    request = AccessRequest.objects.get(environment_name="production")
    review = f'href="/access-requests/{request.pk}" aria-label="Review the request of charlie">Review</a>'
    assert review in manager.get("/approvals").content.decode()
    assert review not in client.get("/approvals").content.decode()
    page = manager.get(f"/access-requests/{request.pk}").content.decode()
    assert "<dt>Current access</dt><dd>None</dd>" in page
    narrowed = {"role": "viewer", "prefix": "pay", "minutes": "60", "comment": "names alone"}
    done = manager.post(f"/access-requests/{request.pk}/grant", narrowed, follow=True)
    assert b"has the access now" in done.content
    assert roles(cast, cast.charlie) == {("production", "viewer", "pay")}
    assert b"Granted" in client.get(f"/access-requests/{request.pk}").content
    assert Environment.objects.filter(name="production").exists()
