"""The limits of what a manager chooses, of a target and of a rotation policy: the last value that passes."""

import pytest

from environments_app.errors import InvalidField
from sync_app.domain.cadence import MAX_SECONDS
from sync_app.models import RotationPolicy, Target
from sync_app.rotation.policies import rules as rotation_rules
from sync_app.targets import rules as target_rules


@pytest.mark.parametrize(
    ("name", "passes", "refused"),
    [
        ("interval_seconds", (0, 60, 2_592_000), (1, 59, 2_592_001)),
        ("budget_number", (0, 100_000), (100_001,)),
        ("budget_percent", (0, 100), (101,)),
    ],
)
def test_the_limits_of_a_target(name: str, passes: tuple[int, ...], refused: tuple[int, ...]) -> None:
    for value in passes:
        target = Target(backend="vault_kv2")
        target_rules.apply_rules(target, {name: value}, allowed=target_rules.CHANGEABLE)
        assert getattr(target, name) == value
    for value in refused:
        with pytest.raises(InvalidField) as told:
            target_rules.apply_rules(
                Target(backend="vault_kv2"), {name: value}, allowed=target_rules.CHANGEABLE
            )
        assert told.value.field == name


@pytest.mark.parametrize(
    ("name", "passes", "refused"),
    [
        ("interval_seconds", (0, 60, MAX_SECONDS), (1, 59, MAX_SECONDS + 1)),
        ("grace_seconds", (0, MAX_SECONDS), (MAX_SECONDS + 1,)),
    ],
)
def test_the_limits_of_a_policy(name: str, passes: tuple[int, ...], refused: tuple[int, ...]) -> None:
    for value in passes:
        policy = RotationPolicy(rotator="generated")
        rotation_rules.apply_rules(policy, {name: value})
        assert getattr(policy, name) == value
    for value in refused:
        with pytest.raises(InvalidField) as told:
            rotation_rules.apply_rules(RotationPolicy(rotator="generated"), {name: value})
        assert told.value.field == name
