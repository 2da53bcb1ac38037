import re
from pathlib import Path

import pytest
from django.conf import settings

from audit_app.events import action_labels
from audit_app.events.actions import Action
from core.ui import labels
from environments_app.models.environment import Colour
from environments_app.trusts.presets import PRESETS
from secrets_app.types.registry import SecretType
from sync_app.backends.registry import BACKENDS
from sync_app.rotators.registry import ROTATORS

STATIC = Path(settings.BASE_DIR) / "static/keeper"


def test_every_action_has_words() -> None:
    assert all(action.label and action.done and action.tried for action in Action)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("allowed", "revealed"), ("denied", "was not allowed to reveal"), ("failed", "failed to reveal")],
)
def test_what_was_only_tried_is_not_told_as_done(outcome: str, words: str) -> None:
    assert action_labels.verb("secret.reveal", outcome) == words


def test_each_name_of_an_action_is_its_own_within_its_group() -> None:
    names = [(action_labels.group_of(act), act.label) for act in Action]

    assert len(set(names)) == len(names)


def test_each_subject_of_an_action_belongs_to_one_group() -> None:
    subjects = [subject for group in action_labels.GROUPS.values() for subject in group]

    assert len(set(subjects)) == len(subjects)
    assert set(subjects) <= {action.partition(".")[0] for action in Action}


def test_a_refused_request_says_that_access_was_denied() -> None:
    assert action_labels.verb("access.refused", "denied") == "was denied access"


def test_an_unknown_action_is_told_in_its_own_words() -> None:
    assert action_labels.verb("moon.full_eclipse") == "moon full eclipse"


def test_every_type_has_an_icon() -> None:
    assert set(labels.TYPE_ICONS) == set(SecretType.values)


def test_the_palette_is_that_of_environments_and_each_has_its_class() -> None:
    styles = (STATIC / "css/frame.css").read_text()

    assert set(labels.ENVIRONMENT_COLOURS) == set(Colour.values)
    assert set(re.findall(r"^\.env-([a-z]+) ", styles, re.MULTILINE)) == set(Colour.values)


def test_every_icon_of_a_state_or_type_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))

    assert {look.icon for look in labels.STATUS.values()} | set(labels.TYPE_ICONS.values()) <= sprite


def test_every_system_has_a_mark_of_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))
    marks = {kind.icon for kinds in (BACKENDS, ROTATORS, PRESETS) for kind in kinds.values()}

    assert marks <= sprite
    # A list of kinds is told apart by its marks.
    assert len({kind.icon for kind in BACKENDS.values()}) == len(BACKENDS)
    assert not {"sync", "rotate"} & marks


def test_no_two_states_of_a_tone_share_both_icon_and_word() -> None:
    looks = [(look.icon, look.word) for look in labels.STATUS.values()]

    assert len(looks) == len(set(looks))
