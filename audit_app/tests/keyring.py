"""A keyring for tests that needs no rows and no key provider."""

import hmac
from collections.abc import Iterable
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db.models import Q

from audit_app.errors import NotSealedHere
from audit_app.interfaces import Keyring, KeyringUnavailable, Place, Purpose, Signature

KEY_ID = UUID("6b657972-696e-4670-8f72-746573747300").bytes
# Later ones follow when `signing_key` is moved: a rotation.
SIGNING_KEYS = [UUID(int=number) for number in (0x51, 0x52)]


class ToyKeyring(Keyring):
    """Derives one key per purpose from a fixed text."""

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        return KEY_ID + hmac.digest(f"toy {purpose}".encode(), message, "sha256")

    def verify(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        return hmac.compare_digest(self.mac(purpose, message), tag)

    @property
    def is_at_hand(self) -> bool:
        return True

    def verify_held(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        return self.verify(purpose, message, tag)

    def verify_all(self, purpose: Purpose, tagged: Iterable[tuple[bytes, bytes]]) -> bool:
        return all(self.verify(purpose, message, tag) for message, tag in tagged)

    signing_key = SIGNING_KEYS[0]

    def sign(self, message: bytes, *, key_id: UUID | None = None) -> Signature:
        made_by = key_id or self.signing_key
        private = Ed25519PrivateKey.from_private_bytes(made_by.bytes * 2)
        return Signature(made_by, private.public_key().public_bytes_raw(), private.sign(message))

    def public_key(self, key_id: UUID) -> bytes | None:
        return self.public_keys().get(key_id)

    def public_keys(self) -> dict[UUID, bytes]:
        return {key: self.sign(b"", key_id=key).public_key for key in SIGNING_KEYS}

    def seal(self, purpose: Purpose, content: bytes, *, place: Place) -> bytes:
        return self.mac(purpose, repr(place).encode()) + content

    def open(self, purpose: Purpose, envelope: bytes, *, place: Place) -> bytes:
        tag = self.mac(purpose, repr(place).encode())
        if not envelope.startswith(tag):
            raise NotSealedHere("it belongs to another place")
        return envelope[len(tag) :]

    def open_all(self) -> None:
        pass


class LockedKeyring(ToyKeyring):
    """Is like a key provider that is away when the process starts."""

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        raise KeyringUnavailable("the provider is away")


class OpenPolicy:
    """Lets everybody read every stream."""

    def readable_streams(self, actor: object) -> list[str] | None:
        return None

    def own_events(self, actor: object) -> Q:
        return Q()

    def named_streams(self, actor: object) -> dict[str, str]:
        return {"a": "environment:a", "b": "environment:b"}


class EnvironmentPolicy:
    """Lets everybody read one stream."""

    def readable_streams(self, actor: object) -> list[str] | None:
        return ["environment:a"]

    def own_events(self, actor: object) -> Q:
        return Q()

    def named_streams(self, actor: object) -> dict[str, str]:
        return {"a": "environment:a"}
