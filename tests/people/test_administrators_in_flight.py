"""A session, token or right ends while an act on people or access is on its way: it changes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Outcome
from audit_app.models import AuditEvent
from environments_app import event_sinks
from environments_app.access_requests import decisions as answers
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.approvals.program_releases import end_release
from environments_app.authentication import second_factor
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal, user_principal
from environments_app.environments import deletion, groups, memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Forbidden, Invisible, SessionEnded
from environments_app.models import (
    AccessRequest,
    Approval,
    Departure,
    Environment,
    EventSink,
    GroupMember,
    Membership,
    OidcProvider,
    ProgramRelease,
    ProvisionedUser,
    Recipient,
    Review,
    Role,
    SamlGroupMapping,
    ServiceToken,
    Session,
    Trust,
    User,
)
from environments_app.notifications.recipients import add_recipient, remove_addressee
from environments_app.oidc import providers
from environments_app.reviews import service as reviews
from environments_app.reviews.decisions import decide
from environments_app.sessions import service
from environments_app.single_sign_on.group_mapping import map_group, unmap_group
from environments_app.tests.authentication.test_mfa import enrolled
from environments_app.tests.cast import Cast, choose_password
from environments_app.tests.oidc.test_providers import document
from environments_app.tests.reviews.test_service import seen
from environments_app.tokens import rotation, scim_clients
from environments_app.tokens import service as tokens
from environments_app.tokens.personal import issue_personal
from environments_app.trusts import service as trusts
from environments_app.users import accounts, handing_over
from environments_app.users.password_links import invite_new, withdraw_invitation
from environments_app.users.suspensions import confirm_account, confirm_mapping
from operations_app.backup import requests as backups
from operations_app.models import BackupRequest
from operations_app.reports import service as reports
from secrets_app.departures import decisions, following
from secrets_app.departures.ending import end_person
from secrets_app.models import DepartureValue, Webhook
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from secrets_app.webhooks import add_webhook
from sync_app.applying import service as applying
from sync_app.models import Plan, ReferenceConsent, Target
from sync_app.planning.service import request_plan
from sync_app.runs import runner
from sync_app.targets import consents
from sync_app.targets import service as targets
from sync_app.tests.shown import make_item, make_plan, make_target
from tests.people.test_scim import Scim

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

NEW = "a-wholly-new-passphrase"
HOST = system_principal(is_admin=True)


class Scene(NamedTuple):
    """Rita, an administrator, and who acts: she by her session, or mona, a manager, or their token."""

    cast: Cast
    rita: User
    actor: Principal
    scim: Scim
    mona: User
    program: ServiceToken

    @property
    def place(self) -> Membership:
        return self.mona.memberships.get()

    @property
    def root(self) -> Principal:
        return user_principal(self.cast.root).proven()

    @property
    def alice(self) -> User:
        return User.objects.get(pk=self.cast.alice.pk)


@pytest.fixture
def scene(cast: Cast) -> Scene:
    rita = accounts.create_user(actor=user_principal(cast.root).proven(), username="rita", role="admin")
    scim = Scim(cast)
    enrolled(cast, cast.alice)
    mona = User.objects.create_user("mona")
    Membership.objects.create(environment=cast.production, user=mona, role=Role.MANAGER)
    program, _ = tokens.issue(actor=HOST, environment=cast.production, role="manager", name="terraform")
    return Scene(cast, rita, signed_in(rita), scim, mona, program)


@pytest.fixture
def managed(scene: Scene) -> Scene:
    """Return the same where mona acts."""
    return scene._replace(actor=signed_in(scene.mona))


def signed_in(user: User) -> Principal:
    Client().force_login(user)
    key = Session.objects.get(user=user).session_key
    return replace(user_principal(user).proven(), session=key)


Act = Callable[[Scene], object]


def hand_over(scene: Scene) -> object:
    return handing_over.hand_over(
        actor=scene.actor,
        user=scene.alice,
        client=scene.scim.row,
        external_id="00u1",
        user_name="alice@example.com",
    )


ACTS: dict[str, Act] = {
    "makes": lambda s: accounts.create_user(actor=s.actor, username="mallory", role="admin", password=NEW),
    "promotes": lambda s: accounts.update_user(actor=s.actor, user=s.alice, role="admin"),
    "disables": lambda s: accounts.disable_user(actor=s.actor, user=s.alice),
    "sets a password": lambda s: accounts.set_password(actor=s.actor, user=s.alice, password=NEW),
    "restores": lambda s: accounts.restore_account(actor=s.actor, user=s.alice, role="admin", password=NEW),
    "resets the factor": lambda s: second_factor.remove(actor=s.actor, user=s.alice),
    "offboards": lambda s: end_person(actor=s.actor, user=s.alice),
    "hands over": hand_over,
}
ENDS: dict[str, tuple[type[Exception], Act]] = {
    "signed out": (SessionEnded, lambda s: service.end_other_sessions(actor=s.root, user=s.rita)),
    "offboarded": (SessionEnded, lambda s: end_person(actor=s.root, user=s.rita)),
    "disabled": (SessionEnded, lambda s: accounts.disable_user(actor=s.root, user=s.rita)),
    "taken over": (
        SessionEnded, lambda s: accounts.set_password(actor=s.root, user=s.rita, password=NEW),
    ),
    "no administrator": (Forbidden, lambda s: accounts.update_user(actor=s.root, user=s.rita, role="user")),
}  # fmt: skip


def everybody() -> list[Any]:
    columns = ("username", "role", "is_active", "password", "second_factor", "suspended_at")
    found: list[Any] = [*User.objects.order_by("pk").values_list(*columns)]
    return [*found, Departure.objects.count(), ProvisionedUser.objects.count()]


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[], object], seen: Callable[[], list[Any]]
) -> list[Any]:
    """Let something happen just before the act's transaction; return what `seen` tells once it did."""
    refuse, after = service.refuse_late, list[Any]()

    @contextmanager
    def slowly(*given: Any) -> Iterator[None]:
        for module in (service, handing_over):
            monkeypatch.setattr(module, "refuse_late", refuse)
        end()
        after.extend(seen())
        with refuse(*given):
            yield

    for module in (service, handing_over):
        monkeypatch.setattr(module, "refuse_late", slowly)
    return after


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("act", ACTS)
def test_an_act_of_an_administrator_who_ended_meanwhile_changes_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    error, happens = ENDS[end]
    after = meanwhile(monkeypatch, lambda: happens(scene), everybody)
    with pytest.raises(error):
        ACTS[act](scene)
    assert after == everybody()
    told = AuditEvent.objects.order_by("-pk")[0]
    assert (told.outcome, told.actor_name) == (Outcome.DENIED, "rita")
    assert ("session-ended" in told.details) == (error is SessionEnded)


