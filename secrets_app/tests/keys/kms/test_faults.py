"""Each fault of KMS, as docs/keys.md lists it: what the operator reads, and what Keeper does."""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from secrets_app.errors import KeyRefused, KeyUnavailable, SecretError, WrongContext
from secrets_app.keys.providers.aws_kms.provider import KmsProvider
from secrets_app.keys.providers.base import Generated
from tests.aws_strict.faults import Fault, Plan
from tests.aws_strict.rules import ACCOUNT

CONTEXT = {"keeper:data-key": "1"}
DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "keys.md"
_ROW = re.compile(r"^\| (?P<fault>[^|]+) \| `(?P<message>[^`|]+)` \|", re.MULTILINE)


class World:
    """A data key that KMS has made, and all that can go wrong before it is opened."""

    def __init__(self, plan: Plan, client: Any, key: str, settings: Settings) -> None:
        self.plan, self.client, self.key, self.settings = plan, client, key, settings
        self.made: Generated = KmsProvider().generate(key_uri=key, context=CONTEXT)
        self.asked = key

    def fail(self, fault: Fault) -> None:
        self.plan.keep_failing("Decrypt", fault)

    def hang(self) -> None:
        self.settings.KMS_TIMEOUT_SECONDS = 0.5
        self.fail(Fault.HANG)

    def be_unreachable(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.settings.AWS_ENDPOINT_URL_KMS = f"http://127.0.0.1:{taken.getsockname()[1]}"

    def disable(self) -> None:
        self.client.disable_key(KeyId=self.key.rpartition("/")[2])

    def schedule_deletion(self) -> None:
        self.client.schedule_key_deletion(KeyId=self.key.rpartition("/")[2])

    def delete(self) -> None:
        self.ask_for(self.key[:-12] + "0" * 12)

    def move_region(self) -> None:
        self.settings.AWS_REGION = "eu-west-1"

    def move_account(self) -> None:
        self.ask_for(self.key.replace("123456789012", "210987654321"))
        self.settings.KMS_ALLOWED_KEYS = [self.asked]

    def wrap_elsewhere(self) -> None:
        self.ask_for(self.client.create_key()["KeyMetadata"]["Arn"])

    def ask_for(self, key: str) -> None:
        self.asked = key

    def open(self) -> bytes:
        return KmsProvider().unwrap(key_uri=self.asked, wrapped=self.made.wrapped, context=CONTEXT)


Act = Callable[[World], None]

LASTING, PASSING, THROTTLED = (True, False), (False, False), (False, True)
FAULTS: dict[str, tuple[Act, type[SecretError], tuple[bool, bool] | None]] = {
    "throttled": (lambda world: world.fail(Fault.THROTTLE), KeyUnavailable, THROTTLED),
    "hanging": (World.hang, KeyUnavailable, PASSING),
    "unreachable": (World.be_unreachable, KeyUnavailable, PASSING),
    "reply lost": (lambda world: world.fail(Fault.DROPPED_REPLY), KeyUnavailable, PASSING),
    "failing": (lambda world: world.fail(Fault.SERVER_ERROR), KeyUnavailable, PASSING),
    "access denied": (lambda world: world.fail(Fault.ACCESS_DENIED), KeyUnavailable, LASTING),
    "credentials expired": (lambda world: world.fail(Fault.EXPIRED), KeyUnavailable, LASTING),
    "key disabled": (World.disable, KeyUnavailable, LASTING),
    "key pending deletion": (World.schedule_deletion, KeyUnavailable, LASTING),
    "key deleted": (World.delete, KeyUnavailable, LASTING),
    "wrong region": (World.move_region, KeyUnavailable, LASTING),
    "wrong account": (World.move_account, KeyUnavailable, LASTING),
    "reply with another key": (lambda world: world.fail(Fault.OTHER_KEY), KeyRefused, None),
    "wrapped by another key": (World.wrap_elsewhere, WrongContext, None),
}


def documented() -> dict[str, str]:
    """Return the table of docs/keys.md: what an operator reads, by fault."""
    table = DOCUMENT.read_text().partition("## When KMS fails")[2].partition("\n## ")[0]
    return {row["fault"]: row["message"] for row in _ROW.finditer(table)}


@pytest.fixture
def world(strict_kms: Plan, kms_client: Any, kms_key: str, settings: Settings) -> World:
    return World(strict_kms, kms_client, kms_key, settings)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_operator_reads_what_the_table_says(world: World, fault: str) -> None:
    act, kind, nature = FAULTS[fault]
    assert world.open() == world.made.plain
    act(world)
    with pytest.raises(kind) as raised:
        world.open()
    stands_for = {"KEY": world.asked, "N seconds": "0.5 seconds", "ACCOUNT": ACCOUNT}
    told = documented()[fault]
    for placeholder, what in stands_for.items():
        told = re.sub(rf"\b{placeholder}\b", what, told)
    assert str(raised.value) == told
    if isinstance(raised.value, KeyUnavailable):
        assert (raised.value.permanent, raised.value.throttled) == nature


def test_the_table_has_each_fault_and_a_message_of_its_own() -> None:
    table = documented()
    assert table.keys() == FAULTS.keys()
    assert len(set(table.values())) == len(table)


def test_a_slow_answer_is_waited_for(world: World) -> None:
    world.fail(Fault.SLOW)
    assert world.open() == world.made.plain


def test_no_message_holds_what_kms_said(world: World) -> None:
    world.fail(Fault.ACCESS_DENIED)
    with pytest.raises(KeyUnavailable) as raised:
        world.open()
    assert "user/keeper" not in str(raised.value)
