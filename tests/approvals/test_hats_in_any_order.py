"""Random acts of one person and all their hats never end with a change that they approved themselves."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import pytest

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying
from environments_app.approvals import service as approvals
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import AccessError
from environments_app.models import Approval, ApprovalState, Role, ServiceToken, Trust, User
from environments_app.models.access_request import AccessRequest
from environments_app.tests.cast import Cast, choose_password
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from environments_app.trusts.sign_in import sign_in
from environments_app.users import accounts, suspensions
from secrets_app.services import write
from tests.approvals.hats import HERE, TEMPORARY, World, make_world, to_oneself

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

STEPS: Final = 40
SEEDS: Final = 4


@dataclass
class Play:
    """All principals that mallory can act as by now, in a world where alice and erin are themselves."""

    world: World
    chance: random.Random
    hats: list[Principal]
    # What they asked for while mallory could act as them.
    asked: set[int] = field(default_factory=set)
    named: int = 0

    def hat(self, *, person: bool = False) -> Principal:
        fresh = [load_principal(each) for each in self.hats]
        return self.chance.choice([each for each in fresh if not person or each.kind is ActorKind.USER])

    def name(self) -> str:
        self.named += 1
        return f"hat-{self.named}"

    def keep(self, *found: User | ServiceToken) -> None:
        for each in found:
            kind = ActorKind.USER if isinstance(each, User) else ActorKind.TOKEN
            name = each.username if isinstance(each, User) else each.name
            self.hats.append(Principal(kind=kind, uuid=UUID(str(each.uuid)), name=name))

    @property
    def mine(self) -> set[UUID]:
        return {each.uuid for each in self.hats}


def make_account(play: Play) -> None:
    role = play.chance.choice(["user", "admin"])
    made = accounts.create_user(
        actor=play.hat(person=True), username=play.name(), role=role, password=TEMPORARY
    )
    choose_password(made)
    play.keep(made)


def take_account(play: Play) -> None:
    """Replace the password of an account that is another person's."""
    others = User.objects.exclude(uuid__in=play.mine).exclude(username__in=["alice", "erin"])
    victim = play.chance.choice(list(others))
    accounts.set_password(actor=play.hat(person=True), user=victim, password=TEMPORARY)
    choose_password(victim)
    play.keep(victim)


def hand_to_oneself(play: Play) -> None:
    """Hand an account that is another person's over to a subject of mallory's at an identity provider."""
    others = User.objects.exclude(uuid__in=play.mine).exclude(username__in=["alice", "erin"])
    play.keep(to_oneself(play.hat(person=True), play.chance.choice(list(others))))


def grant(play: Play) -> None:
    user = User.objects.get(uuid=play.hat(person=True).uuid)
    memberships.grant(actor=play.hat(), environment=play.world.place, user=user, role=Role.MANAGER)


def ask_in(play: Play) -> None:
    asker = play.hat(person=True)
    access_requests.submit(actor=asker, environment="production", role=Role.MANAGER)


def let_in(play: Play) -> None:
    rows = list(AccessRequest.objects.select_related("environment", "requester"))
    decisions.approve(actor=play.hat(person=True), request=play.chance.choice(rows))


def issue(play: Play) -> None:
    place = play.world.place if play.chance.random() < 0.8 else None
    role = "admin" if place is None else play.chance.choice(["editor", "manager"])
    play.keep(tokens.issue(actor=play.hat(), environment=place, role=role, name=play.name())[0])


def rotate(play: Play) -> None:
    token = play.chance.choice(list(ServiceToken.objects.select_related("environment")))
    play.keep(token_rotation.rotate(actor=play.hat(), token=token)[0])


def _given(play: Play) -> dict[str, Any]:
    issuer = play.world.issuer
    return {"issuer": issuer.url, "jwks": issuer.jwks(), "claims": {"sub": "a-service"}, "role": "editor"}


def make_trust(play: Play) -> None:
    trusts.create(
        actor=play.hat(), environment=play.world.place, preset="oidc", name=play.name(),
        audience="https://keeper.test", algorithm="RS256", **_given(play),
    )  # fmt: skip


def change_trust(play: Play) -> None:
    trust = play.chance.choice(list(Trust.objects.select_related("environment")))
    trusts.change(actor=play.hat(), trust=trust, **_given(play))


