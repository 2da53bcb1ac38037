"""Which old events retention may remove: transient ones that no later query needs.

Actions that are not listed here are kept, so a new action is kept by default. Events that explain the
present state are never listed: writes of versions with their digests, grants, the state of rows,
inventories of old values, keys, restores, cuts.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_state import names_rows
from core.canonical_json import parsed_details

PASSING: Final = frozenset(
    {
        # Values handed out; the newest of equal ones stays (`known_reads`).
        Action.SECRET_REVEAL,
        Action.SECRET_EXPORT,
        Action.SECRET_DELIVER,
        Action.SECRET_COMPARE,
        # Names and metadata looked at.
        Action.SECRET_VIEW,
        Action.ENVIRONMENT_VIEW,
        Action.MEMBER_VIEW,
        Action.TOKEN_VIEW,
        Action.USER_VIEW,
        Action.TARGET_VIEW,
        Action.ROTATION_VIEW,
        Action.CONSENT_VIEW,
        Action.NOTIFICATION_VIEW,
        Action.APPROVAL_VIEW,
        Action.BACKUP_VIEW,
        Action.TRAIL_VIEW,
        Action.TRAIL_VERIFY,
        Action.TRAIL_EXPORT,
        Action.LIST_EXPORT,
        Action.REPORT_GENERATE,
        # Comings and goings.
        Action.SIGN_IN,
        Action.SIGN_OUT,
        Action.SESSION_END,
        Action.SESSION_CONFIRM,
        Action.REFUSAL,
        # Work that leaves its result elsewhere.
        Action.TARGET_TEST,
        Action.TARGET_PLAN,
        Action.TARGET_CONNECT,
        Action.TARGET_ALERT,
        Action.ROTATION_CONNECT,
        Action.ROTATION_STEP,
        Action.ROTATION_ALERT,
        Action.NOTIFICATION_SEND,
        Action.NOTIFICATION_RETRY,
        Action.NOTIFICATION_TEST,
        Action.INTEGRITY_SWEEP,
        Action.DATA_KEY_OPEN,
        Action.DATA_KEY_CHECK,
    }
)

_PASSING_TEXTS: Final = frozenset(str(action) for action in PASSING)


class OldEvent(NamedTuple):
    """What the rules look at."""

    pk: int
    sequence: int
    hash: bytes
    action: str
    outcome: str
    actor_uuid: object
    object_uuid: object
    details: str
    manifest_id: int | None


def is_passing(event: OldEvent) -> bool:
    """Return whether an event may be taken out by what it is."""
    if names_rows(event.details):
        return False
    return event.outcome == Outcome.DENIED or event.action in _PASSING_TEXTS


def known_reads(events: Iterable[OldEvent]) -> set[int]:
    """Return the sequences of the newest of equal reads: the readers of each version are never removed.

    Offboarding needs every read, however old. Memory grows with the pairs of
    reader and version, or list of versions, and not with the reads.
    """
    newest: dict[tuple[object, ...], int] = {}
    for event in events:
        if event.outcome != Outcome.ALLOWED or not is_passing(event):
            continue
        if event.manifest_id is not None:
            newest[event.actor_uuid, event.manifest_id] = event.sequence
        elif (number := parsed_details(event.details).get("number")) is not None:
            newest[event.actor_uuid, event.object_uuid, event.action, number] = event.sequence
        elif event.action in _READS:
            newest[event.actor_uuid, event.object_uuid, event.action] = event.sequence
    return set(newest.values())


_READS: Final = frozenset(
    str(action) for action in (Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_DELIVER)
)
