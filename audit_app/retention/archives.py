"""The bundles that retention wrote: what each holds, whether it lies here, and whether it is unchanged."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from audit_app.verification.prune_records import PruneRecord, newest_prune_records, prune_records_of

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One bundle, from the events of its cuts; `at` is UTC text, `removed` and `kept` count events."""

    name: str
    sha256: str
    at: str
    actor: str
    operator: str
    checkpoint: int
    streams: int
    removed: int
    kept: int

    @property
    def path(self) -> Path:
        return Path(settings.KEEPER_AUDIT_ARCHIVE_DIR) / self.name

    @property
    def lies_here(self) -> bool:
        """Whether KEEPER_AUDIT_ARCHIVE_DIR has a file of its name; false after an operator moved it."""
        return self.path.is_file()

    def is_unchanged(self) -> bool:
        """Return whether the file is the one that was sealed; reads all of it. Raises OSError."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == self.sha256


def bundles() -> list[Bundle]:
    """Return every bundle that a cut of any stream names, the newest first."""
    parts: dict[str, list[PruneRecord]] = {}
    for cut in _every_cut():
        parts.setdefault(cut.sha256, []).append(cut)
    return sorted(map(_bundle, parts.values()), key=lambda bundle: bundle.at, reverse=True)


def _every_cut() -> Iterator[PruneRecord]:
    for stream in sorted(newest_prune_records()):
        yield from prune_records_of(stream)


def _bundle(cuts: list[PruneRecord]) -> Bundle:
    last = max(cuts, key=lambda cut: cut.at)
    return Bundle(
        # A name and no path: it comes from an event, and is looked for in one folder.
        name=Path(last.bundle).name,
        sha256=last.sha256,
        at=last.at,
        actor=last.actor,
        operator=last.operator,
        checkpoint=last.checkpoint,
        streams=len({cut.stream for cut in cuts}),
        removed=sum(cut.removed for cut in cuts),
        kept=sum(cut.kept for cut in cuts),
    )
