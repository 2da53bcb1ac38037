"""Every act that takes a second person in a protected environment, from one table."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from environments_app import interfaces
from environments_app.approvals import gate
from environments_app.approvals import service as approvals
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.environments.deletion import delete_environment
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.models import (
    Approval,
    ApprovalState,
    Environment,
    GroupMember,
    Membership,
    ProgramRelease,
    Role,
    SamlGroupMapping,
    ServiceToken,
    Trust,
    User,
    UserRole,
)
from environments_app.single_sign_on import group_mapping
from environments_app.tests.cast import Cast
from environments_app.tokens import rotation as tokens_rotation
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from secrets_app.models import PendingValue, Secret, SecretVersion
from secrets_app.services import bulk_create, decoys, guarded, lifecycle, releases, transfer, versions, write
from secrets_app.tests.kept import VALUE, keep
from secrets_app.types.registry import SecretType
from sync_app.applying import service as applying
from sync_app.migration import service as migrations
from sync_app.migration.placing import How, Rule
from sync_app.models import Migration, Plan, PlanItem, Rotation, RotationPolicy, Run, Target
from sync_app.models.migration import MigrationState
from sync_app.models.plan import PlanKind
from sync_app.rotation.execution import operator_actions as rotation_acts
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.tests.shown import make_item, make_plan, make_target

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

NEW: Final = "proposed-9c2e-value"


@dataclass
class Stage:
    """A protected environment with all that the acts are about; alice asks, erin decides."""

    cast: Cast
    place: Environment
    secret: Secret
    deleted: Secret
    withdrawn: Secret
    guarded: Secret
    decoy: Secret
    elsewhere: Secret
    vera: Membership
    token: ServiceToken
    trust: Trust
    group: Group
    target: Target
    plan: Plan
    policy: RotationPolicy
    resting: RotationPolicy
    rotation: Rotation
    plans: dict[PlanKind, Plan] = field(default_factory=dict)
    # The same when an act is asked for again.
    when: datetime = field(default_factory=lambda: timezone.now() + timedelta(days=1))

    def as_(self, user: User) -> Principal:
        return self.cast.principal(user)

    def fresh(self, row: Any) -> Any:
        return type(row)._default_manager.get(pk=row.pk)

    def rotation_now(self) -> Rotation:
        rows = Rotation.objects.select_related("policy__environment", "policy__secret__environment")
        return rows.get(pk=self.rotation.pk)

    def policy_now(self, policy: RotationPolicy) -> RotationPolicy:
        return RotationPolicy.objects.select_related("environment", "secret__environment").get(pk=policy.pk)


def _policy(cast: Cast, name: str) -> RotationPolicy:
    secret = keep(cast, name, environment=cast.production)
    alice = cast.principal(cast.alice)
    return policies.create(actor=alice, secret=secret, rotator="generated", settings={}, credentials={})


@pytest.fixture(scope="module")
def furnished(module_cast: Cast, django_db_blocker: DjangoDbBlocker) -> Stage:
    with django_db_blocker.unblock():
        return _furnish(module_cast)


@pytest.fixture
def stage(furnished: Stage, db: None) -> Stage:
    """Return the stage of the module; the test forgets what it changes there."""
    keyring().open_all()
    return deepcopy(furnished)


def _furnish(cast: Cast) -> Stage:
    place = cast.production
    for user, role in ((cast.erin, Role.MANAGER), (cast.bob, Role.EDITOR)):
        Membership.objects.create(environment=place, user=user, role=role)
    alice = cast.principal(cast.alice)
    secret = keep(cast, environment=place)
    write.update(actor=alice, secret=secret, value="second")
    deleted = lifecycle.delete(actor=alice, secret=keep(cast, "old/key", environment=place))
    group = Group.objects.create(name="ops")
    Membership.objects.create(environment=place, group=group, role=Role.READER)
    target = make_target(place)
    plans = {kind: make_plan(target, kind=kind) for kind in PlanKind}
    for plan in plans.values():
        make_item(plan, "payments/key")
    policy, resting, rotated = (_policy(cast, f"rotated/{name}") for name in "abc")
    policies.suspend(actor=alice, policy=resting)
    rotation = request_rotation(actor=alice, policy=rotated)
    execution_runner.execute(rotation.pk)
    _migration(alice, place)
    staged = Stage(
        cast=cast,
        place=place,
        secret=secret,
        deleted=deleted,
        withdrawn=versions.delete_versions(
            actor=alice, secret=keep(cast, "gone/key", environment=place), numbers=[1]
        ),
        guarded=guarded.guard(actor=alice, secret=keep(cast, "root/key", environment=place)),
        decoy=decoys.make_decoy(actor=alice, secret=keep(cast, "root/bait", environment=place)),
        elsewhere=keep(cast, "shared/key"),
        vera=memberships.grant(actor=alice, environment=place, user=cast.vera, role="viewer", prefix="a/b"),
        token=tokens.issue(actor=alice, environment=place, role="reader", name="old")[0],
        trust=trusts.create(
            actor=alice,
            environment=place,
            preset="oidc",
            name="old",
            issuer="https://issuer.test",
            audience="keeper",
            claims={"sub": "x"},
            role="reader",
        ),
        group=group,
        target=target,
        plan=plans[PlanKind.SYNC],
        policy=policy,
        resting=resting,
        rotation=rotation,
        plans=plans,
    )
    environments.update_environment(actor=alice, environment=place, protected=True)
    place.refresh_from_db()
    for row in (secret, deleted):
        row.environment = place
    return staged


def _migration(actor: Principal, place: Environment) -> None:
    """Make a migration whose plan waits to be applied."""
    made = migrations.start(
        actor=actor,
        source="vault",
        settings={"address": "http://127.0.0.1:1"},
        credentials={"token": "t"},
        rules=[Rule(place="secret", how=How.ALL, environments={"": str(place.uuid)})],
    )
    migrations.store_plan(made, "0" * 64, lambda **_: None)
    Migration.objects.update(state=MigrationState.PLANNED)


def _apply_migration(actor: Principal) -> None:
    made = Migration.objects.select_related("environment").get()
    migrations.request_apply(actor=actor, migration=made, digest=made.plan_digest)


Act = Callable[[Stage, Principal], object]


def _item(name: str, place: Environment) -> bulk_create.NewSecret:
    return bulk_create.NewSecret(environment=place, name=name, secret_type=SecretType.TEXT, value=NEW)


def _conflict(stage: Stage) -> PlanItem:
    found = PlanItem.objects.filter(plan=stage.plan, act="conflict").first()
    return found or make_item(stage.plan, "payments/other", act="conflict")


# One entry an act, several where it has several ways. `root` asks what administrators alone may.
ACTS: Final[dict[Action, dict[str, Act]]] = {
    Action.SECRET_CREATE: {
        "create": lambda s, a: write.create(
            actor=a, environment=s.place, name="new/key", secret_type=SecretType.TEXT, value=NEW
        ),
        "put": lambda s, a: write.put(actor=a, environment=s.place, name="put/key", value=NEW),
    },
    Action.SECRET_UPDATE: {
        "value": lambda s, a: write.update(actor=a, secret=s.fresh(s.secret), value=NEW),
        "put": lambda s, a: write.put(actor=a, environment=s.place, name=s.secret.name, value=NEW),
        "metadata": lambda s, a: write.update(
            actor=a,
            secret=s.fresh(s.secret),
            description="d",
            tags=["x"],
            expires_at=s.when,
        ),
        "anew": lambda s, a: write.update(
            actor=a, secret=s.fresh(s.withdrawn), value=NEW, comment="why", anew=True
        ),
        "rules": lambda s, a: write.update(
            actor=a,
            secret=s.fresh(s.secret),
            comment="why",
            cas_required=True,
            max_versions=3,
            custom_metadata={"team": "a"},
        ),
        "type": lambda s, a: write.update(
            actor=a, secret=s.fresh(s.secret), value=NEW, secret_type=SecretType.PASSWORD, comment="why"
        ),
    },
    Action.SECRET_ROLLBACK: {
        "rollback": lambda s, a: write.rollback(actor=a, secret=s.fresh(s.secret), number=1)
    },
    Action.SECRET_RENAME: {
        "rename": lambda s, a: lifecycle.rename(actor=a, secret=s.fresh(s.secret), name="other/name")
    },
    Action.SECRET_DELETE: {
        "delete": lambda s, a: lifecycle.delete(actor=a, secret=s.fresh(s.secret)),
        "version": lambda s, a: versions.delete_versions(actor=a, secret=s.fresh(s.secret), numbers=[1]),
        "current": lambda s, a: versions.delete_versions(actor=a, secret=s.fresh(s.secret), numbers=[1, 2]),
        "all": lambda s, a: versions.delete_all(actor=a, secret=s.fresh(s.secret)),
    },
    Action.SECRET_RESTORE: {
        "restore": lambda s, a: lifecycle.restore(actor=a, secret=s.fresh(s.deleted)),
        "version": lambda s, a: versions.restore_versions(actor=a, secret=s.fresh(s.withdrawn), numbers=[1]),
    },
    Action.SECRET_DESTROY: {
        "version": lambda s, a: versions.destroy_versions(actor=a, secret=s.fresh(s.secret), numbers=[1])
    },
    Action.SECRET_GUARD: {"guard": lambda s, a: guarded.guard(actor=a, secret=s.fresh(s.secret))},
    Action.SECRET_DECOY_SET: {"decoy": lambda s, a: decoys.make_decoy(actor=a, secret=s.fresh(s.secret))},
    Action.SECRET_DECOY_END: {"end": lambda s, a: decoys.end_decoy(actor=a, secret=s.fresh(s.decoy))},
    Action.SECRET_UNGUARD: {"unguard": lambda s, a: guarded.unguard(actor=a, secret=s.fresh(s.guarded))},
    Action.SECRET_RELEASE: {
        "release": lambda s, a: releases.release(
            actor=a, environment=s.place, program=s.fresh(s.token), path="app", reason="For the nightly job"
        )
    },
    Action.SECRET_PURGE: {"purge": lambda s, a: lifecycle.purge(actor=a, secret=s.fresh(s.deleted))},
    Action.SECRET_COPY: {
        "in": lambda s, a: transfer.copy(
            actor=a, secret=s.fresh(s.elsewhere), environment=s.place, name="c/key"
        )
    },
    Action.SECRET_MOVE: {
        "in": lambda s, a: transfer.move(
            actor=a, secret=s.fresh(s.elsewhere), environment=s.place, name="m/key"
        ),
        "out": lambda s, a: transfer.move(
            actor=a, secret=s.fresh(s.secret), environment=s.cast.development, name="m/key"
        ),
        "within": lambda s, a: transfer.move(
            actor=a, secret=s.fresh(s.secret), environment=s.place, name="m/key"
        ),
    },
    Action.SECRET_IMPORT: {
        "bulk": lambda s, a: bulk_create.create_many(
            actor=a, items=[_item("n/1", s.place), _item("n/2", s.place), _item("n/3", s.cast.development)]
        )
    },
    Action.MEMBER_GRANT: {
        "person": lambda s, a: memberships.grant(
            actor=a, environment=s.place, user=s.cast.charlie, role="reader"
        ),
        "group": lambda s, a: memberships.grant(
            actor=a, environment=s.place, group=s.group, role="editor", prefix="x"
        ),
    },
    Action.MEMBER_CHANGE: {
        "role": lambda s, a: memberships.change_membership(
            actor=a, membership=s.fresh(s.vera), role="reader"
        ),
        "prefix": lambda s, a: memberships.change_membership(actor=a, membership=s.fresh(s.vera), prefix="a"),
    },
    Action.TOKEN_ISSUE: {
        "issue": lambda s, a: tokens.issue(actor=a, environment=s.place, role="reader", name="ci"),
        "rotate": lambda s, a: tokens_rotation.rotate(actor=a, token=s.fresh(s.token)),
    },
    Action.TRUST_CREATE: {
        "create": lambda s, a: trusts.create(
            actor=a,
            environment=s.place,
            preset="oidc",
            name="new",
            issuer="https://issuer.test",
            audience="keeper",
            claims={"sub": "x"},
            role="reader",
        )
    },
    Action.TRUST_CHANGE: {
        "claims": lambda s, a: trusts.change(actor=a, trust=s.fresh(s.trust), claims={"sub": "y"}),
        "role": lambda s, a: trusts.change(actor=a, trust=s.fresh(s.trust), role="editor"),
    },
    Action.ENVIRONMENT_DELETE: {
        "delete": lambda s, a: delete_environment(actor=a, environment=s.fresh(s.place))
    },
    Action.ENVIRONMENT_UPDATE: {
        "unprotect": lambda s, a: environments.update_environment(
            actor=a, environment=s.fresh(s.place), protected=False, display_name="P"
        ),
        "offline": lambda s, a: environments.update_environment(
            actor=a, environment=s.fresh(s.place), offline_hours=8
        ),
        "rules of versions": lambda s, a: environments.update_environment(
            actor=a, environment=s.fresh(s.place), version_defaults={"max_versions": 1}
        ),
        "guarded paths": lambda s, a: environments.update_environment(
            actor=a, environment=s.fresh(s.place), guarded_prefixes="app"
        ),
    },
    Action.GROUP_CHANGE: {
        "join": lambda s, _: groups.add_to_group(actor=s.as_(s.cast.root), user=s.cast.charlie, group=s.group)
    },
    Action.SAML_MAPPING_CHANGE: {
        "map": lambda s, _: group_mapping.map_group(
            actor=s.as_(s.cast.root), group="okta-ops", environment=s.place, role="reader"
        )
    },
    Action.TARGET_APPLY: {"plan": lambda s, a: applying.request_apply(actor=a, plan=s.fresh(s.plan))},
    Action.MIGRATION_APPLY: {"plan": lambda _s, a: _apply_migration(a)},
    Action.TARGET_ADOPT: {
        "plan": lambda s, a: applying.request_apply(actor=a, plan=s.fresh(s.plans[PlanKind.ADOPT]))
    },
    Action.TARGET_REMOVE: {
        "plan": lambda s, a: applying.request_apply(actor=a, plan=s.fresh(s.plans[PlanKind.DISCONNECT]))
    },
    Action.TARGET_RESOLVE: {
        "resolve": lambda s, a: applying.request_resolution(actor=a, item=_conflict(s), choice="keep_ours")
    },
    Action.TARGET_CHANGE: {
        "automatic": lambda s, a: targets.change(actor=a, target=s.fresh(s.target), automatic=True, name="n")
    },
    Action.ROTATION_RUN: {"by-hand": lambda s, a: request_rotation(actor=a, policy=s.policy_now(s.policy))},
    Action.ROTATION_CUT: {
        "emergency": lambda s, a: request_rotation(actor=a, policy=s.policy_now(s.policy), emergency=True),
        "grace": lambda s, a: rotation_acts.end_grace(actor=a, rotation=s.rotation_now()),
    },
    Action.ROTATION_RESOLVE: {
        "back": lambda s, a: rotation_acts.roll_back(actor=a, rotation=s.rotation_now())
    },
    Action.ROTATION_SUSPEND: {
        "resume": lambda s, a: policies.resume(actor=a, policy=s.policy_now(s.resting))
    },
}
# What managers and editors may do alone, and why.
ALONE: Final[dict[Action, str]] = {
    **dict.fromkeys(
        (
            Action.ENVIRONMENT_VIEW, Action.SECRET_VIEW, Action.TARGET_VIEW, Action.MEMBER_VIEW,
            Action.TOKEN_VIEW, Action.TRUST_VIEW, Action.TRAIL_VIEW, Action.NOTIFICATION_VIEW, Action.APPROVAL_VIEW,
            Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE,
        ),
        "it reads, and is recorded",
    ),
    Action.SECRET_RELEASE_END: "it narrows access",
    **dict.fromkeys((Action.MEMBER_REVOKE, Action.TOKEN_REVOKE, Action.TRUST_DELETE), "it narrows access"),
    Action.ENVIRONMENT_RESTORE: "it brings back what two people deleted, as it was; it is recorded",
    Action.TRUST_TEST: "it lets nobody in, and is recorded",
    **dict.fromkeys(
        (
            Action.NOTIFICATION_CREATE, Action.NOTIFICATION_REMOVE, Action.NOTIFICATION_RETRY,
            Action.NOTIFICATION_TEST,
        ),
        "messages hold no value",
    ),
    **dict.fromkeys((Action.TARGET_PLAN, Action.TARGET_TEST, Action.TARGET_PAUSE), "it writes nothing"),
    Action.TARGET_CREATE: "it writes nothing until a plan is applied; one that syncs by itself is refused",
    **dict.fromkeys(
        (Action.ROTATION_VIEW, Action.CONSENT_VIEW, Action.CONSENT_WITHDRAW), "it reads, or narrows"
    ),
    Action.CONSENT_GIVE: "it lets values be read, as every reader may alone; it is recorded",
    Action.SECRET_SHARE: "it lets a value be read once, as every reader may; it is recorded",
    Action.ROTATION_CREATE: "a policy begins suspended",
    Action.ROTATION_CHANGE: "only a suspended policy is changed",
    Action.ROTATION_REMOVE: "it ends what was approved",
    Action.ROTATION_CONNECT: "a part of rotating",
    Action.ROTATION_ACKNOWLEDGE: "a consumer says that it has the value",
    Action.TARGET_CONNECT: "a part of planning and applying",
    Action.SECRET_DELIVER: "a part of applying",
    Action.SECRET_PULL: "a part of applying",
    Action.TOKEN_CHANGE: "it narrows access",
    Action.ACCESS_CONFIRM: "it takes another person by its own rule",
    Action.APPROVAL_DECIDE: "it is the second person",
}  # fmt: skip
WAYS: Final = [(action, way) for action, ways in ACTS.items() for way in ways]


def test_every_act_of_a_role_is_guarded_or_says_why_not() -> None:
    assert ROLE_ACTIONS[Role.MANAGER] <= ACTS.keys() | ALONE.keys()
    assert not ACTS.keys() & ALONE.keys()
    # Reads of guarded secrets, which change nothing: secrets_app/tests/services/test_guarded.py.
    reads = {str(Action.SECRET_REVEAL)}
    assert {str(action) for action in ACTS} | reads == interfaces._owners().keys()


def _state() -> dict[str, list[Any]]:
    """Return all that the guarded acts write."""
    kinds: list[tuple[Any, tuple[str, ...]]] = [
        (Secret, ("uuid", "environment", "name", "revision", "live", "guarded", "decoy")),
        (SecretVersion, ("uuid", "number")),
        (Membership, ("uuid", "role", "prefix", "expires_at")),
        (ServiceToken, ("uuid",)),
        (Trust, ("uuid", "row_mac")),
        (ProgramRelease, ("uuid",)),
        (GroupMember, ("user", "group")),
        (SamlGroupMapping, ("group", "role")),
        (
            Environment,
            ("name", "protected", "display_name", "offline_hours", "version_defaults", "guarded_prefixes"),
        ),
        (Target, ("uuid", "automatic")),
        (Run, ("uuid", "plan")),
        (Migration, ("uuid", "state", "approvals")),
        (RotationPolicy, ("uuid", "suspended_at")),
        (Rotation, ("uuid", "step", "emergency", "cut")),
    ]
    return {kind.__name__: sorted(map(str, kind.objects.values_list(*columns))) for kind, columns in kinds}


def _asked(stage: Stage, act: Act) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act(stage, stage.as_(stage.cast.alice))
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


@pytest.mark.parametrize(("action", "way"), WAYS, ids=[f"{action}-{way}" for action, way in WAYS])
def test_it_waits_for_a_second_person_and_is_done_once(stage: Stage, action: Action, way: str) -> None:
    act = ACTS[action][way]
    before = _state()
    approval = _asked(stage, act)
    assert _state() == before
    assert approval.action == action
    assert approval.environment == stage.place
    told = str(Approval.objects.filter(pk=approval.pk).values())
    assert NEW not in told
    assert VALUE not in told
    # Asked again, it is the same request.
    assert _asked(stage, act).pk == approval.pk
    requester = User.objects.get(uuid=approval.requester_uuid)
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=stage.as_(requester), approval=approval)
    approved = approvals.approve(actor=stage.as_(stage.cast.erin), approval=approval)
    assert _state() == before
    approvals.carry_out(actor=stage.as_(requester), approval=approved)
    assert _state() != before
    after = _state()
    stored = Approval.objects.select_related("environment").get(pk=approval.pk)
    assert stored.state == ApprovalState.EXECUTED
    assert stored.is_authentic()
    assert not PendingValue.objects.exists()
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=stage.as_(requester), approval=stored)
    with pytest.raises(ApprovalVoid):
        # Somebody who read the row before it was carried out.
        approvals.carry_out(actor=stage.as_(requester), approval=approved)
    assert _state() == after


@pytest.mark.parametrize("lost_by", ["requester", "approver"])
@pytest.mark.parametrize(("action", "way"), WAYS, ids=[f"{action}-{way}" for action, way in WAYS])
def test_who_loses_the_right_while_it_is_applied_changes_nothing(
    stage: Stage, action: Action, way: str, lost_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The use case has asked for the rights; the transaction asks once more, behind the lock of the log."""
    approval = _asked(stage, ACTS[action][way])
    requester = User.objects.get(uuid=approval.requester_uuid)
    actor = stage.as_(requester)
    approved = approvals.approve(actor=stage.as_(stage.cast.erin), approval=approval)
    loser = requester if lost_by == "requester" else stage.cast.erin
    recorded = gate.record_act

    def meanwhile(**given: Any) -> None:
        # Rows whose MAC is not theirs give nothing.
        Membership.objects.filter(user=loser).update(role=Role.VIEWER)
        User.objects.filter(pk=loser.pk).update(role=UserRole.USER)
        recorded(**given)

    before = _state()
    monkeypatch.setattr(gate, "record_act", meanwhile)
    with pytest.raises(ApprovalVoid, match="permission"):
        approvals.carry_out(actor=actor, approval=approved)
    # The right is lost in the same transaction here, so that it is taken back with it. A move copies first.
    assert _state() == before or (
        action == Action.SECRET_MOVE and Secret.objects.get(pk=stage.secret.pk).live
    )
    assert Approval.objects.get(pk=approval.pk).state == ApprovalState.APPROVED


def test_a_target_of_a_protected_environment_does_not_sync_by_itself_unasked(stage: Stage) -> None:
    alice = stage.as_(stage.cast.alice)
    with pytest.raises(Conflict):
        targets.create(
            actor=alice,
            environment=stage.place,
            name="new",
            backend="vault_kv2",
            destination={"address": "http://127.0.0.1:1"},
            credentials={"token": "t"},
            automatic=True,
        )
    with pytest.raises(Conflict):
        runs_runner.request_sync(actor=alice, target=stage.target)


def test_a_policy_of_a_protected_environment_does_not_rotate_unasked(stage: Stage) -> None:
    alice = stage.as_(stage.cast.alice)
    with pytest.raises(Conflict):
        policies.change(actor=alice, policy=stage.policy_now(stage.policy), grace_seconds=5)
    made = policies.create(
        actor=alice, secret=stage.fresh(stage.secret), rotator="generated", settings={}, credentials={}
    )
    assert made.suspended_at is not None
