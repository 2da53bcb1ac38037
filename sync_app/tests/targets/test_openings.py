"""Which openings of a target's credentials are on record: each but those that Keeper's passes repeat."""

from collections.abc import Callable

import pytest

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal
from environments_app.tests.cast import Cast
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import NotTheActiveInstallation, SystemMismatch
from sync_app.models import Target
from sync_app.targets import credentials
from sync_app.targets.credentials import TargetSession, open_backend, seal_credentials, target_principal
from sync_app.tests.making import made

pytestmark = pytest.mark.django_db
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def target(cast: Cast, vault: VaultWorld) -> Target:
    return made(cast, vault)


@pytest.fixture
def opened(target: Target, events: Events) -> Callable[[Principal], bool]:
    """Open the credentials as somebody, and return whether that is on record."""

    def open_as(actor: Principal) -> bool:
        before = len(events(Action.TARGET_CONNECT))
        with open_backend(actor=actor, target=target):
            return len(events(Action.TARGET_CONNECT)) > before

    return open_as


def test_those_of_a_person_are_all_on_record(
    cast: Cast, target: Target, opened: Callable[[Principal], bool]
) -> None:
    alice, own = cast.principal(cast.alice), target_principal(target)
    found = [opened(actor) for actor in (alice, alice, own, own, alice, own, own)]
    # After a person's, Keeper's own next one is again.
    assert found == [True, True, True, False, True, True, False]


def test_other_credentials_are_another_opening(
    target: Target, vault: VaultWorld, opened: Callable[[Principal], bool]
) -> None:
    own = target_principal(target)
    assert (opened(own), opened(own)) == (True, False)
    # The same, sealed anew by who writes rows, without an event.
    seal_credentials(target, vault.credentials)
    target.save()
    assert opened(own)


@pytest.mark.parametrize(
    ("action", "outcome", "details", "by_keeper", "ends"),
    [
        (Action.TARGET_PLAN, Outcome.ALLOWED, {"empty": True}, True, False),
        # What found something, failed, or was a person's.
        (Action.TARGET_PLAN, Outcome.ALLOWED, {}, True, True),
        (Action.TARGET_PLAN, Outcome.ALLOWED, {"empty": True}, False, True),
        (Action.TARGET_PLAN, Outcome.FAILED, {"empty": True}, True, True),
        (Action.TARGET_CONNECT, Outcome.FAILED, {}, True, True),
        (Action.TARGET_APPLY, Outcome.ALLOWED, {}, True, True),
    ],
)
def test_another_event_about_the_target_ends_the_repetition(
    cast: Cast,
    target: Target,
    opened: Callable[[Principal], bool],
    action: Action,
    outcome: Outcome,
    details: dict[str, Json],
    by_keeper: bool,
    ends: bool,
) -> None:
    own = target_principal(target)
    opened(own)
    actor = own if by_keeper else cast.principal(cast.alice)
    commit_record(actor=actor, action=action, **stream_and_object(target), outcome=outcome, details=details)
    assert opened(own) is ends


def test_each_part_of_a_run_asks_again_whether_it_may_connect(
    cast: Cast, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = cast.principal(cast.alice)
    with TargetSession(target) as session:
        first = session.backend(alice)
        assert session.backend(alice) is first
        monkeypatch.setattr(credentials, "is_active", lambda: False)
        with pytest.raises(NotTheActiveInstallation):
            session.backend(alice)


def test_nothing_is_asked_of_another_system(cast: Cast, target: Target) -> None:
    target.system = "vault/another/secret"
    target.save()
    with (
        pytest.raises(SystemMismatch, match="made for vault/another"),
        open_backend(actor=cast.principal(cast.alice), target=target),
    ):
        pytest.fail("it must not connect")
