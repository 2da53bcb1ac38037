"""Who had access at an earlier time: the report of that time equals the one that was made then."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.queries.reports import Scope, sections
from environments_app.authorization.effective_access import NOT_COVERED, NOT_READING
from environments_app.authorization.principals import system_principal
from environments_app.environments import groups, memberships
from environments_app.environments.access_history import end_of_day
from environments_app.environments.program_history import NO_EVENT
from environments_app.environments.service import create_environment
from environments_app.models import Environment, GroupMember, Membership, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.users.accounts import create_user, disable_user, restore_account, update_user

pytestmark = pytest.mark.every_database
NEW = "another-long-passphrase"
COLUMNS = ("Environment", "Person", "Account", "Role", "Path prefix", "Via", "Granted by", "State")


def rows(cast: Cast, as_of: datetime | None = None, *columns: str) -> list[tuple[Any, ...]]:
    section = sections()["access"]
    now = timezone.now()
    scope = Scope(viewer=cast.principal(cast.root), since=now - timedelta(1), until=now, as_of=as_of)
    found = [dict(zip(section.columns, row, strict=True)) for row in section.rows(scope)]
    places = ["staging"] if Environment.objects.filter(name="staging").exists() else ["development"]
    return sorted(
        tuple(row[name] for name in columns or COLUMNS)
        for row in found
        if row["Person"] and row["Environment"] in places
    )


@pytest.fixture
def place(cast: Cast) -> Environment:
    """Return an environment whose grants all have events; those of the cast have none."""
    return create_environment(actor=cast.principal(cast.root), name="staging")


def test_each_report_made_then_is_the_report_as_of_then(cast: Cast, place: Environment) -> None:
    random, root = Random(18), cast.principal(cast.root)
    people = [create_user(actor=root, username=f"person-{number}", password=None) for number in range(4)]
    teams = [groups.create_group(actor=root, name=name) for name in ("red", "blue")]
    made: list[tuple[datetime, list[tuple[Any, ...]]]] = []
    for _ in range(60):
        act = random.randrange(6)
        _act(act, random, root, place, people, teams)
        made.append((timezone.now(), rows(cast)))
    assert len({str(report) for _, report in made}) > 15
    for moment, report in made:
        assert rows(cast, moment) == report


def _act(
    act: int, random: Random, root: Any, place: Environment, people: list[User], teams: list[Group]
) -> None:
    stored = Membership.objects.filter(environment=place).exclude(user__username="root").order_by("pk")
    row = random.choice(list(stored)) if stored else None
    user, team = random.choice(people), random.choice(teams)
    if act == 0 or row is None:
        holder = {"user": user} if random.random() < 0.5 else {"group": team}
        prefix = random.choice(["", "app"])
        if not Membership.objects.filter(environment=place, prefix=prefix, **holder).exists():
            role = random.choice(["viewer", "reader"])
            memberships.grant(actor=root, environment=place, role=role, prefix=prefix, **holder)
    elif act == 1:
        memberships.change_membership(actor=root, membership=row, role=random.choice(["viewer", "reader"]))
    elif act == 2:
        memberships.revoke_membership(actor=root, membership=row)
    elif act == 3:
        member = GroupMember.objects.filter(user=user, group=team).first()
        if member:
            groups.remove_from_group(actor=root, member=member)
        else:
            groups.add_to_group(actor=root, user=user, group=team)
    elif act == 4:
        stored_user = User.objects.get(pk=user.pk)
        update_user(actor=root, user=stored_user, is_active=not stored_user.is_active)
    else:
        role = random.choice([UserRole.USER, UserRole.AUDITOR])
        update_user(actor=root, user=User.objects.get(pk=user.pk), role=role)


def test_the_first_manager_has_no_event_of_a_grant_and_is_known(cast: Cast, place: Environment) -> None:
    root = cast.principal(cast.root)
    moments = [timezone.now()]
    memberships.grant(actor=root, environment=place, user=cast.alice, role="manager")
    moments.append(timezone.now())
    memberships.revoke_membership(
        actor=cast.principal(cast.alice), membership=Membership.objects.get(environment=place, user=cast.root)
    )
    moments.append(timezone.now())
    found = [[row[0] for row in rows(cast, moment, "Person")] for moment in moments]
    assert found == [["root"], ["alice", "root"], ["alice"]]


def test_a_grant_that_had_ended_is_not_in_force(cast: Cast, place: Environment) -> None:
    ends = timezone.now() + timedelta(hours=1)
    root = cast.principal(cast.root)
    memberships.grant(actor=root, environment=place, user=cast.bob, role="reader", expires_at=ends)
    during = rows(cast, timezone.now(), "Person", "State")
    after = rows(cast, ends + timedelta(minutes=1), "Person", "State")
    assert ("bob", "in force") in during
    assert ("bob", "expired") in after


def test_an_account_is_disabled_until_it_is_restored(cast: Cast, place: Environment) -> None:
    root = cast.principal(cast.root)
    memberships.grant(actor=root, environment=place, user=cast.bob, role="reader")
    disable_user(actor=root, user=cast.bob)
    moments = [timezone.now()]
    host = system_principal(is_admin=True)
    restore_account(actor=host, user=User.objects.get(pk=cast.bob.pk), role="user", password=NEW)
    moments.append(timezone.now())
    found = [dict(rows(cast, moment, "Person", "Account"))["bob"] for moment in moments]
    assert found[0] != found[1] == dict(rows(cast, None, "Person", "Account"))["bob"]


def test_a_grant_without_an_event_is_shown_and_named(cast: Cast) -> None:
    found = rows(cast, timezone.now(), "Environment", "Person", "State")
    assert ("development", "bob", NO_EVENT) in found
    assert not rows(cast, timezone.now() - timedelta(days=1))


def test_page_and_api_answer_of_a_day_as_the_report_does(
    cast: Cast,
    signed_in: Callable[[User], Client],
    events: Callable[..., list[AuditEvent]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, yesterday = cast.principal(cast.root), timezone.now() - timedelta(days=1)
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: yesterday)
        place = create_environment(actor=root, name="staging")
        memberships.grant(actor=root, environment=place, user=cast.bob, role="reader", prefix="app")
        memberships.grant(actor=root, environment=place, user=cast.vera, role="viewer")
    for row in Membership.objects.filter(environment=place, user__in=[cast.bob, cast.vera]):
        memberships.revoke_membership(actor=root, membership=row)
    day = yesterday.astimezone(UTC).date()
    then = rows(cast, end_of_day(day), "Person", "Role", "Granted by")
    client = signed_in(cast.root)

    answer = client.get(f"/api/environments/staging/access?as_of={day}").json()
    people = [way for way in answer["ways"] if not way["via"].endswith(" role")]
    assert sorted((way["who"], way["role"], way["granted_by"]) for way in people) == then
    assert {row[0] for row in then} == {"bob", "root", "vera"}
    assert "bob" not in client.get("/api/environments/staging/access").content.decode()
    page = client.get(f"/environments/staging/access?as_of={day}&name=other/key")
    assert f"at the end of {day} (UTC)" in page.content.decode()
    hindrances = {
        way.who: way.hindrances
        for _, ways in page.context["holders"]
        for way in ways
        if not way.via.endswith(" role")
    }
    assert hindrances == {"root": (), "bob": (NOT_COVERED,), "vera": (NOT_READING,)}
    one = client.get(f"/api/environments/staging/access?as_of={day}&person=bob").json()["ways"]
    assert [way["who"] for way in one] == ["bob"]
    view = events(Action.TRAIL_VIEW)[0]
    assert '"face":"access"' in view.details
    assert f'"period":"{day}"' in view.details


def test_a_day_before_the_log_or_after_today_is_refused_in_words(
    cast: Cast, place: Environment, signed_in: Callable[[User], Client]
) -> None:
    client, today = signed_in(cast.root), timezone.now().astimezone(UTC).date()
    for day, sentence in (
        (today - timedelta(days=1), f"The audit log begins on {today}. Choose that day or a later one."),
        (today + timedelta(days=1), "This day is in the future. Choose today or an earlier day."),
    ):
        answer = client.get(f"/api/environments/staging/access?as_of={day}")
        assert (answer.status_code, sentence in answer.content.decode()) == (400, True)
        page = client.get(f"/environments/staging/access?as_of={day}")
        assert (page.status_code, sentence in page.content.decode()) == (422, True)
        assert page.context["holders"] == []
    assert client.get("/environments/staging/access?as_of=yesterday").status_code == 422
    assert client.get("/api/environments/staging/access?as_of=yesterday").status_code == 400


@pytest.mark.parametrize("day", ["2020-01-01", "yesterday", ""])
def test_the_past_is_for_who_may_see_the_present(
    cast: Cast, signed_in: Callable[[User], Client], day: str
) -> None:
    for person, allowed in ((cast.bob, False), (cast.alice, True)):
        client = signed_in(person)
        for address in ("/environments/development/access", "/api/environments/development/access"):
            answer = client.get(f"{address}?as_of={day}" if day else address)
            assert (answer.status_code == 403) != allowed


@pytest.mark.usefixtures("place")
def test_a_grant_without_an_event_counts_as_one_that_could_read(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    client, today = signed_in(cast.alice), timezone.now().astimezone(UTC).date()
    answer = client.get(f"/api/environments/development/access?as_of={today}&person=bob").json()
    assert [(way["reads"], way["hindrances"]) for way in answer["ways"]] == [(True, [NO_EVENT])]
    page = client.get(f"/environments/development/access?as_of={today}&person=bob")
    assert (page.context["readers"], NO_EVENT in page.content.decode()) == (1, True)