@pytest.mark.parametrize("act", ACTS)
def test_the_same_act_of_a_session_that_goes_on(scene: Scene, act: str) -> None:
    before = everybody()
    ACTS[act](scene)
    assert before != everybody()


# What gives, keeps or takes access: what is made ready before, and then done. The first are an administrator's,
# the others a manager's.
Ready = Callable[["Scene"], Callable[[], object]]


def group_of(scene: Scene, *members: User) -> Group:
    made = groups.create_group(actor=scene.root, name="ops")
    for member in members:
        groups.add_to_group(actor=scene.root, user=member, group=made)
    return made


def invited(scene: Scene) -> User:
    return invite_new(actor=scene.root, username="zoe", email="zoe@example.com")


def provider(actor: Principal, slug: str = "acme") -> OidcProvider:
    return providers.create_provider(
        actor=actor, slug=slug, label="Acme", issuer="https://id.example", secret="s", client_id="keeper"
    )


def mapped(scene: Scene, role: str = "viewer") -> SamlGroupMapping:
    return map_group(actor=scene.root, group="staff", environment=scene.cast.production, role=role)


def sink(actor: Principal) -> EventSink:
    return event_sinks.create_sink(actor=actor, name="siem", address="https://siem.example/", secret="")


def review(scene: Scene) -> Review:
    return reviews.start(actor=scene.root, name="Q4", environments=[scene.cast.production])


