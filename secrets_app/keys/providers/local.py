"""Wraps data keys under a key file of this machine: for development and small installations.

The file holds 32 random bytes, is made on first use with mode 0600, and is never replaced: who
loses it loses every value. Where the database has a data key that a file wrapped, none is made.
With a passphrase (KEEPER_LOCAL_KEY_PASSPHRASE) the key encryption key depends on both, so that the
file alone opens nothing:

    KEK     = file                                             without a passphrase
    KEK     = HMAC-SHA256(file, Argon2id(passphrase, salt))    with one; salt = SHA-256(file)[:16]
    key URI = "local:" | first 16 hex digits of HMAC-SHA256(KEK, "keeper/local key uri")
    wrapped = version 1 | nonce 12 | AES-256-GCM(data key) 48, with the key URI and the context as AAD
"""

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db.models import Q

from core.files import sync_folder
from secrets_app.errors import KeyRefused, KeyUnavailable, WrongContext
from secrets_app.keys.models import DataKey
from secrets_app.keys.providers.base import Generated, KeyDescription, KeyProvider

_VERSION: Final = b"\x01"
_WRAPPED_BYTES: Final = 1 + 12 + 32 + 16
_KEY_BYTES: Final = 32
# RFC 9106, section 4, second recommended option: 64 MiB, three passes, four lanes.
_ARGON2: Final = {"time_cost": 3, "memory_cost": 65_536, "parallelism": 4}


class LocalProvider(KeyProvider):
    """Wraps data keys by AES-256-GCM under the key file."""

    name: ClassVar[str] = "local"
    remote: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(settings.KEEPER_LOCAL_KEY_FILE)
        self._passphrase: str = settings.KEEPER_LOCAL_KEY_PASSPHRASE
        self._lock = threading.Lock()
        self._kek: bytes | None = None
        self._read_digest = b""

    def resolve(self, reference: str, *, fresh: bool = False) -> str:  # noqa: ARG002 - there is one key
        """Return the URI of the key file, which is made if it wraps new keys and has wrapped none yet."""
        return _uri(self._key(make=self.name == settings.KEY_MANAGEMENT_BACKEND))

    def generate(self, *, key_uri: str, context: Mapping[str, str]) -> Generated:
        kek = self._key_of(key_uri, make=True)
        self.count("generate")
        plain = secrets.token_bytes(_KEY_BYTES)
        return Generated(plain=plain, wrapped=_wrap(kek, plain, key_uri, context), key_uri=key_uri)

    def wrap(self, *, key_uri: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        kek = self._key_of(key_uri, make=False)
        self.count("wrap")
        return _wrap(kek, plain, key_uri, context)

    def unwrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key; a missing key file is never made here, since it opens nothing."""
        kek = self._key_of(key_uri, make=False)
        self.count("unwrap")
        if len(wrapped) != _WRAPPED_BYTES or wrapped[:1] != _VERSION:
            raise WrongContext("the wrapped data key is not one of the local provider")
        try:
            return AESGCM(kek).decrypt(wrapped[1:13], wrapped[13:], _aad(key_uri, context))
        except InvalidTag as error:
            raise WrongContext("the wrapped data key was edited, or belongs to another place") from error

    def rewrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str], to_key_uri: str) -> bytes:
        """Wrap a data key again; both keys are the key file, since there is no other."""
        kek = self._key_of(to_key_uri, make=False)
        plain = self.unwrap(key_uri=key_uri, wrapped=wrapped, context=context)
        return _wrap(kek, plain, to_key_uri, context)

    def describe(self, key_uri: str) -> KeyDescription:
        self._key_of(key_uri, make=False)
        return KeyDescription(
            key_uri=key_uri, state="enabled", usable=True, note="a key file has no rotation of its own"
        )

    def enable_automatic_rotation(self, key_uri: str) -> bool:  # noqa: ARG002 - no key file rotates
        """Change nothing: a key file has no rotation."""
        return False

    def recheck(self) -> None:
        """Make sure that the key file still is what was read from it."""
        self._key(make=False)
        if not hmac.compare_digest(_digest(self._read(make=False)), self._read_digest):
            raise KeyUnavailable(
                f"the local key file {self._path} was replaced, and opens nothing after a restart: "
                "put the file back that this process has read",
                permanent=True,
            )

    def _key_of(self, key_uri: str, *, make: bool) -> bytes:
        if not key_uri.startswith("local:"):
            raise KeyRefused("the key URI is not that of a local key")
        kek = self._key(make=make)
        if not hmac.compare_digest(_uri(kek).encode(), key_uri.encode()):
            raise KeyUnavailable(
                f"the data key was wrapped by {key_uri}, but {self._path} with the configured passphrase "
                f"is {_uri(kek)}: put the right key file (and KEEPER_LOCAL_KEY_PASSPHRASE) back",
                permanent=True,
            )
        return kek

    def _key(self, *, make: bool) -> bytes:
        with self._lock:
            if self._kek is None:
                content = self._read(make=make)
                self._kek, self._read_digest = self._derive(content), _digest(content)
            return self._kek

    def _read(self, *, make: bool) -> bytes:
        try:
            if make and not self._path.exists() and not self._has_wrapped():
                _create(self._path)
            content = self._path.read_bytes()
        except OSError as error:
            raise KeyUnavailable(
                f"the local key file {self._path} cannot be read ({error.strerror}): restore it from its "
                "backup, or correct KEEPER_LOCAL_KEY_FILE or its owner",
                permanent=True,
            ) from error
        if len(content) != _KEY_BYTES:
            raise KeyUnavailable(
                f"the local key file {self._path} does not hold {_KEY_BYTES} bytes: restore it from a backup",
                permanent=True,
            )
        return content

    def _has_wrapped(self) -> bool:
        """Return whether data keys are stored that a key file opens: a new one would hide that it is gone."""
        return DataKey.objects.filter(Q(provider=self.name) | Q(other_provider=self.name)).exists()

    def _derive(self, file_key: bytes) -> bytes:
        if not self._passphrase:
            return file_key
        stretched = hash_secret_raw(
            self._passphrase.encode(),
            hashlib.sha256(file_key).digest()[:16],
            hash_len=_KEY_BYTES,
            type=Type.ID,
            **_ARGON2,
        )
        return hmac.digest(file_key, stretched, "sha256")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _create(path: Path) -> None:
    """Make the key file whole or not at all; of several processes the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(_KEY_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    # Before anything is wrapped under the key.
    sync_folder(path.parent)


def _wrap(kek: bytes, plain: bytes, key_uri: str, context: Mapping[str, str]) -> bytes:
    nonce = secrets.token_bytes(12)
    return _VERSION + nonce + AESGCM(kek).encrypt(nonce, plain, _aad(key_uri, context))


def _uri(kek: bytes) -> str:
    return "local:" + hmac.digest(kek, b"keeper/local key uri", "sha256").hex()[:16]


def _aad(key_uri: str, context: Mapping[str, str]) -> bytes:
    return json.dumps([key_uri, dict(context)], sort_keys=True, separators=(",", ":")).encode()
