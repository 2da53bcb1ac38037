"""When somebody leaves: what they know is found, wherever it was seen, and queued for rotation."""

import json
import re
from collections.abc import Callable, Collection
from datetime import timedelta
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.queries.reports import Scope
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import token_principal
from environments_app.environments.memberships import grant
from environments_app.environments.report_sections import SECTIONS
from environments_app.errors import ConfirmationNeeded, Conflict, Forbidden
from environments_app.models import Session, User
from environments_app.tests.cast import Cast, choose_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import issue
from environments_app.trusts.service import change as change_trust
from environments_app.users.accounts import create_user, update_user
from environments_app.users.suspensions import confirm_account
from secrets_app.departures import following
from secrets_app.departures.ending import Offboarded, offboard
from secrets_app.exposure import Known, offboarding_report
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.services.lifecycle import delete
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.tests.kept import change, keep
from sync_app.models import RotationPolicy

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def known(cast: Cast) -> dict[str, Secret]:
    """What erin, who leaves, saw in every way that there is."""
    kept = {
        name: keep(cast, name) for name in ("alone", "along", "replaced", "before", "gone", "never", "lost")
    }
    erin = cast.principal(cast.erin)
    for name in ("alone", "replaced", "before", "gone"):
        reveal(actor=erin, secret=kept[name])
    for value in ("second", "third"):
        change(cast, Secret.objects.get(pk=kept["replaced"].pk), value)
    change(cast, Secret.objects.get(pk=kept["before"].pk), "second")
    delete(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=kept["gone"].pk))
    kept["written"] = write.update(actor=erin, secret=keep(cast, "written"), value="by erin")
    return kept


def names(found: list[Known]) -> list[str]:
    return [each.secret.name for each in found]


@pytest.mark.every_database
def test_it_finds_what_they_saw_and_what_of_it_stands(cast: Cast, known: dict[str, Secret]) -> None:
    reveal_environment(actor=cast.principal(cast.erin), environment=cast.development, prefix="along")
    # Who else read, or failed to, is no matter of erin's.
    reveal(actor=cast.principal(cast.bob), secret=known["never"])
    found = offboarding_report(actor=cast.principal(cast.root), user=cast.erin)
    assert names(list(found.known)) == ["alone", "along", "before", "gone", "replaced", "written"]
    assert names(found.standing) == ["alone", "along", "before", "written"]
    assert {each.secret.name: each.numbers for each in found.known}["written"] == (2,)
    assert {secret.name for secret in found.could_read} == set(known) - {"gone"}


def test_a_version_that_a_rollback_made_of_one_they_know_is_known(cast: Cast) -> None:
    alice, erin = cast.principal(cast.alice), cast.principal(cast.erin)
    for name in ("again", "other"):
        reveal(actor=erin if name == "again" else alice, secret=keep(cast, name))
        change(cast, Secret.objects.get(name=name), "second")
    reveal(actor=erin, secret=Secret.objects.get(name="other"))
    # That of "again" is made of what erin read, twice over; that of "other" is not.
    for name, number in (("again", 1), ("other", 1), ("again", 3), ("other", 3)):
        write.rollback(actor=alice, secret=Secret.objects.get(name=name), number=number)
    found = offboarding_report(actor=cast.principal(cast.root), user=cast.erin)
    assert {each.secret.name: (each.numbers, each.stands) for each in found.known} == {
        "again": ((1, 3, 4), True),
        "other": ((2,), False),
    }


@pytest.mark.every_database
def test_one_act_disables_and_queues(
    cast: Cast, known: dict[str, Secret], signed_in: Callable[[User], Client], events: Events
) -> None:
    browser = signed_in(cast.erin)
    assert offboard(actor=cast.principal(cast.root), user=cast.erin) == Offboarded(marked=3, queued=0)
    assert not User.objects.get(pk=cast.erin.pk).is_active
    assert not Session.objects.filter(user=cast.erin).exists()
    assert browser.get("/api/whoami").status_code == 401
    due = Secret.objects.filter(rotation_due_at__isnull=False)
    assert sorted(due.values_list("name", flat=True)) == ["alone", "before", "written"]
    assert all(secret.is_authentic() for secret in due)
    told = {event.stream.partition(":")[0]: event.details for event in events(Action.USER_OFFBOARD)}
    assert json.loads(told["environment"])["due"] == ["alone", "before", "written"]
    assert '"marked":3' in told["system"]
    # What they could read is still to be seen, and a new value takes the mark away.
    assert offboarding_report(actor=cast.principal(cast.root), user=cast.erin).could_read
    change(cast, due.get(name="alone"), "new")
    assert Secret.objects.get(name="alone").rotation_due_at is None


def test_what_they_know_is_handed_to_whoever_rotates(
    cast: Cast, known: dict[str, Secret], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[UUID]] = []

    def queue(uuids: Collection[UUID]) -> set[UUID]:
        asked.append(set(uuids))
        return {known["alone"].uuid, known["written"].uuid}

    monkeypatch.setattr(following, "_queues", lambda: (queue,))
    assert offboard(actor=cast.principal(cast.root), user=cast.erin).queued == 2
    assert asked == [{known[name].uuid for name in ("alone", "before", "written")}]


def test_the_queue_of_the_settings_brings_policies_forward(cast: Cast) -> None:
    (queue,) = following._queues()
    secret = keep(cast, "pay/db")
    assert queue([secret.uuid]) == set()
    assert not RotationPolicy.objects.exists()


