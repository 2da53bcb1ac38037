"""The audit log's own sections of reports: privileged acts, refusals, and how well the chain is anchored."""

from collections.abc import Iterator
from typing import Final

from audit_app.crypto.checkpoint_statement import Statement
from audit_app.errors import BadCheckpoint
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces.access_policy import trail_policy
from audit_app.models import AuditEvent, Checkpoint, StreamHead
from audit_app.queries.reports import Row, Scope, Section

_PRIVILEGED: Final = (
    Action.BREAK_GLASS,
    Action.USER_CREATE,
    Action.USER_CHANGE,
    Action.GROUP_CHANGE,
    Action.SAML_MAPPING_CHANGE,
    Action.ACCESS_CONFIRM,
    Action.TOKEN_ISSUE,
    Action.SECRET_EXPORT,
    Action.SECRET_PURGE,
    Action.DATA_KEY_ROTATE,
    Action.KEY_MIGRATION_START,
    Action.KEY_MIGRATION_FINALISE,
    Action.KEY_MIGRATION_ROLLBACK,
    Action.TRAIL_PRUNE,
    Action.TRAIL_RESUME,
    Action.DEPLOYMENT_RESTORE,
    Action.DEPLOYMENT_ACTIVATE,
    Action.RESTORE_RELEASE,
)


def _privileged(scope: Scope) -> Iterator[Row]:
    for event in scope.events(action__in=_PRIVILEGED):
        yield (*_who(event), event.action, event.object_kind, event.object_name, event.outcome)


def _refused(scope: Scope) -> Iterator[Row]:
    for event in scope.events(outcome__in=[Outcome.DENIED, Outcome.FAILED]):
        yield (*_who(event), event.action, event.object_kind, event.object_name, event.outcome)


def _who(event: AuditEvent) -> Row:
    return (event.at, event.actor_kind, event.actor_name, event.address)


def _chain(scope: Scope) -> Iterator[Row]:
    """Yield each stream: how long it is, and how much of it the newest stored checkpoint covers."""
    readable = trail_policy().readable_streams(scope.viewer)
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
        about="Actions that grant access, open many values, or change keys and history.",
        columns=_ABOUT_AN_EVENT,
        rows=_privileged,
    ),
    Section(
        key="refused",
        title="Failed and denied access",
        about="Actions that were denied or failed. Unauthenticated requests are counted per minute.",
        columns=_ABOUT_AN_EVENT,
        rows=_refused,
    ),
    Section(
        key="chain",
        title="Audit log integrity",
        about="How much of each stream the newest checkpoint signs. This report does not verify: run "
        "`keeper verify-audit`.",
        columns=("Stream", "Events", "Signed", "Not yet signed", "Checkpoint", "Signed at"),
        rows=_chain,
    ),
    Section(
        key="damage",
        title="Integrity violations",
        about="Stored rows, values and checkpoints that were changed outside Keeper.",
        columns=("Time", "Type", "Object", "Details"),
        rows=_damage,
    ),
)
