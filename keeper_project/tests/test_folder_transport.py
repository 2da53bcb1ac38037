"""A message of the embedded broker is seen whole or not at all, and by one worker alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from keeper_project.celery import app
from keeper_project.folder_transport import Transport


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Any]:
    folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), str(tmp_path))
    with Connection("filesystem://", transport_options={**folders, "store_processed": False}) as connection:
        yield connection.default_channel


def test_it_is_the_broker_of_keeper() -> None:
    assert isinstance(app.connection_for_write("filesystem://").transport, Transport)


def test_messages_come_in_order_once_and_to_their_queue(channel: Any, tmp_path: Path) -> None:
    for number in range(3):
        channel._put("celery", {"number": number})
    channel._put("other", {"number": 9})
    assert [channel._get("celery")["number"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Empty):
        channel._get("celery")
    assert channel._get("other") == {"number": 9}
    assert list(tmp_path.iterdir()) == []


def test_a_message_that_is_half_written_is_not_there_yet(
    channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, looked = Path.write_text, []

    def in_two_parts(path: Path, text: str, **options: Any) -> int:
        whole(path, text[:5], **options)
        with pytest.raises(Empty):
            channel._get("celery")
        looked.append(path)
        return whole(path, text, **options)

    monkeypatch.setattr(Path, "write_text", in_two_parts)
    channel._put("celery", {"id": 1})
    assert looked
    assert channel._get("celery") == {"id": 1}


def test_what_another_worker_took_is_passed_over(
    channel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel._put("celery", {"id": 1})
    channel._put("celery", {"id": 2})
    rename, first = Path.rename, min(tmp_path.iterdir())

    def too_late(path: Path, target: Path) -> Path:
        if path == first:
            path.unlink(missing_ok=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", too_late)
    assert channel._get("celery") == {"id": 2}


# --- Messages that are acknowledged -----------------------------------------------------------


@pytest.fixture
def open_channel(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Open channels as workers do that acknowledge what they have done."""
    folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), str(tmp_path))
    with ExitStack() as opened:

        def make() -> Any:
            options = {**folders, "store_processed": False}
            connection = opened.enter_context(Connection("filesystem://", transport_options=options))
            channel: Any = connection.default_channel
            channel.basic_consume("celery", no_ack=False, callback=lambda _: None, consumer_tag="test")
            return channel

        yield make


def send(channel: Any, *tags: str) -> None:
    for tag in tags:
        channel._put("celery", {"headers": {"task": "a.task"}, "properties": {"delivery_tag": tag}})


def take(channel: Any) -> Any:
    return channel.basic_get("celery").delivery_tag


def dies(channel: Any) -> None:
    """End the locks of a channel, as the kernel does with those of a process."""
    for _, file in channel._held.values():
        file.close()
    channel._held.clear()
    channel.qos._delivered.clear()


def test_a_message_stays_until_it_is_done(open_channel: Callable[[], Any], tmp_path: Path) -> None:
    first, second = open_channel(), open_channel()
    send(first, "one", "two")
    assert take(first) == "one"
    # Whoever lives keeps what he has.
    assert take(second) == "two"
    assert second.basic_get("celery") is None
    assert len(list(tmp_path.glob("*.taken"))) == 2
    first.basic_ack("one")
    second.basic_reject("two", requeue=False)
    assert not list(tmp_path.glob("*msg*"))


def test_what_is_given_back_keeps_its_place(open_channel: Callable[[], Any]) -> None:
    first, second = open_channel(), open_channel()
    send(first, "one", "two")
    assert take(first) == "one"
    first.close()
    assert [take(second), take(second)] == ["one", "two"]


def test_what_a_dead_worker_held_is_given_back_once(
    open_channel: Callable[[], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = open_channel(), open_channel(), open_channel()
    send(first, "one")
    assert take(first) == "one"
    dies(first)
    assert take(second) == "one"
    dies(second)
    assert third.basic_get("celery") is None
    assert "two workers died of a task, which is left out: a.task" in caplog.text
    assert not list(tmp_path.glob("*msg*"))
