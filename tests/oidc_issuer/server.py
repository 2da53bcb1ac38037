"""The issuer: discovery, keys, token endpoint and userinfo, with all that it answers in the hands of a test."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT = "keeper"
SECRET = "a:client&secret"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@cache
def rsa_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"}, private=True)


@cache
def ec_key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"}, private=True)


def sign(header: Mapping[str, Any], claims: Mapping[str, Any] | str, key: RSAKey | ECKey | bytes) -> str:
    """Return a signed token, whatever its header says; `claims` as text are signed as they are."""
    body = (claims if isinstance(claims, str) else json.dumps(claims)).encode()
    if isinstance(key, ECKey):
        return jws.serialize_compact(dict(header), body, key, algorithms=[str(header["alg"])])
    signed = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), body)
    )
    if isinstance(key, bytes):
        signature = hmac.digest(key, signed, "sha256")
    else:
        algorithm = hashes.SHA384() if header["alg"] == "RS384" else hashes.SHA256()
        private = rsa_private(key)
        signature = private.sign(signed, padding.PKCS1v15(), algorithm)
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def rsa_private(key: RSAKey) -> rsa.RSAPrivateKey:
    private = serialization.load_pem_private_key(key.as_pem(private=True), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


def half_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


@dataclass
class Asked:
    """What Keeper sent a browser away with."""

    address: str
    query: dict[str, str]


def read_asked(location: str) -> Asked:
    parts = urlsplit(location)
    return Asked(f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query)))


@dataclass
class Attempt:
    """An answer that is right until a test changes it."""

    claims: dict[str, Any]
    query: dict[str, Any]
    access_token: str
    challenge: str
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    key: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    # In place of the token, or of the whole answer.
    id_token: str = ""
    body: bytes | None = None
    userinfo: dict[str, Any] | None = None

    def token(self) -> str:
        return self.id_token or sign(self.header, self.claims, self.key or rsa_key("one"))


class Issuer:
    """One issuer, its keys and what its next code is worth."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.name = base
        self.keys: list[RSAKey | ECKey] = [rsa_key("one")]
        self.codes: dict[str, Attempt] = {}
        self.document_changes: dict[str, Any] = {}
        self.asked: list[str] = []
        # Where Keeper proves itself by a key: what it publishes.
        self.client_keys: Callable[[], Any] | None = None
        self.assertions: list[str] = []
        # Called while Keeper waits for the token endpoint: what happens meanwhile.
        self.meanwhile: Any = None

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.name,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "userinfo_endpoint": f"{self.base}/userinfo",
            "jwks_uri": f"{self.base}/keys",
            "end_session_endpoint": f"{self.base}/end",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.document_changes,
        }

    def attempt(self, asked: Asked, **claims: Any) -> Attempt:
        """Return an honest answer to what Keeper asked; `accept` makes a code of it."""
        now, token = int(time.time()), secrets.token_urlsafe(16)
        return Attempt(
            claims={
                "iss": self.name,
                "aud": CLIENT,
                "sub": "sub-of-dora",
                "iat": now,
                "exp": now + 300,
                "auth_time": now,
                "nonce": asked.query["nonce"],
                "at_hash": half_hash(token),
                "sid": "sid-1",
                "preferred_username": "dora",
                "email": "dora@example.com",
                "email_verified": True,
                "name": "Dora Example",
                "groups": ["engineers"],
                **claims,
            },
            query={"state": asked.query["state"], "iss": self.name},
            access_token=token,
            challenge=asked.query["code_challenge"],
        )

    def accept(self, attempt: Attempt) -> dict[str, Any]:
        """Return the query of the answer, with a code for the attempt."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = attempt
        return {"code": code, **attempt.query}

    def exchanged(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, str], bytes]:
        if self.meanwhile is not None:
            self.meanwhile()
        attempt = self.codes.pop(form.get("code", ""), None)
        if attempt is None or not self._is_client(form, authorization):
            return 400, {}, b'{"error": "invalid_grant"}'
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != attempt.challenge:
            return 400, {}, b'{"error": "invalid_grant"}'
        if attempt.body is not None:
            return attempt.status, attempt.headers, attempt.body
        self.codes[attempt.access_token] = attempt
        answer = {"token_type": "Bearer", "access_token": attempt.access_token, "id_token": attempt.token()}
        return attempt.status, attempt.headers, json.dumps(answer).encode()

    def described(self, authorization: str) -> tuple[int, dict[str, str], bytes]:
        attempt = self.codes.get(authorization.removeprefix("Bearer "))
        if attempt is None or attempt.userinfo is None:
            return 401, {}, b"{}"
        return 200, {}, json.dumps(attempt.userinfo).encode()

    def _is_client(self, form: Mapping[str, str], authorization: str) -> bool:
        if self.client_keys is not None:
            return self._is_proved(form, self.client_keys()) and not authorization
        if authorization:
            name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            return (unquote(name), unquote(secret)) == (CLIENT, SECRET)
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)

    def _is_proved(self, form: Mapping[str, str], published: Any) -> bool:
        """Judge an assertion as RFC 7523 has it: the key, the times, once, and for this address."""
        if "client_secret" in form or form.get("client_assertion_type") != JWT_BEARER:
            return False
        text = form.get("client_assertion", "")
        try:
            token = jwt.decode(text, KeySet.import_key_set(published), algorithms=["PS256", "RS256"])
        except (JoseError, ValueError):
            return False
        claims, now = token.claims, time.time()
        fits = claims["iss"] == claims["sub"] == CLIENT and claims["aud"] == f"{self.base}/token"
        once = claims["jti"] not in self.assertions
        self.assertions.append(claims["jti"])
        return bool(fits and once and claims["iat"] <= now <= claims["exp"] <= now + 120)


@contextmanager
def serving() -> Iterator[Issuer]:
    """Serve an issuer at a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            issuer.asked.append(path)
            if path == "/.well-known/openid-configuration":
                self._answer(200, {}, json.dumps(issuer.document()).encode())
            elif path == "/keys":
                keys = [key.as_dict(private=False) for key in issuer.keys]
                self._answer(200, {}, json.dumps({"keys": keys}).encode())
            elif path == "/userinfo":
                self._answer(*issuer.described(self.headers.get("Authorization", "")))
            else:
                self._answer(404, {}, b"")

        def do_POST(self) -> None:
            issuer.asked.append(self.path)
            length = int(self.headers.get("Content-Length", "0"))
            form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
            self._answer(*issuer.exchanged(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                # Keeper reads no more than it allows.
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the output of the tests clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
