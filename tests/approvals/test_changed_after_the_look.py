"""An act whose object changes between the look at the approval and the lock is void, and writes nothing.

Without the second look what was approved for one state is carried out on another one. What has changed before
the decision is not approved.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from django.db.models import F
from django.test import Client

from environments_app import interfaces
from environments_app.approvals import applying, gate
from environments_app.approvals import service as approvals
from environments_app.environments import memberships
from environments_app.environments.deletion import delete_environment
from environments_app.environments.service import update_environment
from environments_app.errors import ApprovalNeeded, ApprovalVoid
from environments_app.models import (
    Approval,
    ApprovalState,
    Delivery,
    Environment,
    Membership,
    Role,
    ServiceToken,
    Trust,
)
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens.service import issue
from environments_app.trusts import service as trusts
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.types.registry import SecretType
from sync_app.models import RotationPolicy, Target
from sync_app.rotation.policies import service as policies
from sync_app.targets import service as targets
from sync_app.tests.shown import make_target

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@dataclass(frozen=True)
class Act:
    """What is approved, what changes meanwhile, and how to see whether it was done."""

    approved: Callable[[Cast], Any]
    meanwhile: Callable[[Cast], Any]
    is_done: Callable[[], bool]


def policy() -> RotationPolicy:
    return RotationPolicy.objects.select_related("environment", "secret__environment").get()


def target() -> Target:
    return Target.objects.select_related("environment").get()


def place() -> Environment:
    return Environment.objects.get(name="production")


def membership() -> Membership:
    return Membership.objects.select_related("environment", "user").get(user__username="charlie")


def token() -> ServiceToken:
    return ServiceToken.objects.select_related("environment").get(name="deploy", replaces=None)


def trust() -> Trust:
    return Trust.objects.select_related("environment").get()


def alice(cast: Cast) -> Any:
    return cast.principal(cast.alice)


ACTS: Final = {
    "resume a rotation policy": Act(
        lambda cast: policies.resume(actor=alice(cast), policy=policy()),
        lambda cast: policies.change(actor=alice(cast), policy=policy(), grace_seconds=7000),
        lambda: policy().suspended_at is None,
    ),
    "resume a policy whose settings change": Act(
        lambda cast: policies.resume(actor=alice(cast), policy=policy()),
        lambda cast: policies.change_connection(
            actor=alice(cast),
            policy=policy(),
            credentials={},
            settings={"kind": "password", "options": '{"length": 12}'},
        ),
        lambda: policy().suspended_at is None,
    ),
    "sync automatically": Act(
        lambda cast: targets.change(actor=alice(cast), target=target(), automatic=True),
        lambda cast: targets.change(actor=alice(cast), target=target(), budget_number=7),
        lambda: target().automatic,
    ),
    "raise a role": Act(
        lambda cast: memberships.change_membership(
            actor=alice(cast), membership=membership(), role=Role.EDITOR
        ),
        lambda cast: memberships.change_membership(
            actor=alice(cast), membership=membership(), role=Role.VIEWER
        ),
        lambda: membership().role == Role.EDITOR,
    ),
    "end the protection": Act(
        lambda cast: update_environment(actor=alice(cast), environment=place(), protected=False),
        lambda cast: update_environment(actor=alice(cast), environment=place(), offline_hours=1),
        lambda: not place().protected,
    ),
    "delete the environment": Act(
        lambda cast: delete_environment(actor=alice(cast), environment=place()),
        lambda cast: update_environment(actor=alice(cast), environment=place(), offline_hours=1),
        lambda: not Environment.objects.filter(name="production").exists(),
    ),
    "replace a token": Act(
        lambda cast: token_rotation.rotate(actor=alice(cast), token=token()),
        lambda cast: token_rotation.narrow(actor=alice(cast), token=token(), prefix="pay"),
        lambda: ServiceToken.objects.exclude(replaces=None).exists(),
    ),
    "widen a trust": Act(
        lambda cast: trusts.change(actor=alice(cast), trust=trust(), role="editor"),
        lambda cast: trusts.change(actor=alice(cast), trust=trust(), enabled=False),
        lambda: trust().role == "editor",
    ),
}


@pytest.fixture
def scene(cast: Cast) -> Cast:
    """Let alice and erin manage production, which is protected, and have one of each thing there."""
    actor = alice(cast)
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    memberships.grant(actor=actor, environment=cast.production, user=cast.charlie, role="reader")
    issue(actor=actor, environment=cast.production, name="deploy", role="reader")
    make_trust(cast, Issuer())
    make_target(cast.production)
    secret, _ = (
        write.create(
            actor=actor,
            environment=cast.production,
            name=name,
            secret_type=SecretType.PASSWORD,
            value="a-first-value",
        )
        for name in ("pay/key", "pay/other")
    )
    made = policies.create(
        actor=actor, secret=secret, rotator="generated", settings={}, credentials={}, grace_seconds=200
    )
    policies.suspend(actor=actor, policy=made)
    update_environment(actor=actor, environment=cast.production, protected=True, offline_hours=24)
    cast.production.refresh_from_db()
    return cast


@pytest.mark.parametrize("name", ACTS)
def test_it_is_void(name: str, scene: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    act = ACTS[name]
    request = asked(lambda: act.approved(scene))
    approvals.explain(actor=alice(scene), approval=request, reason="", held=True)
    approvals.approve(actor=scene.principal(scene.erin), approval=request)
    look = gate._matching
    changed: list[str] = []

    def then_it_changes(*given: Any) -> Approval | None:
        found = look(*given)
        if found is not None and not changed:
            changed.append(name)
            act.meanwhile(scene)
        return found

    monkeypatch.setattr(gate, "_matching", then_it_changes)
    with pytest.raises(ApprovalVoid, match="changed since"):
        act.approved(scene)
    assert changed
    assert not act.is_done()
    assert Approval.objects.get(pk=request.pk).state == ApprovalState.APPROVED


@pytest.mark.parametrize("name", ACTS)
def test_what_has_changed_already_is_not_approved(name: str, scene: Cast, client: Client) -> None:
    act = ACTS[name]
    request = asked(lambda: act.approved(scene))
    assert can_be_approved(scene, request, client)
    act.meanwhile(scene)
    refuse_to_approve(scene, request, client)
    assert not act.is_done()


def test_a_secret_that_has_changed_or_is_gone_is_not_approved(scene: Cast, client: Client) -> None:
    secret = Secret.objects.select_related("environment").get(name="pay/other")
    request = asked(lambda: lifecycle.delete(actor=alice(scene), secret=secret))
    assert can_be_approved(scene, request, client)
    Secret.objects.update(revision=F("revision") + 1)
    refuse_to_approve(scene, request, client)
    Approval.objects.filter(pk=request.pk).update(arguments={"secret": 10**6})
    assert interfaces.owner_of(request.action).state_of(Approval.objects.get(pk=request.pk)) is None


def test_what_is_gone_meanwhile_is_named_on_the_request(scene: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision is stored by then, so that it is not answered as if there were no such request."""
    request = asked(lambda: ACTS["raise a role"].approved(scene))
    look = gate._matching

    def then_it_goes(*given: Any) -> Approval | None:
        found = look(*given)
        memberships.revoke_membership(actor=alice(scene), membership=membership())
        return found

    monkeypatch.setattr(gate, "_matching", then_it_goes)
    applied = applying.approve_and_apply(actor=scene.principal(scene.erin), approval=request)
    assert (applied.done, applied.reason) == (
        False,
        "alice can see it no longer, or it is gone. Nothing was changed.",
    )
    stored = Approval.objects.get(pk=request.pk)
    assert (stored.state, stored.failure) == (ApprovalState.APPROVED, applied.reason)


def asked(act: Callable[[], Any]) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def can_be_approved(scene: Cast, request: Approval, client: Client) -> bool:
    """Return whether the second person's page has the button to approve; else it says why not."""
    client.force_login(scene.erin)
    page = client.get(f"/approvals/{request.pk}").content.decode()
    found = bool(re.search(r"Approve( and apply)?</button>", page))
    assert found is ("has changed since the request" not in page)
    return found


def refuse_to_approve(scene: Cast, request: Approval, client: Client) -> None:
    """See that the second person is told, and the requester, and that nothing is decided."""
    assert not can_be_approved(scene, request, client)
    with pytest.raises(ApprovalVoid, match="has changed since the request"):
        approvals.approve(actor=scene.principal(scene.erin), approval=request)
    assert Approval.objects.get(pk=request.pk).state == ApprovalState.PENDING
    assert Delivery.objects.filter(subject__startswith="erin could not approve your request").exists()
