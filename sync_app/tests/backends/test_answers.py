"""An answer that cannot be read names the place in the log, and nothing of what it was about."""

from collections.abc import Iterator

import pytest

from sync_app.backends.answers import reject_malformed_answers
from sync_app.errors import AnswerUnexpected

CANARY = "kanarienvogel"


class Mistaken:
    """A backend with defects of its own."""

    def update(self, value: str) -> None:
        """Fail with the value in the message."""
        raise AttributeError(f"no attribute {value}")

    def list_secrets(self) -> Iterator[str]:
        """Fail after the first name."""
        yield "first"
        raise KeyError(CANARY)


reject_malformed_answers(Mistaken)


def test_a_defect_of_a_backend_is_logged_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AnswerUnexpected):
        Mistaken().update(CANARY)
    line = Mistaken.update.__wrapped__.__code__.co_firstlineno + 2  # type: ignore[attr-defined]
    assert caplog.messages == [
        f"the answer to update could not be read: AttributeError at test_answers.py:{line}"
    ]
    assert CANARY not in caplog.text


def test_a_defect_in_the_middle_of_a_list_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AnswerUnexpected):
        list(Mistaken().list_secrets())
    assert len(caplog.messages) == 1
    assert "KeyError at test_answers.py:" in caplog.text
    assert CANARY not in caplog.text
