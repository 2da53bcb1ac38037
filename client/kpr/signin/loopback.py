"""Sign-in by the browser of this machine: a listener on 127.0.0.1, a state, and PKCE (RFC 8252, RFC 7636)."""

import base64
import hashlib
import hmac
import secrets
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from kpr.api import Api
from kpr.connection import reader
from kpr.errors import ForbiddenError, SignInError
from kpr.signin.device import client_name

_SECONDS = 300.0
# How long one connection may take, which a program of this machine could hold open.
_PATIENCE = 5
_DONE = b"<!doctype html><title>kpr</title><p>You can close this window and return to the terminal."


class Listener(TCPServer):
    """Waits on a free port of 127.0.0.1 for the answer with its state; everything else is refused."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.answer: dict[str, str] | None = None

    def wait(self, seconds: float = _SECONDS) -> dict[str, str]:
        """Return the parameters of the answer. Raises SignInError if none has come in time."""
        ends = time.monotonic() + seconds
        while self.answer is None and (left := ends - time.monotonic()) > 0:
            self.timeout = left
            self.handle_request()
        if self.answer is None:
            raise SignInError("The browser brought no answer in time: run kpr login again.")
        return self.answer

    def handle_error(self, *_: object) -> None:
        """Report nothing of a connection that failed: its request could carry a code."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server: Listener

    def setup(self) -> None:
        """Read the request until its time, however its bytes come: another one waits for it."""
        super().setup()
        self.rfile.close()
        self.rfile = reader(self.connection, seconds=_PATIENCE, ends=time.monotonic() + _PATIENCE)

    def do_GET(self) -> None:
        """Take the answer if it has the state, and refuse another request."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if not hmac.compare_digest(given.get("state", "").encode(), self.server.state.encode()):
            self.send_error(404)
            return
        self.server.answer = given
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(_DONE)

    def log_message(self, *_: object) -> None:
        """Log nothing: the address carries the code."""


def signed_in_by_browser(api: Api) -> str:
    """Return the token that the person approved in the browser. Raises SignInError or KprError."""
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with Listener(state) as listener:
        query = {
            "client_name": client_name(),
            "port": str(listener.server_address[1]),
            "state": state,
            "code_challenge": challenge_of(verifier),
        }
        # Where to go is made of the server that was named, and not taken from an answer.
        address = f"{api.server}/loopback?{urlencode(query)}"
        sys.stderr.write(f"Approve the sign-in in the browser. If none opens: {address}\n")
        sys.stderr.flush()
        webbrowser.open(address)
        answer = listener.wait()
    if "code" not in answer:
        raise ForbiddenError("The sign-in was denied.")
    body = {"code": answer["code"], "code_verifier": verifier}
    return str(api.send("POST", "loopback/token", body=body).document()["access_token"])


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier by the method S256 (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
