"""How long a mail server has altogether for each act of Keeper's mail backend."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail.backends import smtp
from pytest_django import Settings

from core.network.limits import current_limit
from core.network.mail import EmailBackend


@pytest.mark.parametrize(
    ("act", "patched", "steps"),
    [
        (lambda backend: backend.open(), "open", 1),
        (lambda backend: backend.close(), "close", 1),
        # It signs in, sends and takes leave, for each of which a server has the whole time.
        (lambda backend: backend.send_messages([]), "send_messages", 3),
    ],
    ids=["open", "close", "send"],
)
@pytest.mark.parametrize(("own", "of_settings", "seconds"), [(None, 20, 20), (7, 20, 7)])
def test_each_step_has_the_whole_timeout(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    act: Callable[[EmailBackend], object],
    patched: str,
    steps: int,
    own: int | None,
    of_settings: int,
    seconds: int,
) -> None:
    settings.EMAIL_TIMEOUT = of_settings
    seen: list[str] = []

    def note(_backend: EmailBackend, *_: Any) -> None:
        seen.append(str(current_limit().passed()))

    monkeypatch.setattr(smtp.EmailBackend, patched, note)
    act(EmailBackend(timeout=own))
    assert seen == [f"there was no whole answer within {steps * seconds} seconds"]
