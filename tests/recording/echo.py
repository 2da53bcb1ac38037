"""A proxy that passes on what it is sent or, once told to, refuses and repeats all of it in its answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import requests

from tests.canary import found_in

_NOT_PASSED_ON = {
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "accept-encoding",
}


class Echo(BaseHTTPRequestHandler):
    """Answers for an upstream, or as the worst of servers would."""

    upstream: ClassVar[str] = ""
    refusing: ClassVar[bool] = False
    # In which requests the canary came along, so that a test knows that there was something to leak.
    met: ClassVar[list[str]]
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Pass the request on, or repeat it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = f"{self.command} {self.path} {dict(self.headers)} {body!r} {body.decode('utf-8', 'replace')}"
        if found_in(told.encode() + body):
            type(self).met.append(f"{self.command} {self.path[:60]}")
            if self.refusing:
                self._say(400, _refusal(told), {"Content-Type": "application/json"})
                return
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        passed = requests.request(
            self.command,
            self.upstream + self.path,
            data=body,
            headers=headers,
            timeout=30,
            allow_redirects=False,
        )
        self._say(passed.status_code, passed.content, dict(passed.headers))

    def _say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)


def _refusal(told: str) -> bytes:
    # As Vault, as AWS by JSON, and as anybody else would say it.
    return json.dumps(
        {"errors": [told], "__type": "InvalidRequestException", "message": told, "Message": told}
    ).encode()


@contextmanager
def echoing(upstream: str) -> Iterator[tuple[str, type[Echo]]]:
    """Give the address of a proxy before `upstream`, and what steers it."""
    kind: type[Echo] = type("Echoing", (Echo,), {"upstream": upstream, "met": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
