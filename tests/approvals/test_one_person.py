"""One person never approves their own change, whatever second hat asks or approves, by any protocol."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from django.test import Client
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Approval, ApprovalState
from environments_app.tests.cast import Cast
from tests.approvals.hats import (
    ACCOUNTS,
    APPROVING,
    PROGRAMS,
    SUSPENDED,
    World,
    ask_api,
    ask_page,
    ask_vault,
    browser,
    make_world,
    text_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

Events = Callable[..., list[AuditEvent]]
ONE: Final = '"reason":"one person"'


@pytest.fixture
def world(cast: Cast, settings: Settings) -> World:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return make_world(cast)


def refused(
    answer: Any,
    events: Events,
    approval: Approval,
    *,
    action: Action = Action.APPROVAL_DECIDE,
    reason: str = ONE,
) -> None:
    """Check that an approval was refused in words, changed nothing, and is an event with its reason."""
    assert answer.status_code == 403, answer.content
    stored = Approval.objects.get(pk=approval.pk)
    assert stored.state == ApprovalState.PENDING
    denied = events(action, outcome="denied")[-1]
    assert reason in denied.details.replace(": ", ":")


def only() -> Approval:
    return Approval.objects.select_related("environment").get()


ASKING: Final = {"api": ask_api, "page": ask_page}


@pytest.mark.parametrize("approving", APPROVING)
@pytest.mark.parametrize("hat", ACCOUNTS)
def test_an_account_asks_and_its_maker_approves(
    world: World, events: Events, hat: str, approving: str
) -> None:
    account, second = ACCOUNTS[hat](world), ACCOUNTS["use case"](world)
    world.protect()
    if hat in SUSPENDED:
        assert ask_page(browser(account)).status_code == 422
        assert ask_api(browser(account)).status_code == 403
        assert not Approval.objects.exists()
        assert '"reason":"suspended"' in events(Action.SECRET_CREATE, outcome="denied")[-1].details
        return
    # By the other face than that which approves.
    ASKING["page" if approving == "api" else "api"](browser(account))
    refused(APPROVING[approving](browser(world.mallory), only().pk), events, only())
    # Nor does another of the same maker; another person does.
    refused(APPROVING[approving](browser(second), only().pk), events, only())
    assert APPROVING[approving](browser(world.cast.erin), only().pk).status_code in {200, 302}
    assert only().state == ApprovalState.EXECUTED


@pytest.mark.parametrize("approving", APPROVING)
@pytest.mark.parametrize("hat", ACCOUNTS)
def test_a_person_asks_and_their_other_account_approves(
    world: World, events: Events, hat: str, approving: str
) -> None:
    account = ACCOUNTS[hat](world)
    world.protect()
    ask_api(browser(world.mallory))
    answer = APPROVING[approving](browser(account), only().pk)
    if hat in SUSPENDED:
        refused(answer, events, only(), action=Action.APPROVAL_VIEW, reason='"reason":"suspended"')
    else:
        refused(answer, events, only())


@pytest.mark.parametrize("approving", APPROVING)
@pytest.mark.parametrize("hat", PROGRAMS)
def test_a_program_asks_and_who_has_its_token_approves(
    world: World, events: Events, hat: str, approving: str
) -> None:
    client = PROGRAMS[hat](world)
    world.protect()
    if hat in {"personal token", "device", "loopback"}:
        assert ask_api(client).status_code == 202
    else:
        assert ask_vault(client).status_code == 403
    refused(APPROVING[approving](browser(world.mallory), only().pk), events, only())
    # A program approves nothing, its own request least of all.
    answer = APPROVING["api"](client, only().pk)
    assert answer.status_code in {403, 404}
    assert APPROVING[approving](browser(world.cast.erin), only().pk).status_code in {200, 302}
    assert only().state == ApprovalState.EXECUTED


def test_aws_only_reads(world: World) -> None:
    client = PROGRAMS["token"](world)
    world.protect()
    session = Client().get("/aws/credentials", headers={"Authorization": text_of(client)}).json()
    assert session["AccessKeyId"]
    from gateway_app.aws import views

    operations = {name for name in vars(views).values() if isinstance(name, dict) for name in name}
    assert not {name for name in operations if str(name).startswith(("Put", "Create", "Update", "Delete"))}


def test_there_are_sixty_ways() -> None:
    assert 2 * (2 * len(ACCOUNTS) + len(PROGRAMS)) >= 60