def decided(scene: Scene) -> Review:
    made = review(scene)
    for item in made.items.all():
        other = scene.mona if item.subject_name == "alice" else scene.cast.alice
        actor = scene.cast.principal(other)
        decide(actor=actor, item=item, decision="keep", state=seen(item), reason="known")
    return made


OF_ADMINISTRATORS: dict[str, Ready] = {
    "makes a group": lambda s: partial(groups.create_group, actor=s.actor, name="new"),
    "adds to a group": lambda s: partial(
        groups.add_to_group, actor=s.actor, user=s.cast.bob, group=group_of(s)
    ),
    "removes from a group": lambda s: partial(
        groups.remove_from_group, actor=s.actor, member=group_of(s, s.cast.bob).group_members.get()
    ),
    "deletes a group": lambda s: partial(groups.delete_group, actor=s.actor, group=group_of(s)),
    "issues a token that administers": lambda s: partial(
        tokens.issue, actor=s.actor, environment=None, role="admin", name="ops"
    ),
    "adds a SCIM client": lambda s: partial(
        scim_clients.add_client, actor=s.actor, name="Entra", preset="entra"
    ),
    "issues a SCIM token": lambda s: partial(
        scim_clients.issue_client_token, actor=s.actor, client=s.scim.row
    ),
    "rotates a SCIM token": lambda s: partial(rotation.rotate, actor=s.actor, token=s.scim.token),
    "removes a SCIM client": lambda s: partial(scim_clients.remove_client, actor=s.actor, client=s.scim.row),
    "withdraws an invitation": lambda s: partial(withdraw_invitation, actor=s.actor, user=invited(s)),
    "adds a provider": lambda s: partial(provider, s.actor),
    "changes a provider": lambda s: partial(
        providers.change_provider, actor=s.actor, provider=provider(s.root), client_id="other"
    ),
    "maps a group": lambda s: partial(
        map_group, actor=s.actor, group="staff", environment=s.cast.production, role="viewer"
    ),
    "unmaps a group": lambda s: partial(unmap_group, actor=s.actor, mapping=mapped(s)),
    "adds a sink": lambda s: partial(sink, s.actor),
    "changes a sink": lambda s: partial(
        event_sinks.change_sink, actor=s.actor, sink=sink(s.root), secret="a:b"
    ),
    "removes a sink": lambda s: partial(event_sinks.remove_sink, actor=s.actor, sink=sink(s.root)),
    "makes an environment": lambda s: partial(environments.create_environment, actor=s.actor, name="new"),
    "starts a review": lambda s: partial(
        reviews.start, actor=s.actor, name="Q4", environments=[s.cast.production]
    ),
    "signs a review": lambda s: partial(reviews.sign, actor=s.actor, review=decided(s)),
    "cancels a review": lambda s: partial(reviews.cancel, actor=s.actor, review=review(s), comment="over"),
    "ends the sessions of a person": lambda s: partial(
        service.end_other_sessions, actor=s.actor, user=s.cast.bob
    ),
    "revokes a personal token": lambda s: partial(
        service.revoke_token,
        actor=s.actor,
        token=issue_personal(actor=s.cast.principal(s.cast.bob), name="laptop")[0],
    ),
    "closes a departure": lambda s: partial(
        decisions.close_departure, actor=s.actor, departure=left(s), reason="known"
    ),
    "lets rotations go on": lambda s: partial(
        decisions.continue_rotations, actor=s.actor, departure=left(s, held=True)
    ),
    "pauses all targets": lambda s: partial(runner.pause_all, actor=s.actor),
    "asks for a backup": lambda s: partial(backups.request, actor=s.actor),
    "makes a report": lambda s: partial(reports.make, actor=s.actor, key="all"),
}


