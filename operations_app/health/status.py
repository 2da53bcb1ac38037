"""The status of every system with its remedy, read from stored rows: no page waits for a probe."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from django.db.models import Count
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.functional import Promise

from audit_app.checkpoints.signing import SIGNING
from audit_app.events.actions import Action
from audit_app.models import SinkState
from audit_app.sinks.registry import checkpoint_sinks, event_sinks
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from operations_app.models import ExternalSystem, System, SystemState
from secrets_app.key_operations.key_check import failing_data_keys
from secrets_app.models import WrappingKey
from sync_app.models import Target

REMEDIES: Final[Mapping[System, str]] = MappingProxyType(
    {
        System.DATABASE: (
            "Check that the database is running and reachable, and that DATABASE_URL is right. Acknowledged "
            "data is safe."
        ),
        System.BROKER: (
            "Check CELERY_BROKER_URL and that the broker is running. Due work is stored in the database and "
            "continues when the broker answers."
        ),
        System.REDIS: "Check REDIS_URL and that Redis is running. Keeper keeps working without it.",
        System.MAIL: "Check the EMAIL_ variables. Messages are queued and retried.",
        System.IDENTITY_PROVIDER: (
            "Check KEEPER_SAML_METADATA_URL or _FILE with the identity provider's administrators. Keeper "
            "uses the last metadata until then. Operators can sign in with a password."
        ),
    }
)
KEY_REMEDY: Final = "Run keeper kms test-connection to find the missing permission or the key's state."
DATA_KEY_REMEDY: Final = "Run keeper kms key-info to list the affected data keys and the cause."
SINK_REMEDY: Final = (
    "Check KEEPER_AUDIT_SINKS or KEEPER_EVENT_SINKS. Missing events are sent once it is reachable."
)
SIGNING_REMEDY: Final = "Run keeper checkpoint to find out why the audit log is not signed."
TARGET_REMEDY: Final = "Open the target to see the error and test the connection."
SILENT_REMEDY: Final = (
    "No worker has checked recently. If Keeper has been running for a few minutes, start a worker and beat."
)


_SILENT_AFTER: Final = timedelta(minutes=15)
_NAMED: Final = 3
GROUPS: Final = ("Dependencies", "Keys", "Audit log destinations", "Sync targets")
_OWN, _KEYS, _SINKS, _TARGETS = GROUPS


@dataclass(frozen=True, kw_only=True)
class SystemStatus:
    """One system as it stood when it was last asked; `state` is a word of the pages."""

    group: str
    name: str
    state: str
    detail: str = ""
    remedy: str = ""
    at: datetime | None = None
    url: str | Promise = ""

    @property
    def ails(self) -> bool:
        return self.state in {"unhealthy", "degraded", "failed", "unasked"}


def standings(*, actor: Principal) -> list[SystemStatus]:
    """Return the status of all systems, for operators. Raises Forbidden."""
    require(actor=actor, action=Action.SYSTEM_VIEW, environment=None)
    return [*_systems(), *_keys(), *_sinks(), *_targets()]


def failing_systems() -> list[str]:
    """Return the names of the systems that failed when they were asked last."""
    rows = ExternalSystem.objects.filter(failures__gt=0)
    return [row.get_kind_display() for row in rows]


def _systems() -> Iterator[SystemStatus]:
    rows = {row.kind: row for row in ExternalSystem.objects.all()}
    for kind in System:
        row = rows.get(kind)
        if row is None or row.checked_at is None:
            yield _unasked(_OWN, kind.label)
            continue
        took = f"answered in {row.milliseconds:,} ms" if row.state == SystemState.OK else ""
        status = SystemStatus(
            group=_OWN,
            name=kind.label,
            state=row.state,
            detail="; ".join(part for part in (row.detail, took) if part),
            remedy=REMEDIES[kind] if row.failures else "",
            at=row.checked_at,
        )
        yield status if not _is_old(row.checked_at) else _unasked(_OWN, kind.label, row.checked_at)


def _keys() -> Iterator[SystemStatus]:
    """Yield each key encryption key once, with what it is used for and what the canary found under it."""
    names = dict(Environment.every.values_list("uuid", "name"))
    closed = dict(failing_data_keys().order_by().values_list("key_uri").annotate(Count("pk")))
    used: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    last_used: dict[tuple[str, str, str], datetime] = {}
    for row in WrappingKey.objects.all():
        key = (row.key_uri or row.reference, row.problem, row.note)
        used[key].append(names.get(row.scope, "Keeper"))
        last_used[key] = max(row.checked_at, last_used.get(key, row.checked_at))
    for key, scopes in used.items():
        uri, problem, note = key
        count = closed.pop(uri, 0)
        for_whom = f"for {_some(scopes)}"
        name = uri or "the configured key"
        if problem:
            yield _failed(_KEYS, name, f"{problem}; {for_whom}", KEY_REMEDY, last_used[key])
        elif count:
            detail = f"{count} data keys under it do not open; {for_whom}"
            yield _failed(_KEYS, name, detail, DATA_KEY_REMEDY, last_used[key])
        elif _is_old(last_used[key]):
            yield _unasked(_KEYS, name, last_used[key])
        else:
            detail = "; ".join(part for part in (for_whom, note) if part)
            yield SystemStatus(group=_KEYS, name=name, state="ok", detail=detail, at=last_used[key])
    for uri, count in closed.items():
        detail = f"{count} data keys under it do not open"
        yield _failed(_KEYS, uri, detail, DATA_KEY_REMEDY, None)


def _sinks() -> Iterator[SystemStatus]:
    rows = {row.name: row for row in SinkState.objects.all()}
    url = reverse_lazy("admin-audit")
    places = [("audit log signing", SIGNING, SIGNING_REMEDY)]
    sinks = [*checkpoint_sinks(), *event_sinks()]
    places += [(sink.name, sink.name, SINK_REMEDY) for sink in sinks]
    for name, key, remedy in places:
        row = rows.get(key)
        if row is not None and (row.failures or row.error):
            yield _failed(_SINKS, name, row.error, remedy, row.succeeded_at, url)
        elif row is None or row.succeeded_at is None:
            yield SystemStatus(
                group=_SINKS, name=name, state="pending", detail="nothing to send yet", url=url
            )
        else:
            yield SystemStatus(group=_SINKS, name=name, state="ok", at=row.succeeded_at, url=url)


def _targets() -> Iterator[SystemStatus]:
    rows = Target.objects.filter(live=True).select_related("environment")
    for row in rows.order_by("environment__name", "name"):
        name, url = f"{row.environment.name} / {row.name}", reverse_lazy("target-detail", args=[row.pk])
        last_answer = max((at for at in (row.last_success_at, row.last_failure_at) if at), default=None)
        if row.failures:
            yield _failed(_TARGETS, name, row.last_error, TARGET_REMEDY, last_answer, url)
            continue
        state = "paused" if row.paused_at else "ok" if row.last_success_at else "pending"
        yield SystemStatus(group=_TARGETS, name=name, state=state, at=last_answer, url=url)


def _failed(
    group: str, name: str, detail: str, remedy: str, at: datetime | None, url: str | Promise = ""
) -> SystemStatus:
    return SystemStatus(
        group=group, name=name, state="unhealthy", detail=detail, remedy=remedy, at=at, url=url
    )


def _unasked(group: str, name: str, at: datetime | None = None) -> SystemStatus:
    # One that was never asked waits for a worker, and whether one lives is a check.
    return SystemStatus(
        group=group, name=name, state="unasked" if at else "pending", remedy=SILENT_REMEDY, at=at
    )


def _is_old(at: datetime) -> bool:
    return at < timezone.now() - _SILENT_AFTER


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
