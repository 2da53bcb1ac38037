"""Reads a bundle back from its file and proves that it holds all that a checkpoint signed.

Before retention removes what a bundle holds. It believes nothing but the checkpoint and Keeper's keys,
and asks no database; docs/verify_offline.py does the like for others, who do not have the keys.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.crypto.hash_chain import event_hash, genesis, manifest_digest
from audit_app.errors import BadBundle
from audit_app.interfaces.keyring import Purpose, keyring
from audit_app.verification.prune_records import PruneRecord

_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError)


def require_whole(path: Path, *, checkpoint: SignedCheckpoint, cuts: Mapping[str, PruneRecord]) -> str:
    """Return a file's SHA-256. Raises BadBundle unless it is a whole bundle up to a checkpoint.

    `cuts` are the last cuts of streams: what they kept comes first, and the chain continues behind.
    """
    check = _Check(checkpoint, cuts)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                check.take(json.loads(line))
    except OSError as error:
        raise BadBundle(f"the bundle cannot be read back: {error.strerror}") from error
    except _UNREADABLE as error:
        raise BadBundle("the bundle holds a line that is none of a bundle") from error
    check.end()
    return digest.hexdigest()


class _Check:
    """Where a reading of a bundle has come to."""

    def __init__(self, checkpoint: SignedCheckpoint, cuts: Mapping[str, PruneRecord]) -> None:
        self._checkpoint, self._cuts = checkpoint, cuts
        self._heads: dict[str, Head] = {}
        self._counts: Counter[str] = Counter()
        self._claimed: dict[str, int] | None = None
        self._manifests: set[str] = set()
        self._wanted: set[str] = set()
        self._has_checkpoint = False

    def take(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if self._claimed is not None:
            raise BadBundle("something follows the end of the bundle")
        if kind == "event":
            self._event(line)
        elif kind == "manifest":
            if manifest_digest((str(UUID(uuid)), *rest) for uuid, *rest in line["read"]) != line["digest"]:
                raise BadBundle("a manifest in the bundle is not what was recorded")
            self._manifests.add(line["digest"])
        elif kind == "checkpoint":
            self._has_checkpoint = line["checkpoint"] == self._checkpoint.text
        elif kind == "end":
            self._claimed = line["counts"]
            return
        self._counts[kind] += kind != "bundle"

    def end(self) -> None:
        if self._claimed is None or any(self._counts[kind] != count for kind, count in self._claimed.items()):
            raise BadBundle("the bundle does not hold as much as it says")
        if not self._has_checkpoint:
            raise BadBundle("the bundle does not end with the checkpoint that covers it")
        for stream, head in self._checkpoint.statement.heads.items():
            if self._heads.get(stream, self._start(stream)) != head:
                raise BadBundle(f"the bundle does not reach what the checkpoint names of stream {stream}")
        if self._wanted - self._manifests:
            raise BadBundle("the bundle lacks a manifest")

    def _event(self, line: dict[str, Any]) -> None:
        stream, text = line["stream"], line["text"]
        said, previous, link = json.loads(text), bytes.fromhex(line["previous"]), bytes.fromhex(line["hash"])
        own = said["stream"] == stream and event_hash(previous, text.encode()) == link
        if not own or not keyring().verify(Purpose.AUDIT_MAC, link, bytes.fromhex(line["mac"])):
            raise BadBundle(f"event {stream} #{said['sequence']} in the bundle is not what was recorded")
        if said["manifest"]:
            self._wanted.add(said["manifest"])
        cut = self._cuts.get(stream)
        if cut and said["sequence"] <= cut.through:
            return
        head = self._heads.get(stream, self._start(stream))
        if said["sequence"] != head.sequence + 1 or previous != head.hash:
            raise BadBundle(f"events before {stream} #{said['sequence']} are missing in the bundle")
        self._heads[stream] = Head(said["sequence"], link)

    def _start(self, stream: str) -> Head:
        cut = self._cuts.get(stream)
        deployment = self._checkpoint.statement.deployment
        return cut.head if cut else Head(0, genesis(deployment, stream))
