"""One event with its neighbours in the chain, and whether each is what Keeper recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from audit_app.crypto.hash_chain import Link, damage
from audit_app.interfaces.keyring import Purpose, keyring
from audit_app.models import AuditEvent
from audit_app.recording import event_store
from audit_app.verification.stream_verifier import beginning
from audit_app.verification.stream_walker import has_valid_mac

BESIDE: Final = 2


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """An event of the chain; `link_ok` is None where retention took out the event before it.

    `problem` names what is wrong with the event or its link, and is empty if nothing is.
    """

    event: AuditEvent
    mac_ok: bool
    link_ok: bool | None
    problem: str


def neighbourhood(event: AuditEvent) -> Sequence[Neighbour]:
    """Return an event between the BESIDE events before and after it in its stream, in order.

    A bounded number of statements. Raises KeyringUnavailable if the keys are not open.
    """
    first, last = event.sequence - BESIDE, event.sequence + BESIDE
    # The first of these is read for its hash alone, which the next one links to.
    links = event_store.links(event.stream, after=first - 2, until=last, limit=2 * BESIDE + 2)
    start = beginning(event.stream)
    hashes = {link.fields.sequence: link.hash for link in links}
    hashes[start.sequence] = start.hash
    rows = AuditEvent.objects.filter(stream=event.stream, sequence__gte=first, sequence__lte=last)
    by_number = {row.sequence: row for row in rows}
    return [
        _judged(link, by_number[link.fields.sequence], hashes.get(link.fields.sequence - 1), start.sequence)
        for link in links
        if link.fields.sequence in by_number
    ]


def _judged(link: Link, row: AuditEvent, previous: bytes | None, begins_at: int) -> Neighbour:
    """Judge a link by the hash before it; below the last cut there may be none, and the MAC alone decides."""
    sequence = link.fields.sequence
    if previous is None and sequence <= begins_at:
        genuine = has_valid_mac(link)
        problem = "" if genuine else "the event is not one that Keeper's key has written"
        return Neighbour(event=row, mac_ok=genuine, link_ok=None, problem=problem)
    if previous is None:
        return Neighbour(
            event=row, mac_ok=has_valid_mac(link), link_ok=False, problem="the event before it is missing"
        )
    found = damage(link, sequence, previous, partial(keyring().verify, Purpose.AUDIT_MAC))
    return Neighbour(
        event=row,
        mac_ok=has_valid_mac(link),
        link_ok=link.previous_hash == previous,
        problem=found.message if found else "",
    )
