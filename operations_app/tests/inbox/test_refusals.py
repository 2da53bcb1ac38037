"""Whoever asked for approval is told of a refusal, as of an approval; a token is told nothing."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from environments_app.approvals import service as approvals
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import token_principal
from environments_app.environments import memberships
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Delivery, Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from operations_app.inbox import digest
from operations_app.inbox.items import sections

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]
COMMENT = "not before\nthe audit"


@pytest.fixture
def asked(cast: Cast) -> Approval:
    """What alice asks for in protected production, which erin manages as well."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    return ask(cast, cast.principal(cast.alice))


def ask(cast: Cast, actor: Principal) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(actor=actor, environment=cast.production, user=cast.charlie, role="reader")
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def refuse(cast: Cast, asked: Approval) -> None:
    approvals.reject(actor=cast.principal(cast.erin), approval=asked, comment=COMMENT)


def titles(actor: Principal) -> list[str]:
    return [notice.title for section in sections(actor) for notice in section.notices]


def test_whoever_asked_is_told_with_the_comment(cast: Cast, asked: Approval, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)
    person.post("/notifications/seen", {"until": timezone.now().isoformat()})
    assert person.get("/profile").context["frame"].notices == 0
    refuse(cast, asked)
    (section,) = sections(cast.principal(cast.alice))
    (notice,) = section.notices
    assert (section.kind, notice.state, notice.environment) == ("approvals", "refused", "production")
    assert notice.title == "erin rejected your request to grant access to charlie"
    assert notice.lines == ["Comment: not before", "the audit"]
    assert notice.url == f"/approvals/{asked.pk}"
    assert titles(cast.principal(cast.erin)) == []
    # The bell counts it, the page shows it, and once it was seen the bell is quiet.
    assert person.get("/profile").context["frame"].notices == 1
    page = person.get("/notifications")
    assert "<li>Comment: not before</li><li>the audit</li>" in page.content.decode()
    person.post("/notifications/seen", {"until": page.context["looked_at"]})
    assert person.get("/profile").context["frame"].notices == 0


def test_the_dashboard_says_so_until_it_was_seen(cast: Cast, asked: Approval, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)
    refuse(cast, asked)
    (need,) = person.get("/").context["needs"]
    assert (need.label, need.state, need.count) == ("requests rejected", "refused", 1)
    assert f'href="/approvals/{asked.pk}"' in person.get(need.url).content.decode()
    # It needs nobody to do anything: the rail counts what does.
    assert [entry.count for entry in person.get("/").context["frame"].nav if entry.icon == "approve"] == [0]
    person.post("/notifications/seen", {"until": timezone.now().isoformat()})
    assert person.get("/").context["needs"] == []


def test_it_is_mailed_with_what_is_new(cast: Cast, asked: Approval, settings: Settings) -> None:
    settings.EMAIL_HOST, settings.KEEPER_DIGEST_HOUR = "mail.example", 0
    refuse(cast, asked)
    assert digest.send(cast.alice.pk)
    (message,) = mail.outbox
    assert "* erin rejected your request to grant access to charlie (production)" in message.body
    assert "\n      Comment: not before\n      the audit\n" in message.body


def test_what_was_refused_long_ago_is_not_told(cast: Cast, asked: Approval) -> None:
    refuse(cast, asked)
    Approval.objects.update(decided_at=timezone.now() - approvals.REJECTION_SHOWN_FOR - timedelta(seconds=1))
    assert titles(cast.principal(cast.alice)) == []


def test_a_forged_refusal_is_not_told(cast: Cast, asked: Approval, sql: Callable[..., None]) -> None:
    sql("UPDATE environments_app_approval SET state = 'refused', decided_at = asked_at")
    assert not [title for title in titles(cast.principal(cast.alice)) if "refused" in title]


def test_what_a_token_asked_is_told_to_nobody(cast: Cast, asked: Approval) -> None:
    cast.production.protected = False
    cast.production.save()
    token, _ = issue(
        actor=cast.principal(cast.alice), environment=cast.production, role="manager", name="terraform"
    )
    cast.production.protected = True
    cast.production.save()
    program = token_principal(token)
    refuse(cast, ask(cast, program))
    approvals.withdraw(actor=cast.principal(cast.alice), approval=asked)
    assert titles(cast.principal(cast.alice)) == []
    assert titles(cast.principal(cast.erin)) == []
    assert approvals.resolved_for(program) == []
    assert not Delivery.objects.filter(addressee=token.uuid).exists()


def test_a_refusal_costs_a_page_no_statement_more(cast: Cast, asked: Approval, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)

    def statements() -> int:
        person.get("/profile")
        with CaptureQueriesContext(connection) as captured:
            person.get("/profile")
        return len(captured)

    before = statements()
    refuse(cast, asked)
    assert statements() == before


@pytest.mark.parametrize(
    ("decide", "word", "lines"),
    [
        (approvals.reject, "rejected", [f"Comment: {COMMENT}"]),
        (approvals.approve, "approved", [f"Comment: {COMMENT}"]),
    ],
)
def test_whoever_asked_gets_an_email_at_once_if_they_have_an_address(
    cast: Cast, asked: Approval, decide: Callable[..., Approval], word: str, lines: list[str]
) -> None:
    decide(actor=cast.principal(cast.erin), approval=asked, comment=COMMENT)
    (mailed,) = Delivery.objects.filter(addressee=cast.alice.uuid, kind="approval")
    assert mailed.subject == f"erin {word} your request to grant access to charlie (production)"
    assert mailed.lines == lines
    assert mailed.link == f"/approvals/{asked.pk}"


def test_without_an_address_there_is_no_email(cast: Cast, asked: Approval) -> None:
    cast.alice.email = ""
    cast.alice.save()
    refuse(cast, asked)
    assert not Delivery.objects.filter(addressee=cast.alice.uuid, kind="approval").exists()
