import re
from pathlib import Path

import pytest
from django.conf import settings

from audit_app.actions import Action
from environments_app.models.environment import Colour
from keeper_project import wording
from secrets_app.secret_types import SecretType

STATIC = Path(settings.BASE_DIR) / "static/keeper"


@pytest.mark.parametrize("action", Action)
def test_every_action_has_words(action: Action) -> None:
    assert action.value in wording.ACTS


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("allowed", "revealed"), ("denied", "was not allowed to reveal"), ("failed", "failed to reveal")],
)
def test_what_was_only_tried_is_not_told_as_done(outcome: str, words: str) -> None:
    assert wording.verb("secret.reveal", outcome) == words


def test_an_unknown_action_is_told_in_its_own_words() -> None:
    assert wording.verb("moon.full_eclipse") == "moon full eclipse"


def test_every_type_has_an_icon() -> None:
    assert set(wording.TYPE_ICONS) == set(SecretType.values)


def test_the_palette_is_that_of_environments_and_each_has_its_class() -> None:
    styles = (STATIC / "css/keeper.css").read_text()

    assert set(wording.ENVIRONMENT_COLOURS) == set(Colour.values)
    assert set(re.findall(r"^\.env-([a-z]+) ", styles, re.MULTILINE)) == set(Colour.values)


def test_every_icon_of_a_state_or_type_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))

    assert {look.icon for look in wording.STATES.values()} | set(wording.TYPE_ICONS.values()) <= sprite


def test_no_two_states_of_a_tone_share_both_icon_and_word() -> None:
    looks = [(look.icon, look.word) for look in wording.STATES.values()]

    assert len(looks) == len(set(looks))
