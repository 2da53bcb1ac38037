"""System checks: what people and tokens need to be set up rightly."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from environments_app.tokens.peppers import MIN_PEPPER_LENGTH

_MAX_ID_LENGTH = 32


def token_peppers(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse peppers that are missing, malformed, too short, or share an id."""
    entries = settings.KEEPER_TOKEN_PEPPERS
    pairs = [entry.partition(":") for entry in entries]
    malformed = not entries or any(
        not 1 <= len(pepper_id) <= _MAX_ID_LENGTH or len(pepper) < MIN_PEPPER_LENGTH
        for pepper_id, _, pepper in pairs
    )
    errors: list[CheckMessage] = []
    if malformed:
        errors.append(
            Error(
                "KEEPER_TOKEN_PEPPERS holds an entry that is not `id:pepper`.",
                hint=f"A pepper has at least {MIN_PEPPER_LENGTH} random characters; "
                "the first entry hashes new tokens.",
                id="environments_app.E001",
            )
        )
    if len({pepper_id for pepper_id, _, _ in pairs}) != len(pairs):
        errors.append(
            Error(
                "KEEPER_TOKEN_PEPPERS uses an id twice.",
                hint="Give each pepper an id of its own and never reuse one.",
                id="environments_app.E002",
            )
        )
    return errors
