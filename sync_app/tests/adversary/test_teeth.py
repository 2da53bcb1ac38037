"""The adversary finds faults: each of Keeper's precautions is taken away, and a violation is found."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from environments_app.tests.cast import make_cast
from sync_app.applying import item_actions
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.vault import backend as vault_backend
from sync_app.backends.vault.writes import VaultWrites
from sync_app.domain.reconciliation import DeletionBudget, Item
from sync_app.planning import sync_entries
from sync_app.planning.discovery import Finding
from sync_app.state import ownership
from sync_app.targets import credentials
from sync_app.tests.adversary.combinations import every
from sync_app.tests.adversary.judge import Book, Violation
from sync_app.tests.adversary.test_adversary import LONG_ROUNDS, STRIDE, WORLDS, choices, play, undone
from sync_app.tests.adversary.worlds import Make

pytestmark = [pytest.mark.django_db, pytest.mark.torture]

Break = Callable[[pytest.MonkeyPatch], None]
# Most are found by the first.
_EPISODES: Final = 120


def no_proof_around_a_write(patch: pytest.MonkeyPatch) -> None:
    """Neither the mark nor what a write came over is looked at."""
    patch.setattr(item_actions, "_is_owned", lambda *_: True)
    patch.setattr(VaultWrites, "revert", lambda *_, **__: None)
    patch.setattr(vault_backend, "_shows_mark", lambda *_: True)


def no_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    """AWSCURRENT is moved from whatever version carries it by then."""
    move = AwsSecretsManager._move_stage

    def moved(self: AwsSecretsManager, stage: str, seen: Any, **versions: str) -> None:
        if stage == "AWSCURRENT":
            versions["RemoveFromVersionId"] = self.get_metadata(seen.name).version
        move(self, stage, seen, **versions)

    patch.setattr(AwsSecretsManager, "_move_stage", moved)


def no_ownership_before_a_deletion(patch: pytest.MonkeyPatch) -> None:
    """What our entry calls ours is ours, whatever is there."""
    patch.setattr(ownership, "_is_marked", lambda *_: True)
    patch.setattr(ownership, "is_same_secret", lambda *_: True)
    patch.setattr(item_actions, "_require_owned", lambda _backend, now, _job: now)


def no_deletion_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DeletionBudget, "allows", lambda *_, **__: True)


def no_base(patch: pytest.MonkeyPatch) -> None:
    """A change in the target is not noticed."""
    patch.setattr(Item, "target_changed", property(lambda _: False))


def no_proof_of_the_system(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(credentials, "require_same_system", lambda *_: None)


def silence_about_what_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Finding, "was_owned", lambda *_: False)


def forgetting_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync_entries, "_is_removable", lambda *_, **__: True)


# Where each precaution matters: the backends, and some of the rules.
BREAKS: Final[Mapping[Break, tuple[tuple[str, ...], Mapping[str, str]]]] = {
    no_proof_around_a_write: (("vault_kv2",), {"direction": "push"}),
    no_compare_and_set: (("aws_secrets_manager",), {"direction": "push"}),
    no_ownership_before_a_deletion: (tuple(WORLDS), {"direction": "push", "deletion": "recoverable"}),
    no_deletion_budget: (tuple(WORLDS), {"direction": "push", "deletion": "recoverable"}),
    no_base: (tuple(WORLDS), {"direction": "push", "conflict": "ask"}),
    no_proof_of_the_system: (tuple(WORLDS), {"direction": "push"}),
    silence_about_what_is_lost: (tuple(WORLDS), {"direction": "push"}),
    forgetting_at_once: (("vault_kv2",), {"direction": "push"}),
}


@pytest.mark.parametrize(
    ("backend", "broken"),
    [
        pytest.param(backend, broken, id=f"{broken.__name__}-{backend}")
        for broken, (backends, _) in BREAKS.items()
        for backend in backends
    ],
)
def test_it_is_found(
    make_world: Make,
    backend: str,
    broken: Break,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = BREAKS[broken][1]
    combinations = [each for each in every(choices(backend)) if rules.items() <= each.items()]
    broken(monkeypatch)
    for seed in range(_EPISODES):
        combination = combinations[seed * STRIDE % len(combinations)]
        try:
            with undone():
                play(make_world, make_cast(), combination, seed, LONG_ROUNDS, Book(), caplog)
        except Violation as found:
            with capsys.disabled():
                print(f"\n{broken.__name__}, {backend}, episode {seed}: {str(found)[:100]}")  # noqa: T201
            return
    pytest.fail(f"nothing was found in {_EPISODES} episodes")
