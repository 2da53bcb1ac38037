"""Which service tokens and trusts there were at an earlier time, and what they might do, by the audit log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.authorization.effective_access import DISABLED_TRUST, EXPIRED, RESTORED, TOKEN, TRUST
from environments_app.authorization.rows import isoformat
from environments_app.models import Environment, ServiceToken, Trust

NO_EVENT: Final = "no event of this grant: it is shown as it is now"
_MADE: Final = frozenset({Action.TOKEN_ISSUE, Action.TRUST_CREATE})
_ACTS: Final = sorted(
    {
        *_MADE, Action.TOKEN_CHANGE, Action.TOKEN_REVOKE, Action.TRUST_CHANGE, Action.TRUST_DELETE,
        Action.RESTORE_SUSPEND, Action.RESTORE_RELEASE,
    }
)  # fmt: skip
# A restore names tokens by another kind than all else.
_KINDS: Final = {"token": TOKEN, "service-token": TOKEN, "trust": TRUST}


@dataclass(frozen=True, kw_only=True)
class PastProgram:
    """A token or trust at a time; `facts` are the details of its newest event until then."""

    kind: str
    uuid: UUID
    name: str
    made_by: str
    made_at: datetime
    facts: Mapping[str, Any]
    revoked: bool = False
    suspended: bool = False
    is_recorded: bool = True

    @property
    def expires_at(self) -> datetime | None:
        text = self.facts.get("expires_at")
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    def hindrances(self, moment: datetime) -> tuple[str, ...]:
        """Return why it opened nothing then; one that was revoked is for the caller to leave out."""
        facts = {
            NO_EVENT: not self.is_recorded,
            DISABLED_TRUST: bool(self.facts.get("disabled_at")),
            EXPIRED: self.expires_at is not None and self.expires_at <= moment,
            RESTORED: self.suspended,
        }
        return tuple(why for why, holds in facts.items() if holds)


def programs_at(environment: Environment | None, moment: datetime) -> list[PastProgram]:
    """Return the tokens and trusts of an environment, or the tokens of the installation, at a time.

    Tokens that were revoked are among them, deleted trusts are not. Those of workloads are their trusts, and
    children their parents.
    """
    found: dict[UUID, PastProgram] = {}
    passed_on: set[UUID] = set()
    stream = streams.environment_stream(environment.uuid) if environment else streams.SYSTEM
    events = AuditEvent.objects.filter(
        stream=stream,
        at__lte=moment,
        outcome=Outcome.ALLOWED,
        object_kind__in=list(_KINDS),
        action__unindexed__in=_ACTS,
    )
    for event in events.order_by("sequence").iterator(chunk_size=1_000):
        details, uuid = parsed_details(event.details), event.object_uuid
        former = found.get(uuid)
        if "parent" in details:
            passed_on.add(uuid)
        elif event.action in {Action.RESTORE_SUSPEND, Action.RESTORE_RELEASE}:
            if former:
                found[uuid] = replace(former, suspended=event.action == Action.RESTORE_SUSPEND)
        elif event.action == Action.TRUST_DELETE:
            found.pop(uuid, None)
            passed_on.add(uuid)
        elif uuid not in passed_on:
            found[uuid] = PastProgram(
                kind=_KINDS[event.object_kind],
                uuid=uuid,
                name=event.object_name,
                made_by=former.made_by if former else event.actor_name,
                made_at=former.made_at if former else event.at,
                facts=details,
                revoked=event.action == Action.TOKEN_REVOKE,
                suspended=former.suspended if former else False,
            )
    unrecorded = _unrecorded(environment, moment, {*found, *passed_on})
    return sorted([*found.values(), *unrecorded], key=lambda each: (each.kind, each.name, each.made_at))


def _unrecorded(
    environment: Environment | None, moment: datetime, recorded: set[UUID]
) -> Iterator[PastProgram]:
    """Yield the rows of that time of which no event tells, as they are now."""
    tokens: QuerySet[Any] = ServiceToken.objects.filter(trust_uuid=None, parent_uuid=None, revoked_at=None)
    kinds = {TOKEN: tokens, TRUST: Trust.objects.all()}
    for kind, rows in kinds.items():
        if kind == TRUST and environment is None:
            continue
        then = rows.filter(environment=environment, created_at__lte=moment)
        for row in then.select_related("created_by"):
            if row.uuid not in recorded:
                yield PastProgram(
                    kind=kind,
                    uuid=row.uuid,
                    name=row.name,
                    made_by=row.created_by.username if row.created_by else "",
                    made_at=row.created_at,
                    facts={
                        "role": row.role,
                        "prefix": row.prefix,
                        "cidrs": row.networks,
                        "expires_at": isoformat(row.expires_at),
                        **(_of_trust(row) if kind == TRUST else {}),
                    },
                    is_recorded=False,
                )


def _of_trust(trust: Trust) -> dict[str, Any]:
    return {
        "issuer": trust.issuer,
        "preset": trust.preset,
        "claims": dict(trust.demands),
        "disabled_at": isoformat(trust.disabled_at),
    }
