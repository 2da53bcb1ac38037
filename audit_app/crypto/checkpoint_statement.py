"""The pure part of checkpoints: statement, digest, signature, and the form in sinks.

A checkpoint states the heads of all streams. It names its number, the digest of the checkpoint before
it and the key that signs it, so that an older, another or a forked log cannot be passed off for it.

    statement  = canonical JSON of the statement
    digest     = SHA-256(statement)
    signature  = Ed25519(b"keeper/v1/checkpoint" | digest)
    succession = Ed25519 by the previous key, over b"keeper/v1/checkpoint-key" | deployment | new key's uuid
                 | new public key: a verifier that trusts the old key may trust the new one
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_app.errors import BadCheckpoint
from core.canonical_json import canonical_json, utc_text

FORMAT: Final = "keeper-checkpoint/1"
GENESIS: Final = bytes(32)
_SIGNED: Final = b"keeper/v1/checkpoint"
_SUCCEEDS: Final = b"keeper/v1/checkpoint-key"


class Head(NamedTuple):
    """The last link of a stream: its sequence and its hash."""

    sequence: int
    hash: bytes


class Succession(NamedTuple):
    """The word of the key before for the key that signs from now on."""

    by: UUID
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The statement of a checkpoint; `previous` is the digest of the previous one, GENESIS for the first."""

    deployment: UUID
    number: int
    at: datetime
    previous: bytes
    heads: Mapping[str, Head]
    key_id: UUID
    public_key: bytes
    succession: Succession | None = None
    # The audit log was resumed by an operator, from a state that is older than the checkpoint before.
    resumed: bool = False

    def text(self) -> str:
        """Return the canonical JSON that the digest is of."""
        succession = self.succession
        return canonical_json(
            {
                "format": FORMAT,
                "deployment": str(self.deployment),
                "number": self.number,
                "at": utc_text(self.at),
                "previous": self.previous.hex(),
                "heads": {stream: [head.sequence, head.hash.hex()] for stream, head in self.heads.items()},
                "key": str(self.key_id),
                "public_key": self.public_key.hex(),
                "succession": succession
                and {"by": str(succession.by), "signature": succession.signature.hex()},
                "resumed": self.resumed,
            }
        ).decode()

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Parse a canonical text. Raises BadCheckpoint if it is not a valid statement."""
        try:
            members = json.loads(text)
            succession = members["succession"]
            statement = cls(
                deployment=UUID(members["deployment"]),
                number=int(members["number"]),
                at=datetime.fromisoformat(members["at"]),
                previous=bytes.fromhex(members["previous"]),
                heads={
                    stream: Head(int(sequence), bytes.fromhex(link))
                    for stream, (sequence, link) in members["heads"].items()
                },
                key_id=UUID(members["key"]),
                public_key=bytes.fromhex(members["public_key"]),
                succession=succession
                and Succession(UUID(succession["by"]), bytes.fromhex(succession["signature"])),
                resumed=bool(members["resumed"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadCheckpoint("this is no checkpoint") from error
        if statement.text() != text:
            raise BadCheckpoint("a checkpoint is not in its canonical form")
        return statement


@dataclass(frozen=True)
class SignedCheckpoint:
    """A statement as it was signed: its canonical text, and the signature over its digest."""

    text: str
    signature: bytes
    statement: Statement = field(compare=False)

    @property
    def number(self) -> int:
        return self.statement.number

    @property
    def digest(self) -> bytes:
        """The SHA-256 of its text, which the next one names."""
        return hashlib.sha256(self.text.encode()).digest()

    def line(self) -> bytes:
        """Return the one line of JSON in which it leaves Keeper."""
        members: dict[str, Any] = {"checkpoint": self.text, "signature": self.signature.hex()}
        return canonical_json(members) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read what `line` wrote. Raises BadCheckpoint if it is anything else."""
        try:
            members = json.loads(line)
            return cls.stored(members["checkpoint"], bytes.fromhex(members["signature"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BadCheckpoint("this is no checkpoint") from error

    @classmethod
    def stored(cls, text: str, signature: bytes) -> Self:
        """Return a checkpoint from its text and signature. Raises BadCheckpoint if it is none."""
        return cls(text, signature, Statement.parsed(text))

    def is_signed_by(self, public_key: bytes) -> bool:
        """Return whether a key has signed it, and is the one that it names."""
        is_named = self.statement.public_key == public_key
        return is_named and verifies(public_key, signed_message(self.digest), self.signature)


def signed_message(digest: bytes) -> bytes:
    """Return what the signature of a checkpoint is over."""
    return _SIGNED + digest


def succession_message(deployment: UUID, key_id: UUID, public_key: bytes) -> bytes:
    """Return the bytes that a key signs to name its successor."""
    return _SUCCEEDS + deployment.bytes + key_id.bytes + public_key


def verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature is right; a key or signature of a wrong length is not."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