def left(scene: Scene, *, held: bool = False) -> Departure:
    """Let alice leave, who knows a value of production and set something up there."""
    recipient(scene.cast.principal(scene.cast.alice), scene)
    alice, place = scene.cast.principal(scene.cast.alice), scene.cast.production
    made, _ = tokens.issue(actor=alice, environment=place, role="reader", name="deploy")
    secret = keep(scene.cast, "known", environment=place)
    reveal(actor=token_principal(made), secret=keep(scene.cast, "read", environment=place, actor=scene.mona))
    end_person(actor=scene.root, user=scene.alice)
    following.run()
    row = Departure.objects.get()
    assert row.values.get().secret == secret
    if held:
        row.ended_by_uuid, row.held_at = scene.scim.token.uuid, timezone.now()
    row.save()
    return row


def outlet(scene: Scene, act: Callable[..., object], kind: str, **given: str) -> Callable[[], object]:
    departure = left(scene)
    found = decisions.visible_outlets(scene.root, departure)
    chosen = next(each for each in found if each.kind == kind)
    return partial(act, actor=scene.actor, departure=departure, uuid=chosen.uuid, **given)


def target(scene: Scene, **fields: Any) -> Target:
    made = make_target(scene.cast.production, "vault", **fields)
    return Target.objects.select_related("environment").get(pk=made.pk)


def plan(scene: Scene) -> Plan:
    made = make_plan(target(scene))
    make_item(made, "app/key")
    return Plan.objects.select_related("target__environment").get(pk=made.pk)


def elsewhere(scene: Scene) -> Target:
    return make_target(scene.cast.development, "elsewhere")


def member(scene: Scene) -> Membership:
    return memberships.grant(
        actor=scene.root, environment=scene.cast.production, user=scene.cast.bob, role="viewer"
    )


def token(scene: Scene) -> ServiceToken:
    made, _ = tokens.issue(actor=scene.root, environment=scene.cast.production, role="viewer", name="ci")
    return made


def trust(actor: Principal, scene: Scene) -> Trust:
    return trusts.create(
        actor=actor, environment=scene.cast.production, preset="oidc", name="ci", role="viewer",
        issuer="https://issuer.test", audience="keeper", claims={"sub": "x"},
    )  # fmt: skip


def recipient(actor: Principal, scene: Scene) -> Recipient:
    return add_recipient(actor=actor, environment=scene.cast.production, email="ops@example.com")


def asked(scene: Scene) -> Approval:
    place = scene.cast.production
    place.protected = True
    place.save()
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=scene.cast.principal(scene.cast.alice),
            environment=place,
            user=scene.cast.bob,
            role="reader",
        )
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def request(scene: Scene) -> AccessRequest:
    bob = scene.cast.principal(scene.cast.bob)
    return access_requests.submit(actor=bob, environment="production", role="reader", minutes=60)


def decision(scene: Scene, chosen: str) -> Callable[[], object]:
    item = review(scene).items.get(subject_name="alice")
    return partial(decide, actor=scene.actor, item=item, decision=chosen, state=seen(item), reason="known")


def confirmation(scene: Scene) -> Callable[[], object]:
    member(scene)
    accounts.set_password(actor=scene.root, user=scene.cast.bob, password=NEW)
    bob = User.objects.get(pk=scene.cast.bob.pk)
    choose_password(bob)
    return partial(
        confirm_account, actor=scene.actor, environment=scene.cast.production, user=bob,
        since=bob.suspended_at,
    )  # fmt: skip


def deleted(scene: Scene) -> Environment:
    return deletion.delete_environment(actor=scene.root, environment=scene.cast.production)


def released(scene: Scene) -> ProgramRelease:
    return ProgramRelease.objects.create(
        environment=scene.cast.production, program_kind="token", program_uuid=scene.program.uuid,
        program_name="terraform", path="app", reason="known", asked_by_uuid=scene.alice.uuid,
        asked_by_name="alice", agreed_by="mona", approval=scene.alice.uuid,
    )  # fmt: skip