def enter(play: Play) -> None:
    trust = play.chance.choice(list(Trust.objects.filter(issuer=play.world.issuer.url)))
    play.keep(sign_in(trust_name=trust.name, jwt=play.world.issuer.sign(), address=HERE).token)


def confirm(play: Play) -> None:
    user = User.objects.get(uuid=play.hat(person=True).uuid)
    suspensions.confirm_account(
        actor=play.hat(person=True), environment=play.world.place, user=user, since=user.suspended_at
    )


def ask(play: Play) -> None:
    with suppress(AccessError):
        write.put(actor=play.hat(), environment=play.world.place, name=play.name(), value="v")
    _note_asked(play)


def unprotect(play: Play) -> None:
    with suppress(AccessError):
        environments.update_environment(actor=play.hat(), environment=play.world.place, protected=False)
    _note_asked(play)


def approve(play: Play) -> None:
    rows = list(Approval.objects.select_related("environment").filter(state=ApprovalState.PENDING))
    applying.approve_and_apply(actor=play.hat(person=True), approval=play.chance.choice(rows))


def hand_over(play: Play) -> None:
    """Give an account to a person of its own, by the host, and lose it: what it asked before stays asked."""
    people = [each for each in play.hats if each.kind is ActorKind.USER and each.name != "mallory"]
    given = play.chance.choice(people)
    user = User.objects.get(uuid=given.uuid)
    accounts.set_password(actor=system_principal(is_admin=True), user=user, password=TEMPORARY + "-new")
    choose_password(user)
    play.hats.remove(given)


def honest_approval(play: Play) -> None:
    """Let erin approve an access that a hat asks for, as she would for a colleague."""
    rows = Approval.objects.select_related("environment").filter(
        state=ApprovalState.PENDING,
        action__in=[Action.MEMBER_GRANT, Action.TRUST_CREATE, Action.TRUST_CHANGE, Action.TOKEN_ISSUE],
    )
    erin = play.world.as_(play.world.cast.erin)
    done = applying.approve_and_apply(actor=erin, approval=play.chance.choice(list(rows)))
    if done.approval.state == ApprovalState.APPROVED:
        result = approvals.carry_out(actor=load_principal(done.approval.requester), approval=done.approval)
        assert result.sentence


def _note_asked(play: Play) -> None:
    rows = Approval.objects.filter(requester_uuid__in=play.mine)
    play.asked |= set(rows.values_list("pk", flat=True))


ACTS: Final[tuple[Callable[[Play], None], ...]] = (
    make_account, take_account, hand_to_oneself, grant, ask_in, let_in, issue, rotate, make_trust, change_trust, enter,
    confirm, ask, ask, unprotect, approve, approve, approve, hand_over, honest_approval,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_change_is_approved_by_the_person_who_asked(cast: Cast, seed: int) -> None:
    world = make_world(cast)
    chance = random.Random(seed)
    play = Play(world, chance, [])
    play.keep(world.mallory)
    protects_at = chance.randrange(STEPS // 4)
    trusts.create(actor=world.as_(cast.alice), **_alices(world))
    for step in range(STEPS):
        if step == protects_at:
            world.protect()
        act = chance.choice(ACTS)
        with suppress(AccessError, IndexError):
            act(play)
        _note_asked(play)
        # An account that was handed over is another person from then on.
        approved = Approval.objects.filter(state__in=[ApprovalState.APPROVED, ApprovalState.EXECUTED])
        for row in approved.filter(pk__in=play.asked):
            assert row.decided_by_uuid not in play.mine, (seed, step, act.__name__, row)
    assert world.place.protected
    # The play came so far that hats tried: a play that never asks proves nothing.
    assert play.asked
    assert AuditEvent.objects.filter(action=Action.APPROVAL_DECIDE, outcome="denied").exists()


def _alices(world: World) -> dict[str, Any]:
    return {
        "environment": world.place, "preset": "oidc", "name": "hers", "issuer": "https://hers.test",
        "jwks": world.issuer.jwks(), "audience": "https://keeper.test", "algorithm": "RS256",
        "claims": {"sub": "x"}, "role": "editor",
    }  # fmt: skip
