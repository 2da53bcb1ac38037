"""A device with passkeys, as far as Keeper sees of it: ES256, no attestation (WebAuthn Level 2)."""

import json
from hashlib import sha256
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import bytes_to_base64url

_PRESENT_AND_VERIFIED = 0x05
_HAS_CREDENTIAL = 0x40


class Authenticator:
    """Makes one passkey, and proves it."""

    def __init__(self, *, host: str = "testserver", origin: str = "http://testserver") -> None:
        self.host, self.origin = host, origin
        self.credential_id = token_bytes(32)
        self.count = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: str) -> str:
        """Return what the browser answers to a registration, as JSON."""
        numbers = self._key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        size = len(self.credential_id).to_bytes(2)
        credential = bytes(16) + size + self.credential_id + cbor2.dumps(cose)
        data = self._data(_PRESENT_AND_VERIFIED | _HAS_CREDENTIAL) + credential
        return self._answer(
            {
                "clientDataJSON": self._client_data("webauthn.create", options),
                "attestationObject": cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
            }
        )

    def get(self, options: str, *, signed: bytes = b"") -> str:
        """Return what the browser answers to a sign-in, as JSON; `signed` replaces what is signed."""
        self.count += 1
        client_data = self._client_data("webauthn.get", options)
        data = self._data(_PRESENT_AND_VERIFIED)
        message = signed or data + sha256(client_data).digest()
        return self._answer(
            {
                "clientDataJSON": client_data,
                "authenticatorData": data,
                "signature": self._key.sign(message, ec.ECDSA(SHA256())),
            }
        )

    def _client_data(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _data(self, flags: int) -> bytes:
        return sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _answer(self, response: dict[str, bytes]) -> str:
        own = bytes_to_base64url(self.credential_id)
        answered: dict[str, Any] = {name: bytes_to_base64url(value) for name, value in response.items()}
        return json.dumps({"id": own, "rawId": own, "type": "public-key", "response": answered})
