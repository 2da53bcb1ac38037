"""Reports: sections that each app contributes, over what one viewer may see, of a span of time.

A section yields its rows one by one, so that a report of any size passes through in flat memory. No section
ever reads a value. The audit log's own sections are privileged acts, refusals, and how well the chain is
anchored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final, TypeAlias, cast

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from audit_app.crypto.checkpoint_statement import Statement
from audit_app.errors import BadCheckpoint
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, Checkpoint, StreamHead
from audit_app.queries import search

Cell: TypeAlias = str | int | bool | datetime | None
Row: TypeAlias = Sequence[Cell]

_EVENTS_PER_QUERY = 1_000


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Who looks, and at which time: `since` is inclusive, `until` exclusive.

    `as_of` is the time whose access is asked for, None for now.
    """

    viewer: Actor
    since: datetime
    until: datetime
    as_of: datetime | None = None

    def events(self, **conditions: object) -> Iterator[AuditEvent]:
        """Yield the events of the time that the viewer may read, oldest first."""
        rows: QuerySet[AuditEvent] = search.events(viewer=self.viewer, since=self.since, until=self.until)
        # By time, whose index has the order: by id, each query would sort the time that is left.
        rows = following = rows.filter(**conditions).order_by("at", "id")
        while batch := list(following[:_EVENTS_PER_QUERY]):
            yield from batch
            last = batch[-1]
            following = rows.filter(Q(at__gt=last.at) | Q(id__gt=last.pk), at__gte=last.at)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a report: `rows` yields as many cells as there are `columns`.

    `about` describes in a sentence what the rows include and exclude. Sections that are for the whole
    installation (`operators`) yield nothing to viewers of single environments. The rows of a section
    `of_time` are of the time of the report; those of each other one are a state, as of its making.
    """

    key: str
    title: str
    about: str
    columns: tuple[str, ...]
    rows: Callable[[Scope], Iterator[Row]]
    operators: bool = False
    of_time: bool = False


@cache
def sections() -> dict[str, Section]:
    """Return every section by its key, in the order of settings.KEEPER_REPORT_SECTIONS."""
    by_key: dict[str, Section] = {}
    for path in settings.KEEPER_REPORT_SECTIONS:
        for section in cast("Sequence[Section]", import_string(path)):
            if section.key in by_key:
                raise ValueError(f"two sections of reports are called {section.key}")
            by_key[section.key] = section
    return by_key


# Acts that give or take access, change who must agree, hand values on, or change keys and history.
PRIVILEGED: Final = frozenset(
    {
        # Environments: their protection, and how many must approve.
        Action.ENVIRONMENT_CREATE, Action.ENVIRONMENT_UPDATE, Action.ENVIRONMENT_DELETE,
        Action.ENVIRONMENT_RESTORE, Action.ENVIRONMENT_PURGE,
        # Who may do what.
        Action.MEMBER_GRANT, Action.MEMBER_CHANGE, Action.MEMBER_REVOKE, Action.MEMBER_EXPIRE,
        Action.BREAK_GLASS, Action.ACCESS_SUSPEND, Action.ACCESS_CONFIRM, Action.ACCESS_DECIDE,
        Action.REVIEW_START, Action.REVIEW_DECIDE, Action.REVIEW_SIGN, Action.REVIEW_CANCEL,
        Action.TOKEN_ISSUE, Action.TOKEN_CHANGE, Action.TOKEN_REVOKE, Action.TRUST_CREATE,
        Action.TRUST_CHANGE, Action.TRUST_DELETE, Action.USER_CREATE, Action.USER_CHANGE,
        Action.USER_OFFBOARD, Action.USER_MOVE, Action.USER_PROVISION, Action.SCIM_CLIENT_CHANGE,
        Action.SECOND_FACTOR_CHANGE, Action.GROUP_CHANGE,
        Action.SAML_MAPPING_CHANGE, Action.SAML_METADATA_CHANGE, Action.SSO_PROVIDER_CHANGE,
        Action.SINK_CHANGE, Action.SINK_SKIP,
        # What a second person decided, and what was done by it.
        Action.APPROVAL_DECIDE, Action.APPROVAL_CARRY_OUT,
        # Values that leave, to whom, and what replaces them.
        Action.SECRET_EXPORT, Action.SECRET_SHARE, Action.SECRET_PURGE, Action.SECRET_DESTROY,
        Action.SECRET_GUARD, Action.SECRET_UNGUARD, Action.SECRET_REVIEW_EMERGENCY,
        Action.SECRET_RELEASE, Action.SECRET_RELEASE_END,
        Action.SECRET_DECOY_SET, Action.SECRET_DECOY_END, Action.SECRET_DECOY, Action.TOKEN_DECOY,
        Action.TARGET_CREATE,
        Action.TARGET_CHANGE, Action.TARGET_REMOVE, Action.TARGET_ADOPT, Action.TARGET_RESOLVE,
        Action.ROTATION_CREATE, Action.ROTATION_CHANGE, Action.ROTATION_SUSPEND, Action.ROTATION_REMOVE,
        Action.CONSENT_GIVE, Action.CONSENT_WITHDRAW, Action.NOTIFICATION_CREATE, Action.NOTIFICATION_REMOVE,
        # Keys, history and the installation itself.
        Action.DATA_KEY_ROTATE, Action.KEY_MIGRATION_START, Action.KEY_MIGRATION_FINALISE,
        Action.KEY_MIGRATION_ROLLBACK, Action.TRAIL_PRUNE, Action.TRAIL_RESUME, Action.BACKUP_DOWNLOAD,
        Action.BACKUP_REMOVE, Action.DEPLOYMENT_INITIALISE, Action.DEPLOYMENT_RESTORE,
        Action.DEPLOYMENT_ACTIVATE, Action.RESTORE_SUSPEND, Action.RESTORE_RELEASE,
    }
)  # fmt: skip


def _events(**conditions: object) -> Callable[[Scope], Iterator[Row]]:
    return lambda scope: (
        (*_who(event), event.action, event.object_kind, event.object_name, event.outcome)
        for event in scope.events(**conditions)
    )


def _who(event: AuditEvent) -> Row:
    return (event.at, event.actor_kind, event.actor_name, event.address)


def _chain(scope: Scope) -> Iterator[Row]:
    """Yield each stream: how long it is, and how much of it the newest stored checkpoint covers."""
    readable = audit_log_policy().readable_streams(scope.viewer)
    heads = StreamHead.objects.order_by("stream")
    if readable is not None:
        heads = heads.filter(stream__in=readable)
    newest = Checkpoint.objects.order_by("-number").first()
    covered = _covered(newest)
    for head in heads.iterator():
        signed = covered.get(head.stream, 0)
        yield (
            head.stream,
            head.sequence,
            signed,
            head.sequence - signed,
            newest.number if newest else None,
            newest.at if newest else None,
        )


def _covered(newest: Checkpoint | None) -> dict[str, int]:
    try:
        heads = Statement.parsed(newest.statement).heads if newest else {}
    except BadCheckpoint:
        return {}
    return {stream: head.sequence for stream, head in heads.items()}


def _damage(scope: Scope) -> Iterator[Row]:
    for event in scope.events(action=Action.INTEGRITY_VIOLATION):
        yield (event.at, event.object_kind, event.object_name, event.details[:300])


_ABOUT_AN_EVENT: Final = (
    "Time", "Actor type", "Actor", "IP address", "Action", "Resource type", "Resource", "Outcome",
)  # fmt: skip
SECTIONS: Final = (
    Section(
        key="privileged",
        title="Privileged and break-glass actions",
        about="Actions that give or take access, decide on requests, hand values on, or change keys and "
        "history. Reads and writes of single values are not among them.",
        columns=_ABOUT_AN_EVENT,
        rows=_events(action__in=sorted(PRIVILEGED)),
        of_time=True,
    ),
    Section(
        key="refused",
        title="Failed and denied access",
        about="Actions that were denied or failed. Unauthenticated requests are counted per minute.",
        columns=_ABOUT_AN_EVENT,
        rows=_events(outcome__in=[Outcome.DENIED, Outcome.FAILED]),
        of_time=True,
    ),
    Section(
        key="chain",
        title="Audit log integrity",
        about="How much of each stream the newest checkpoint signs. This report does not verify: run "
        "keeper verify-audit.",
        columns=("Stream", "Events", "Signed", "Not yet signed", "Checkpoint", "Signed at"),
        rows=_chain,
    ),
    Section(
        key="damage",
        title="Integrity violations",
        about="Stored rows, values and checkpoints changed outside Keeper, as they were met at work. What a "
        "verification found is in its own result.",
        columns=("Time", "Type", "Object", "Details"),
        rows=_damage,
        of_time=True,
    ),
)
