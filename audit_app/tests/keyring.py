"""A keyring for tests that needs no rows and no key provider."""

import hmac
from uuid import UUID

from audit_app.keyring import Keyring, KeyringUnavailable, Purpose

KEY_ID = UUID("6b657972-696e-4670-8f72-746573747300").bytes


class ToyKeyring(Keyring):
    """Derives one key per purpose from a fixed text."""

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        return KEY_ID + hmac.digest(f"toy {purpose}".encode(), message, "sha256")

    def verify(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        return hmac.compare_digest(self.mac(purpose, message), tag)

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


class EnvironmentPolicy:
    """Lets everybody read one stream."""

    def readable_streams(self, actor: object) -> list[str] | None:
        return ["environment:a"]
