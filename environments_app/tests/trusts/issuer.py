"""An issuer of our own: signs JWTs like platforms do, and serves its keys over HTTP."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

from tests.servers.certificates import write_certificates

_KEY = RSAKey.generate_key(2048)


class Issuer:
    """Signs tokens; `url` is empty until it is served."""

    def __init__(
        self, url: str = "https://issuer.test", *, key: Any = None, kid: str = "one", algorithm: str = ""
    ) -> None:
        self.url, self.kid, self.key, self._algorithm = url, kid, key or _KEY, algorithm
        self.requests: list[str] = []
        # What is answered instead of the usual document, by path: status, headers, body.
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.delay = 0.0
        # While it is not set, every answer waits.
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def algorithm(self) -> str:
        return self._algorithm or {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[self.key.key_type]

    def public(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def jwks(self) -> str:
        return json.dumps({"keys": [self.public()]})

    def rotate(self, kid: str) -> None:
        self.key, self.kid = RSAKey.generate_key(2048), kid

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": "https://keeper.test", "sub": "a-service", "iat": now, "nbf": now,
            "exp": now + 300, "jti": f"id-{time.monotonic_ns()}",
        } | changes  # fmt: skip
        return {name: value for name, value in claims.items() if value is not ...}

    def sign(self, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        return self.sign_payload(json.dumps(self.claims(**changes)).encode(), header)

    def sign_payload(self, payload: bytes, header: Mapping[str, Any] | None = None) -> str:
        given = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"} | dict(header or {})
        given = {name: value for name, value in given.items() if value is not ...}
        registry = jws.JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        if given["alg"] == self.algorithm != "EdDSA" and not {"crit", "b64"} & set(given):
            return jws.serialize_compact(given, payload, self.key, registry=registry)
        return self.forge(given, payload)

    def forge(self, header: Mapping[str, Any], payload: bytes) -> str:
        """Sign whatever the header says with this key."""
        signing = f"{part(json.dumps(header).encode())}.{part(payload)}"
        algorithm = jws.JWSRegistry.algorithms[self.algorithm]
        return f"{signing}.{part(algorithm.sign(signing.encode(), self.key))}"


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def with_own_certificate(folder: Path) -> Iterator[str]:
    """Answer one connection by a certificate of an authority that nobody else knows; yield the address."""
    write_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True):
                pass

        server = threading.Thread(target=answer)
        server.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        server.join()


@contextmanager
def served(issuer: Issuer) -> Iterator[Issuer]:
    """Serve an issuer's discovery document and keys on the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            time.sleep(issuer.delay)
            issuer.may_answer.wait(60)
            status, headers, body = issuer.answers.get(self.path) or (200, {}, self._usual())
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return

        def _usual(self) -> bytes:
            if self.path.endswith("/openid-configuration"):
                return json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}).encode()
            return issuer.jwks().encode()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
