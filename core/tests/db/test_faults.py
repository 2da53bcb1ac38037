"""An error of the database in the words of its driver."""

import pytest
from django.db import OperationalError, connection

from core.db.faults import reason_of


def test_it_has_the_words_of_the_driver() -> None:
    assert reason_of(OperationalError(2002, "Can't connect")) == "2002: Can't connect"
    assert reason_of(OperationalError("database or disk is full")) == "database or disk is full"
    assert reason_of(OperationalError()) == "OperationalError"


def test_a_message_that_repeats_the_password_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "hunter2")
    assert reason_of(OperationalError(2002, "no mysql://keeper:hunter2@db")) == "OperationalError"
