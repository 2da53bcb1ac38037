"""The end of a test waits for the server's threads, in whatever state each of them is."""

import threading

import pytest

from tests import requests_under_way


def test_a_thread_that_is_about_to_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.set, name="Thread-1 (process_request_thread)")
    looks = 0

    def enumerated() -> list[threading.Thread]:
        nonlocal looks
        looks += 1
        if looks == 2:
            thread.start()
        return [] if done.is_set() and not thread.is_alive() else [thread]

    monkeypatch.setattr(threading, "enumerate", enumerated)
    requests_under_way.wait_until_none()
    assert done.is_set()
    assert looks > 1


def test_one_that_never_ends_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_under_way, "_PATIENCE", 0.05)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="Thread-1 (process_request_thread)")
    thread.start()
    try:
        with pytest.raises(AssertionError, match="still answers after its test"):
            requests_under_way.wait_until_none()
    finally:
        release.set()
        thread.join()
