"""An OpenBao whose reads lag: what was written shows only some time later, as at a standby node."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson
import pytest

from sync_app.backends.vault.adapter import PooledAdapter, Reply

Send = Callable[..., Reply]
_READS: Final = ("metadata", "data")


@dataclass(frozen=True)
class Before:
    """What a path showed before a write, and until when it shows that."""

    answers: dict[str, Reply]
    until: float


class LaggingReads:
    """Answers reads as of before the writes of the last seconds; writes and their check-and-set are not late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
        self.seconds, self.stale = seconds, 0
        self._before: dict[str, Before] = {}
        self._lock = threading.Lock()
        send = PooledAdapter.request

        def request(adapter: PooledAdapter, method: str, url: str, *given: Any, **options: Any) -> Reply:
            def sent(method: str, url: str, **more: Any) -> Reply:
                return send(adapter, method, url, **more)

            mount, _, rest = url.removeprefix("/v1/").partition("/")
            kind, _, path = rest.partition("/")
            if mount != "secret":
                return send(adapter, method, url, *given, **options)
            if method == "GET":
                return self._read(kind, unquote(path), lambda: sent(method, url, **options))
            self._keep(unquote(path), sent)
            return sent(method, url, **options)

        monkeypatch.setattr(PooledAdapter, "request", request)

    def _keep(self, path: str, sent: Send) -> None:
        with self._lock:
            known = self._before.get(path)
            if known is None or known.until < time.monotonic():
                answers = {kind: sent("GET", f"/v1/secret/{kind}/{path}") for kind in _READS}
            else:
                answers = known.answers
            self._before[path] = Before(answers, time.monotonic() + self.seconds)

    def _read(self, kind: str, path: str, fresh: Callable[[], Reply]) -> Reply:
        now = time.monotonic()
        with self._lock:
            late = {path: before for path, before in self._before.items() if before.until > now}
        if kind in _READS and path in late:
            self.stale += 1
            return late[path].answers[kind]
        answer = fresh()
        if kind != "detailed-metadata" or answer.status != 200:
            return answer
        body = orjson.loads(answer.data)
        for key in list(body["data"]["keys"]):
            if (before := late.get(path + key)) is not None:
                self.stale += 1
                shown = before.answers["metadata"]
                if shown.status == 200:
                    body["data"]["key_info"][key] = orjson.loads(shown.data)["data"]
                else:
                    body["data"]["keys"].remove(key)
                    body["data"]["key_info"].pop(key, None)
        return Reply(200, orjson.dumps(body))
