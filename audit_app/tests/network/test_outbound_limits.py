"""The bounds of requests to other systems hold, and are given back where something fails."""

import threading

import pytest

from audit_app.network.outbound_limits import limited, resolved

# More than names are asked for at once.
TIMES = 20


def test_a_thread_that_cannot_start_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(TIMES):
            with pytest.raises(RuntimeError, match="can't start"), limited(1):
                resolved("localhost", 80)
    with limited(60):
        assert resolved("localhost", 80)
