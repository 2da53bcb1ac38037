"""Targets in the admin: what operators may do to several, asked first, refused where administration gives no right."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast
from sync_app.models import Run, Target
from sync_app.tests.shown import make_target

LIST = "/admin/sync_app/target/"


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


def act(client: Client, name: str, target: Target, **answer: str) -> str:
    form = {"action": name, "_selected_action": [str(target.pk)], **answer}
    return client.post(LIST, form, follow=True).content.decode()


def test_operators_pause_and_resume_targets(
    root: Client, target: Target, events: Callable[..., list[AuditEvent]]
) -> None:
    assert "Target paused. Nothing is written until you resume. (development/vault)" in act(
        root, "pause", target, agreed="Pause"
    )
    assert Target.objects.get().paused_at is not None
    assert "Target resumed. (development/vault)" in act(root, "resume", target, agreed="Resume")
    assert Target.objects.get().paused_at is None
    assert [event.actor_name for event in events(Action.TARGET_PAUSE)] == ["root", "root"]


def test_a_sync_is_asked_first_and_takes_more_than_administration(
    root: Client, cast: Cast, target: Target
) -> None:
    assert "carries out at once" in act(root, "sync", target)
    assert not Run.objects.exists()
    assert "Not done: You don&#x27;t have permission to do this." in act(
        root, "sync", target, agreed="Sync now"
    )
    assert not Run.objects.exists()

    Membership.objects.create(environment=cast.development, user=cast.root, role="manager")

    assert "1 of 1 done." in act(root, "sync", target, agreed="Sync now")
    assert Run.objects.get().actor_name == "root"