OF_MANAGERS: dict[str, Ready] = {
    "grants": lambda s: partial(
        memberships.grant, actor=s.actor, environment=s.cast.production, user=s.cast.bob, role="reader"
    ),
    "changes a membership": lambda s: partial(
        memberships.change_membership, actor=s.actor, membership=member(s), role="reader"
    ),
    "revokes a membership": lambda s: partial(
        memberships.revoke_membership, actor=s.actor, membership=member(s)
    ),
    "issues a token": lambda s: partial(
        tokens.issue, actor=s.actor, environment=s.cast.production, role="reader", name="ci"
    ),
    "narrows a token": lambda s: partial(rotation.narrow, actor=s.actor, token=token(s), prefix="app"),
    "rotates a token": lambda s: partial(rotation.rotate, actor=s.actor, token=token(s)),
    "revokes a token": lambda s: partial(tokens.revoke, actor=s.actor, token=token(s)),
    "makes a trust": lambda s: partial(trust, s.actor, s),
    "changes a trust": lambda s: partial(trusts.change, actor=s.actor, trust=trust(s.root, s), enabled=False),
    "deletes a trust": lambda s: partial(trusts.delete, actor=s.actor, trust=trust(s.root, s)),
    "adds a recipient": lambda s: partial(recipient, s.actor, s),
    "removes a recipient": lambda s: partial(remove_addressee, actor=s.actor, addressee=recipient(s.root, s)),
    "adds a webhook": lambda s: partial(
        add_webhook, actor=s.actor, environment=s.cast.production, name="chat", url="https://hooks.example/x"
    ),
    "changes an environment": lambda s: partial(
        environments.update_environment, actor=s.actor, environment=s.cast.production, offline_hours=5
    ),
    "deletes an environment": lambda s: partial(
        deletion.delete_environment, actor=s.actor, environment=s.cast.production
    ),
    "restores an environment": lambda s: partial(
        deletion.restore_environment, actor=s.actor, environment=deleted(s)
    ),
    "approves": lambda s: partial(approvals.approve, actor=s.actor, approval=asked(s)),
    "rejects": lambda s: partial(approvals.reject, actor=s.actor, approval=asked(s)),
    "lets in who asked": lambda s: partial(answers.approve, actor=s.actor, request=request(s)),
    "refuses who asked": lambda s: partial(answers.reject, actor=s.actor, request=request(s)),
    "keeps what is reviewed": lambda s: decision(s, "keep"),
    "ends what is reviewed": lambda s: decision(s, "end"),
    "confirms an account": confirmation,
    "ends a release": lambda s: partial(end_release, actor=s.actor, release=released(s)),
    "confirms a mapping": lambda s: partial(confirm_mapping, actor=s.actor, mapping=mapped(s, "reader")),
    "keeps what a leaver set up": lambda s: outlet(
        s, decisions.keep_outlet, "Email recipient", reason="of the team"
    ),
    "marks what a leaver's token read": lambda s: outlet(s, decisions.mark_reads, "Service token"),
    "keeps a value of a leaver": lambda s: partial(
        decisions.keep_value, actor=s.actor, value=left(s).values.get(), reason="known"
    ),
    "gives a leaver's value to a person": lambda s: partial(
        decisions.assign_value, actor=s.actor, value=left(s).values.get(), username="mona"
    ),
    "makes a report of an environment": lambda s: partial(reports.make, actor=s.actor, key="access"),
    "renames a target": lambda s: partial(targets.change, actor=s.actor, target=target(s), name="other"),
    "pauses a target": lambda s: partial(targets.pause, actor=s.actor, target=target(s)),
    "resumes a target": lambda s: partial(
        targets.resume, actor=s.actor, target=target(s, paused_at=timezone.now())
    ),
    "removes a target": lambda s: partial(targets.remove, actor=s.actor, target=target(s)),
    "asks for a sync": lambda s: partial(runner.request_sync, actor=s.actor, target=target(s)),
    "asks for a check": lambda s: partial(runner.request_check, actor=s.actor, target=target(s)),
    "asks for a plan": lambda s: partial(request_plan, actor=s.actor, target=target(s)),
    "applies a plan": lambda s: partial(applying.request_apply, actor=s.actor, plan=plan(s)),
    "keeps its own in a conflict": lambda s: partial(
        applying.request_resolution,
        actor=s.actor,
        item=make_item(plan(s), "app/other", act="conflict"),
        choice="keep_ours",
    ),
    "gives a consent": lambda s: partial(
        consents.give_consent, actor=s.actor, environment=s.cast.production, target=elsewhere(s)
    ),
    "withdraws a consent": lambda s: partial(
        consents.withdraw_consent,
        actor=s.actor,
        consent=ReferenceConsent.objects.create(
            environment=s.cast.production, target=elsewhere(s), given_by="alice"
        ),
    ),
}
# What a service token does of it as well.
OF_PROGRAMS = [*OF_MANAGERS][:14]
Loss = tuple[tuple[type[Exception], ...], Callable[[Scene], object]]
LOSSES: dict[str, Loss] = {
    "signed out": ((SessionEnded,), lambda s: service.end_other_sessions(actor=s.root, user=s.mona)),
    "disabled": ((SessionEnded,), lambda s: accounts.disable_user(actor=s.root, user=s.mona)),
    "revoked": ((Invisible,), lambda s: memberships.withdraw(actor=HOST, membership=s.place)),
    "lowered": ((Forbidden, Invisible), lambda s: lower(s.place)),
}
TOKEN_LOSSES: dict[str, Loss] = {
    "revoked": ((Invisible,), lambda s: tokens.revoke(actor=s.root, token=s.program)),
    "lowered": (
        (Forbidden, Invisible), lambda s: rotation.narrow(actor=s.root, token=s.program, role="reader"),
    ),
}  # fmt: skip


