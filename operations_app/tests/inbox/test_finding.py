"""What people are told: what they may see and no more, new or seen, by a constant number of statements."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.environments import memberships
from environments_app.models import AccessRequest, Environment, Membership, Role, User
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast
from operations_app.inbox.items import SHOWN, sections
from secrets_app.models import Secret
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]


def told(cast: Cast, user: User) -> dict[str, list[str]]:
    found = sections(cast.principal(user))
    return {str(section.kind): [notice.title for notice in section.notices] for section in found}


def alert(kind: str, environment: Environment | None, subject: str) -> None:
    raise_alert(kind=kind, about=uuid4(), environment=environment, subject=subject, lines=["a/b: no answer"])


def test_newer_alerts_push_no_emergency_read_out(cast: Cast) -> None:
    alert("emergency", cast.development, "read alone")
    for number in range(SHOWN + 1):
        alert("sync.failed", cast.development, f"target {number}")
    assert told(cast, cast.alice)["failures"][:2] == ["read alone", f"target {SHOWN}"]


@pytest.fixture
def dated(cast: Cast) -> None:
    now = timezone.now()
    for name, columns in {
        "pay/soon": {"expires_at": now + timedelta(days=3)},
        "pay/later": {"expires_at": now + timedelta(days=90)},
        "web/over": {"expires_at": now - timedelta(days=1)},
        "web/due": {"rotation_due_at": now - timedelta(hours=1)},
    }.items():
        Secret.objects.filter(pk=keep(cast, name).pk).update(**columns)


def test_people_are_told_of_secrets_they_may_see_alone(cast: Cast, dated: None) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.READER, prefix="pay")
    assert told(cast, cast.vera) == {"expiry": ["web/over", "pay/soon"], "rotation": ["web/due"]}
    assert told(cast, cast.charlie) == {"expiry": ["pay/soon"]}
    cast.vera.is_active = False
    cast.vera.save()
    assert told(cast, cast.vera) == {}


def test_a_row_that_keeper_did_not_write_is_no_news(cast: Cast, dated: None) -> None:
    Secret.objects.filter(name__in=["web/over", "web/due"]).update(name=Concat(Value("forged/"), "name"))
    assert told(cast, cast.vera) == {"expiry": ["pay/soon"]}


def test_alerts_are_for_those_whom_they_concern(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER, prefix="pay")
    alert("sync.failed", cast.development, "vault: not delivered")
    alert("tokens-unused", cast.development, "tokens that are not used")
    alert("sync.failed", cast.production, "aws: not delivered")
    alert("trail", None, "the trail is not signed")
    everything = {
        "vault: not delivered",
        "tokens that are not used",
        "aws: not delivered",
        "the trail is not signed",
    }
    seen = {
        user.username: set(told(cast, user).get("failures", []))
        for user in vars(cast).values()
        if isinstance(user, User)
    }
    assert seen == {
        "root": everything,
        "alice": everything - {"the trail is not signed"},
        "erin": {"vault: not delivered"},
        "bob": {"vault: not delivered"},
        "vera": {"vault: not delivered"},
        # A grant for some names does not reach what lines may name of others.
        "charlie": set(),
    }


def test_the_bell_counts_what_came_since_one_looked(cast: Cast, dated: None, signed_in: SignedIn) -> None:
    person = signed_in(cast.vera)

    def bell() -> int:
        return int(person.get("/profile").context["frame"].notices)

    assert bell() == 3
    page = person.get("/notifications")
    person.post("/notifications/seen", {"until": page.context["looked_at"]})
    assert bell() == 0
    # What becomes news after the page was made stays new, however late the button is pressed.
    alert("sync.failed", cast.development, "vault: not delivered")
    Secret.objects.filter(name="pay/later").update(expires_at=timezone.now() + timedelta(days=30))
    person.post("/notifications/seen", {"until": page.context["looked_at"]})
    assert bell() == 2
    # Nobody sees what is yet to come, nor takes back what was seen.
    person.post("/notifications/seen", {"until": (timezone.now() + timedelta(days=900)).isoformat()})
    person.post("/notifications/seen", {"until": (timezone.now() - timedelta(days=900)).isoformat()})
    person.post("/notifications/seen", {"until": "yesterday"})
    assert bell() == 0
    Secret.objects.filter(name="pay/later").update(rotation_due_at=timezone.now())
    assert bell() == 1
    assert person.get("/notifications").context["has_new"]


def test_the_page_and_the_bell_cost_the_same_for_many(cast: Cast, dated: None, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)
    person.get("/notifications")

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            person.get("/notifications")
        return len(captured)

    few = statements()
    for number in range(SHOWN + 5):
        keep(cast, f"many/{number}", expires_at=timezone.now() + timedelta(days=2))
        alert("sync.failed", cast.development, f"target {number}")
    assert statements() == few
    (expiry,) = [s for s in sections(cast.principal(cast.alice)) if s.kind == "expiry"]
    assert (len(expiry.notices), expiry.more) == (SHOWN, True)


def ask_for_access(cast: Cast, *, minutes: int | None = None) -> AccessRequest:
    return access_requests.submit(
        actor=cast.principal(cast.charlie), environment="development", role="reader", minutes=minutes
    )


def test_a_request_is_listed_once(cast: Cast) -> None:
    ask_for_access(cast)
    assert told(cast, cast.alice) == {"approvals": ["charlie asks for access as Reader"]}
    assert told(cast, cast.root) == {"approvals": ["charlie asks for access as Reader"]}


def test_the_answer_to_a_request_for_access_is_news_to_who_asked(cast: Cast, signed_in: SignedIn) -> None:
    request = ask_for_access(cast, minutes=60)
    charlie = signed_in(cast.charlie)
    assert charlie.get("/profile").context["frame"].notices == 0
    granted = decisions.approve(actor=cast.principal(cast.alice), request=request, comment="until noon")
    (section,) = sections(cast.principal(cast.charlie))
    (notice,) = section.notices
    membership = Membership.objects.get(user=cast.charlie)
    assert membership.uuid == granted.membership_uuid
    assert notice.title == f"alice gave you the Reader role until {membership.expires_at:%Y-%m-%d %H:%M} UTC"
    assert (notice.url, notice.lines) == ("/secrets?environment=development", ["Comment: until noon"])
    assert charlie.get("/profile").context["frame"].notices == 1
    memberships.withdraw(actor=cast.principal(cast.alice), membership=membership)
    assert told(cast, cast.charlie) == {"approvals": ["alice gave you access. It has ended."]}
    assert "approvals" not in told(cast, cast.bob)


def test_a_rejected_request_for_access_is_news_for_a_week(cast: Cast) -> None:
    decisions.reject(actor=cast.principal(cast.alice), request=ask_for_access(cast))
    assert told(cast, cast.charlie) == {"approvals": ["alice rejected your request for access"]}
    AccessRequest.objects.update(decided_at=timezone.now() - timedelta(days=8))
    assert told(cast, cast.charlie) == {}
