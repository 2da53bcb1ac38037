"""A message of the embedded broker is seen whole or not at all, and by one worker alone."""

from collections.abc import Iterator
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
