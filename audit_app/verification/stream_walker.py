"""Follows a stream from one head to a later one, event by event, in flat memory."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final

from django.db import DatabaseError

from audit_app.crypto.checkpoint_statement import Head
from audit_app.crypto.hash_chain import (
    CreatedItem,
    Link,
    ReadItem,
    canonical_bytes,
    damage,
    event_hash,
    manifest_digest,
)
from audit_app.integrity.check_registry import Problem
from audit_app.interfaces import Purpose, keyring
from audit_app.recording import event_store
from core.errors import BadDetails


def has_valid_mac(link: Link) -> bool:
    """Return whether a link is as Keeper wrote it."""
    try:
        canonical = canonical_bytes(link.fields)
    except BadDetails:
        return False
    return event_hash(link.previous_hash, canonical) == link.hash and keyring().verify(
        Purpose.AUDIT_MAC, link.hash, link.mac
    )


def digest_of_stored(entries: Iterable[ReadItem | CreatedItem]) -> str:
    """Return the digest of a stored manifest; empty, as none is, where it can have none."""
    try:
        return manifest_digest(entries)
    except (TypeError, BadDetails):
        return ""


_ROWS_PER_QUERY: Final = 20_000
# So few that one odd event, or a checkpoint's head, costs little; where all are odd, still a batch.
_STEPS_PER_QUERY: Final = 200


@dataclass
class VerificationStats:
    """How much a verification has gone through."""

    streams: int = 0
    events: int = 0
    manifests: int = 0
    # Checkpoints that were read back from outside, and those that are stored.
    anchors: int = 0
    checkpoints: int = 0
    # Restores, resumptions and cuts that the audit log went through.
    discontinuities: int = 0
    # Events that retention took out; an event vouches for each cut.
    cut: int = 0


class ReportingStats(VerificationStats):
    """Stats that report how many events were verified whenever that changes."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "events" and value:
            self._report(value)


def first_damage(
    stream: str,
    *,
    after: Head,
    until: Head,
    known: Iterable[Head] = (),
    tally: VerificationStats | None = None,
) -> Problem | None:
    """Return the first thing wrong with the events that lead from one head of a stream to a later one.

    `known` are heads that some event must have been, such as those of a checkpoint.
    """
    return _Walk(stream, after, known, tally or VerificationStats()).to(until)


def stream_problem(kind: str, stream: str, sequence: int | None, message: str) -> Problem:
    """Return a problem of a stream, or of one event in it."""
    name = f"stream {stream}" if sequence is None else f"event {stream} #{sequence}"
    return Problem(kind=kind, stream=stream, sequence=sequence, object=name, message=message)


class _Walk:
    """Where a walk along a stream has come to: by strides where all is sound, else step by step."""

    def __init__(self, stream: str, after: Head, known: Iterable[Head], tally: VerificationStats) -> None:
        self.stream = stream
        self.sequence, self.previous = after
        self._tally, self._counted = tally, after.sequence
        self._last_id = 0
        self._displaced: int | None = None
        self._due = sorted(head for head in known if head.sequence > after.sequence)
        # Opening keys queries the database, which is not allowed while rows are streamed
        # (ledger.canonical_links).
        keyring().open_all()
        self._is_keepers = partial(keyring().verify, Purpose.AUDIT_MAC)

    def to(self, until: Head) -> Problem | None:
        """Continue to a head, and return the first damage on the way."""
        while self.sequence < until.sequence:
            problem = None if self._stride(until.sequence) else self._steps(until.sequence)
            # Between strides, while no rows are streamed.
            self._tally.events += self.sequence - self._counted
            self._counted = self.sequence
            if problem:
                return problem
        if self.sequence > until.sequence or self.previous != until.hash:
            return self._problem("forked", self.sequence, "the head of the stream is not its last event")
        if self._due:
            last = self._due[-1].sequence
            message = f"events {self.sequence + 1} to {last} are gone, which a checkpoint names"
            return self._problem("truncated", self.sequence + 1, message)
        if self._displaced is not None:
            return self._problem("reordered", self._displaced, "lists show the event at another place")
        return None

    def _stride(self, until: int) -> bool:
        """Skip valid events quickly; False if one is invalid, or cannot be checked here.

        An event passes only by exactly the bytes that were hashed.
        """
        links = event_store.canonical_links(
            self.stream, after=self.sequence, until=until, limit=_ROWS_PER_QUERY
        )
        try:
            with closing(links):
                passed = False
                for rows in links:
                    if not self._passes_all(rows):
                        return False
                    passed = True
                return passed
        except DatabaseError:
            # What is no text has no canonical form: the steps name it.
            return False

    def _passes_all(self, rows: Sequence[event_store.CanonicalLink]) -> bool:
        sequence, previous = self.sequence, self.previous
        due = self._due[0].sequence if self._due else 0
        chained = []
        for row_id, number, canonical, before, link, mac in rows:
            if (
                number != sequence + 1
                or before != previous
                or type(canonical) is not bytes
                or type(mac) is not bytes
                or sha256(previous + canonical).digest() != link
                or number == due
            ):
                break
            if row_id <= self._last_id and self._displaced is None:
                self._displaced = number
            self._last_id = row_id
            sequence, previous = number, link
            chained.append((link, mac))
        genuine = self._count_genuine(chained)
        if genuine:
            self.sequence, self.previous = self.sequence + genuine, chained[genuine - 1][0]
        return genuine == len(rows)

    def _count_genuine(self, chained: list[tuple[bytes, bytes]]) -> int:
        """Return how many links, from the first on, have a MAC that Keeper made."""
        if keyring().verify_all(Purpose.AUDIT_MAC, chained):
            return len(chained)
        bad = (count for count, (link, mac) in enumerate(chained) if not self._is_keepers(link, mac))
        return next(bad, len(chained))

    def _steps(self, until: int) -> Problem | None:
        batch = event_store.links(self.stream, after=self.sequence, until=until, limit=_STEPS_PER_QUERY)
        if not batch:
            message = f"events {self.sequence + 1} to {until} are missing at the end"
            return self._problem("truncated", self.sequence + 1, message)
        for link in batch:
            problem = damage(link, self.sequence + 1, self.previous, self._is_keepers)
            if problem is not None:
                return self._problem(problem.kind, problem.sequence, problem.message)
            self.sequence, self.previous = link.fields.sequence, link.hash
            while self._due and self._due[0].sequence == self.sequence:
                if self._due.pop(0).hash != self.previous:
                    message = "the event is not the one that a checkpoint names"
                    return self._problem("forked", self.sequence, message)
        return None

    def _problem(self, kind: str, sequence: int, message: str) -> Problem:
        return stream_problem(kind, self.stream, sequence, message)
