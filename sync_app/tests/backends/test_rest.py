"""Keeper keeps to the limit that a system names."""

import time

import pytest

from sync_app.backends.rest import RestClient
from sync_app.errors import TargetBusy


def test_a_limit_holds_until_it_is_reset_and_no_longer() -> None:
    client = RestClient("https://system.example", label="System")
    client._left = (0, time.time() - 1)
    client.require_room()
    client._left = (0, time.time() + 60)
    with pytest.raises(TargetBusy):
        client.require_room()
