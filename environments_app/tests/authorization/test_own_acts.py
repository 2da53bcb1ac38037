"""Acts that are a person's own: another account and a program are refused, and nothing changes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db.models import Q
from django.test import RequestFactory
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import AuditEvent
from environments_app.access_requests import service as access_requests
from environments_app.approvals import history
from environments_app.approvals import service as approvals
from environments_app.authentication.sign_in import start_session
from environments_app.authorization.policy import AuditLogPolicy, Principal
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Forbidden
from environments_app.models import Approval, Membership, PersonalSettings, Role, ServiceToken, Session, User
from environments_app.sessions.service import end_other_sessions, end_session
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.children import end_token
from environments_app.tokens.service import issue
from environments_app.trusts.sign_in import sign_in
from environments_app.users import accounts, preferences
from environments_app.users.password_links import choose_reset

pytestmark = pytest.mark.django_db
Act = Callable[[Principal, User], object]
OWN: dict[str, Act] = {
    "name": lambda actor, user: accounts.set_own_name(actor=actor, user=user, display_name="Mallory"),
    "reset": lambda actor, user: choose_reset(actor=actor, user=user, allowed=True),
    "no reset": lambda actor, user: choose_reset(actor=actor, user=user, allowed=False),
    "session": lambda actor, user: end_session(actor=actor, user=user, key="x"),
    "all sessions": lambda actor, user: end_other_sessions(actor=actor, user=user),
}


@pytest.fixture
def program(cast: Cast) -> Principal:
    token, _ = issue(
        actor=system_principal(is_admin=True), environment=cast.production, role="manager", name="ci"
    )
    return token_principal(token)


@pytest.mark.parametrize("act", OWN)
def test_another_account_and_a_program_are_refused(cast: Cast, program: Principal, act: str) -> None:
    session = Session.objects.create(
        session_key="x", user=cast.bob, expire_date=timezone.now() + timedelta(hours=1)
    )
    before = User.objects.values().get(pk=cast.bob.pk)
    for actor in (cast.principal(cast.alice), cast.principal(cast.charlie), program):
        with pytest.raises(Forbidden):
            OWN[act](actor, cast.bob)
    assert User.objects.values().get(pk=cast.bob.pk) == before
    assert Session.objects.filter(pk=session.pk).exists()


def test_a_program_with_the_uuid_of_a_person_is_not_that_person(cast: Cast) -> None:
    disguised = Principal(kind=ActorKind.TOKEN, uuid=cast.bob.uuid, name="ci")
    with pytest.raises(Forbidden):
        accounts.set_own_name(actor=disguised, user=cast.bob, display_name="Mallory")
    choices: tuple[Callable[[], None], ...] = (
        lambda: preferences.choose_time_zone(actor=disguised, name="Europe/Zurich"),
        lambda: preferences.choose_matrix(actor=disguised, environments=["development"]),
        lambda: preferences.hide_first_steps(actor=disguised),
    )
    for choose in choices:
        with pytest.raises(Forbidden):
            choose()
    assert not PersonalSettings.objects.exists()
    assert not list(access_requests.visible_requests(disguised))


def test_nothing_waits_for_a_program(cast: Cast, program: Principal) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.production, protected=False
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    access_requests.submit(actor=cast.principal(cast.bob), environment="production", role="reader")
    erin = cast.principal(cast.erin)
    assert (len(approvals.waiting_for(erin)), len(access_requests.waiting_for(erin))) == (1, 1)
    assert (approvals.waiting_for(program), access_requests.waiting_for(program)) == ([], [])
    with pytest.raises(ApprovalNeeded):
        environments.update_environment(actor=program, environment=cast.production, protected=False)
    of_program = Approval.objects.select_related("environment").get(requester_uuid=program.uuid)
    approvals.approve(actor=erin, approval=of_program)
    approvals.reject(actor=erin, approval=asked)
    assert [row.pk for row in approvals.resolved_for(cast.principal(cast.alice))] == [asked.pk]
    assert approvals.resolved_for(program) == []


def test_only_people_comment(cast: Cast, program: Principal, events: Callable[..., list[AuditEvent]]) -> None:
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(actor=program, environment=cast.production, protected=False)
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    with pytest.raises(Forbidden, match="Only people"):
        history.comment(actor=program, approval=asked, text="please")
    assert [event.actor_name for event in events(Action.APPROVAL_COMMENT, outcome="denied")] == ["ci"]
    assert history.entries_of(asked) == []


def test_a_workload_ends_its_own_token_alone(cast: Cast, program: Principal) -> None:
    signer = Issuer()
    trust = make_trust(cast, signer)
    signed_in = sign_in(trust_name=trust.name, jwt=signer.sign(), address="192.0.2.7")
    token = ServiceToken.objects.get(trust_uuid=trust.uuid)
    assert signed_in.text
    standing = ServiceToken.objects.get(uuid=program.uuid)
    for actor, ended in (
        (program, token),
        (cast.principal(cast.alice), token),
        (token_principal(standing), standing),
    ):
        with pytest.raises(TypeError):
            end_token(actor=actor, token=ended)
    assert not ServiceToken.objects.exclude(revoked_at=None).exists()
    end_token(actor=token_principal(token), token=token)
    assert ServiceToken.objects.exclude(revoked_at=None).get() == token


def test_no_session_starts_without_a_second_factor_that_is_required(cast: Cast) -> None:
    request = RequestFactory().post("/sign-in")
    request.session = SessionStore()
    cast.alice.second_factor = uuid4()
    cast.alice.save()
    with pytest.raises(Forbidden):
        start_session(request, cast.alice)
    assert "_auth_user_id" not in request.session
    assert not AuditEvent.objects.filter(action=Action.SIGN_IN).exists()


def test_who_is_no_principal_reads_nothing_of_the_log(cast: Cast) -> None:
    policy, actor = AuditLogPolicy(), Actor(kind=ActorKind.USER, uuid=cast.root.uuid, name="root")
    assert policy.readable_streams(actor) == []
    assert policy.named_streams(actor) == {}
    assert not AuditEvent.objects.filter(policy.own_events(actor)).exists()
    # The policy asks what somebody may do, and not what they are called.
    root: Any = cast.principal(cast.root)
    assert policy.readable_streams(root) is None
    assert policy.own_events(root) == Q()