def lower(place: Membership) -> None:
    place.role = Role.READER
    place.save()


def everything() -> list[Any]:
    models: list[Any] = [*apps.get_app_config("environments_app").get_models(), Group, GroupMember]
    models += [DepartureValue, *apps.get_app_config("sync_app").get_models(), BackupRequest]
    rows = [[*model._base_manager.order_by("pk").values_list()] for model in models]
    mine = AuditEvent.objects.filter(outcome=Outcome.ALLOWED, actor_name__in=["rita", "mona", "terraform"])
    return [*rows, Webhook.objects.count(), mine.count()]


@pytest.fixture(autouse=True)
def _discovered(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example"
    monkeypatch.setattr("environments_app.oidc.providers.discovered", lambda _issuer: document())


def refused_late(scene: Scene, monkeypatch: pytest.MonkeyPatch, ready: Ready, loss: Loss) -> None:
    errors, happens = loss
    act = ready(scene)
    after = meanwhile(monkeypatch, lambda: happens(scene), everything)
    with pytest.raises(errors):
        act()
    assert after
    assert after == everything()
    told = AuditEvent.objects.order_by("-pk")[0]
    assert (told.outcome, told.actor_name) == (Outcome.DENIED, scene.actor.name)
    assert ("session-ended" in told.details) == (errors == (SessionEnded,))


@pytest.mark.parametrize("end", ["signed out", "disabled", "no administrator"])
@pytest.mark.parametrize("act", OF_ADMINISTRATORS)
def test_an_administrator_who_ended_meanwhile_changes_no_access(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    error, happens = ENDS[end]
    refused_late(scene, monkeypatch, OF_ADMINISTRATORS[act], ((error,), happens))


@pytest.mark.parametrize("end", LOSSES)
@pytest.mark.parametrize("act", OF_MANAGERS)
def test_a_manager_who_ended_meanwhile_changes_no_access(
    managed: Scene, monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    refused_late(managed, monkeypatch, OF_MANAGERS[act], LOSSES[end])


@pytest.mark.parametrize("end", TOKEN_LOSSES)
@pytest.mark.parametrize("act", OF_PROGRAMS)
def test_a_token_that_ended_meanwhile_changes_no_access(
    managed: Scene, monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    scene = managed._replace(actor=token_principal(managed.program))
    refused_late(scene, monkeypatch, OF_MANAGERS[act], TOKEN_LOSSES[end])


@pytest.mark.parametrize("act", [*OF_ADMINISTRATORS, *OF_MANAGERS])
def test_the_same_of_who_goes_on(scene: Scene, managed: Scene, act: str) -> None:
    ready = OF_ADMINISTRATORS[act](scene) if act in OF_ADMINISTRATORS else OF_MANAGERS[act](managed)
    before = everything()
    ready()
    assert before != everything()