def test_it_is_for_administrators_who_signed_in_of_late(cast: Cast) -> None:
    for act in (offboarding_report, offboard):
        with pytest.raises(Forbidden):
            act(actor=cast.principal(cast.alice), user=cast.erin)
    root = cast.principal(cast.root)
    with pytest.raises(ConfirmationNeeded):
        offboard(actor=Principal(**{**vars(root), "confirmed": False}), user=cast.erin)
    with pytest.raises(Conflict):
        offboard(actor=root, user=cast.root)
    assert User.objects.get(pk=cast.erin.pk).is_active


def test_the_page_and_the_api_show_and_do_it(
    cast: Cast, known: dict[str, Secret], signed_in: Callable[[User], Client]
) -> None:
    issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="of-alice")
    browser = signed_in(cast.root)
    assert "of-alice" in browser.get("/people/alice/offboarding").content.decode()
    page = browser.get("/people/erin/offboarding").content.decode()
    assert page.count("<span>still valid</span>") == 3
    assert "<span>rotated</span>" in page
    document = browser.get("/api/users/erin/offboarding").json()
    views = AuditEvent.objects.filter(action=Action.TRAIL_VIEW, actor_name="root").order_by("sequence")
    assert ["user alice" in views[0].details, "user erin" in views[1].details] == [True, True]
    assert {row["name"] for row in document["known"] if row["stands"]} == {"alone", "before", "written"}
    assert "Can read" in page
    assert "Disable and mark for rotation" in page
    assert browser.post("/people/erin/offboard").status_code == 302
    page = browser.get("/people/erin/offboarding").content.decode()
    assert "Could read before being disabled" in page
    assert 'action="/people/erin/offboard"' not in page
    members = signed_in(cast.alice).get("/environments/development").content.decode()
    assert re.search(r">erin <[^\n]*\bdisabled\b[^\n]*</th>", members)
    again = browser.post("/api/users/erin/offboarding").json()
    assert again == {"marked": 3, "queued": 0}
    assert browser.get("/people/nobody/offboarding").status_code == 404


def test_it_lists_every_hat_of_theirs(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    puppet = create_user(actor=root, username="puppet", password="a-temporary-passphrase")
    choose_password(puppet)
    grant(actor=alice, environment=cast.production, user=puppet, role="manager")
    trust = make_trust(cast, Issuer(), role="reader")
    change_trust(actor=cast.principal(puppet), trust=trust, claims={"sub": "mine"})
    first, _ = issue(actor=cast.principal(puppet), environment=cast.production, role="manager", name="first")
    issue(actor=token_principal(first), environment=cast.production, role="reader", name="second")
    found = signed_in(cast.root).get("/api/users/root/offboarding").json()
    assert found["accounts"] == ["puppet"]
    assert [each["name"] for each in found["trusts"]] == ["ci"]
    assert [each["name"] for each in found["tokens"]] == ["first", "second"]
    page = signed_in(cast.root).get(reverse("offboarding", args=["root"])).content.decode()
    assert "Accounts they could use" in page
    [section] = [each for each in SECTIONS if each.key == "hands"]
    rows = list(
        section.rows(Scope(viewer=root, since=timezone.now() - timedelta(days=1), until=timezone.now()))
    )
    assert ("production", "person", "puppet", "root") in rows
    assert ("production", "trust", "ci", "alice, puppet, root") in rows
    assert ("production", "token", "second", "puppet, root") in rows
    # Once another manager has confirmed the account, the report has it no more; what it made stays root's.
    confirm_account(actor=alice, environment=cast.production, user=puppet, since=None)
    rows = list(
        section.rows(Scope(viewer=root, since=timezone.now() - timedelta(days=1), until=timezone.now()))
    )
    assert ("production", "person", "puppet", "root") not in rows
    assert ("production", "token", "second", "puppet, root") in rows


def test_the_report_says_since_when_and_by_whom_the_account_is_disabled(
    cast: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    root = cast.principal(cast.root)
    helper = create_user(actor=root, username="helper", password=None, role="admin")
    assert offboarding_report(actor=root, user=cast.erin).disabled is None
    update_user(actor=root, user=cast.erin, is_active=False)
    update_user(actor=root, user=User.objects.get(pk=cast.erin.pk), is_active=True)
    update_user(actor=cast.principal(helper), user=User.objects.get(pk=cast.erin.pk), is_active=False)
    event = events(Action.USER_CHANGE)[-1]
    # That it is offboarded afterwards is no other end.
    offboard(actor=root, user=User.objects.get(pk=cast.erin.pk))
    erin = User.objects.get(pk=cast.erin.pk)
    found = offboarding_report(actor=root, user=erin).disabled
    assert found == (event.at, "helper")
    answer = signed_in(cast.root).get("/api/users/erin/offboarding").json()
    assert answer["disabled_by"] == "helper"
    assert parse_datetime(answer["disabled_at"]) == event.at
    assert "by helper" in signed_in(cast.root).get("/people/erin/offboarding").content.decode()
    section = next(section for section in SECTIONS if section.key == "offboarding")
    now = timezone.now()
    (row,) = section.rows(Scope(viewer=root, since=now - timedelta(days=1), until=now))
    told = dict(zip(section.columns, row, strict=True))
    assert (told["Username"], told["Disabled"], told["Disabled by"]) == ("erin", event.at, "helper")
