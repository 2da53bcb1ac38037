"""A device with passkeys, as far as Keeper sees of it: ES256, no attestation (WebAuthn Level 2)."""

import json
from hashlib import sha256
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

_PRESENT, _VERIFIED = 0x01, 0x04
_HAS_CREDENTIAL = 0x40


class Authenticator:
    """Makes one passkey, and proves it; `verified` is whether it checks its person.

    `offered` is what the browser says of whether the device offers the passkey by itself.
    """

    def __init__(
        self,
        *,
        host: str = "testserver",
        origin: str = "http://testserver",
        verified: bool = True,
        offered: bool | None = True,
    ) -> None:
        self.host, self.origin, self.verified, self.offered = host, origin, verified, offered
        self.user_handle = b""
        self.credential_id = token_bytes(32)
        self.count = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: str) -> str:
        """Return what the browser answers to a registration, as JSON."""
        self.user_handle = base64url_to_bytes(json.loads(options)["user"]["id"])
        numbers = self._key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        size = len(self.credential_id).to_bytes(2)
        credential = bytes(16) + size + self.credential_id + cbor2.dumps(cose)
        data = self._data(_HAS_CREDENTIAL) + credential
        properties = {} if self.offered is None else {"credProps": {"rk": self.offered}}
        return self._answer(
            {
                "clientDataJSON": self._client_data("webauthn.create", options),
                "attestationObject": cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
            },
            clientExtensionResults=properties,
        )

    def get(self, options: str, *, signed: bytes = b"") -> str:
        """Return what the browser answers to a sign-in, as JSON; `signed` replaces what is signed."""
        self.count += 1
        client_data = self._client_data("webauthn.get", options)
        data = self._data(0)
        message = signed or data + sha256(client_data).digest()
        return self._answer(
            {
                "clientDataJSON": client_data,
                "authenticatorData": data,
                "signature": self._key.sign(message, ec.ECDSA(SHA256())),
                **({"userHandle": self.user_handle} if self.user_handle else {}),
            }
        )

    def _client_data(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _data(self, flags: int) -> bytes:
        flags |= _PRESENT | (_VERIFIED if self.verified else 0)
        return sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _answer(self, response: dict[str, bytes], **more: Any) -> str:
        own = bytes_to_base64url(self.credential_id)
        answered: dict[str, Any] = {name: bytes_to_base64url(value) for name, value in response.items()}
        return json.dumps({"id": own, "rawId": own, "type": "public-key", "response": answered, **more})
