"""The values that a user or token knows, from the audit log, and which of them are or were just now served.

A reader knows a value permanently, whatever rights they lose. So every value that an event shows as read or
written by them counts. A rotation in the name of its requester does not count: it passes values to a
rotator, never to a person.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Final
from uuid import UUID

from audit_app.crypto.canonical_json import parsed_details
from audit_app.db.batches import BATCH, in_batches
from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent, ReadManifestItem
from secrets_app.models import Secret

# Acts on values that show none to the actor. Any other act counts as a read, so a new way of reading is
# included by default.
_UNSEEN: Final = (
    Action.ROTATION_CONNECT,
    Action.SECRET_STAGE,
    Action.SECRET_UNSTAGE,
    Action.SECRET_ROTATE,
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A secret with versions that the subject read or wrote; `stands` if one of them is still served."""

    secret: Secret
    numbers: tuple[int, ...]
    stands: bool


def known_to(who: UUID) -> list[Known]:
    """Return what a person or token has seen or written, deleted secrets included, sorted by place and name.

    It costs a statement for single acts, one for acts on many, and one for each 500 secrets.
    """
    seen: dict[UUID, set[int]] = {}
    for uuid, number in _seen_by(who):
        seen.setdefault(uuid, set()).add(number)
    secrets: list[Secret] = []
    for uuids in in_batches(list(seen)):
        secrets += Secret.objects.filter(uuid__in=uuids).select_related("environment")
    secrets.sort(key=attrgetter("environment.name", "environment_id", "name", "pk"))
    return [_known(secret, seen[secret.uuid]) for secret in secrets]


def _known(secret: Secret, numbers: set[int]) -> Known:
    # The previous value works while its grace lasts, and the pending one is about to.
    served = {secret.current_number, secret.previous_number, secret.pending_number}
    stands = bool(secret.live and numbers & served)
    return Known(secret=secret, numbers=tuple(sorted(numbers)), stands=stands)


def _seen_by(who: UUID) -> Iterator[tuple[UUID, int]]:
    """Yield secrets and version numbers: of single reads and writes, and of reads of many."""
    events = AuditEvent.objects.filter(actor_uuid=who, outcome=Outcome.ALLOWED).exclude(action__in=_UNSEEN)
    single = events.filter(object_kind="secret", action__startswith="secret.", details__contains='"number":')
    for uuid, details in single.values_list("object_uuid", "details").iterator(chunk_size=BATCH):
        number = parsed_details(details).get("number")
        if isinstance(number, int):
            yield uuid, number
    manifests = events.filter(manifest__isnull=False).values("manifest")
    along = ReadManifestItem.objects.filter(manifest__in=manifests)
    yield from along.values_list("secret_uuid", "number").distinct().iterator(chunk_size=BATCH)
