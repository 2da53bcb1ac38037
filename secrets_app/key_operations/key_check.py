"""Checks whether each key in use still decrypts, before a reader needs it, and alerts operators if not.

A data key is unwrapped and thrown away: no value opens, and so no event of a reader is due. The finding is
stored on the row, for pages and probes. The event of a change (it opens no more, it opens again) is
recorded, and a key that opens no more raises an alert here and nowhere else.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from core.workers import nudge
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from environments_app.notifications.service import MAX_LINES, raise_alert, resolve_alert
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.key_operations.report import STORED, key_states
from secrets_app.keys.providers.registry import provider_named, with_extended_timeout
from secrets_app.keys.wrapping import KMS, refuse_in_transaction, unwrap
from secrets_app.models import DataKey, WrappingKey

KIND: Final = "keys.failing"
_NAMES: Final = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeyFailure:
    """A data key that opened before and does not now; `scope` is its environment, or its purpose."""

    data_key: UUID
    scope: str
    key_uri: str
    problem: str


def alert_failures(failures: Sequence[KeyFailure]) -> None:
    """Notify operators, once for each wrapping key with failing data keys; the events are recorded already.

    It logs at once and sends a message to KEEPER_ALERT_EMAILS, which needs no key.
    """
    by_key: dict[tuple[str, str], list[KeyFailure]] = defaultdict(list)
    for failure in failures:
        by_key[failure.key_uri, failure.problem].append(failure)
    lines = []
    for (key_uri, problem), under_key in by_key.items():
        _log.error(
            "%d data keys under %s do not open (%s): %s",
            len(under_key),
            key_uri,
            _describe_keys(under_key),
            problem,
        )
        lines.append(f"{len(under_key)} under {key_uri} ({_describe_keys(under_key)}): {problem}")
    raise_alert(
        kind=KIND,
        about=deployment_uuid(),
        environment=None,
        subject=f"{len(failures)} data keys do not open any more",
        lines=lines[:MAX_LINES],
        link=reverse("dashboard"),
    )


def resolve_alerts() -> None:
    """Notify the same recipients that every key opens again."""
    resolve_alert(
        kinds=[KIND], about=deployment_uuid(), subject="every data key opens again", link=reverse("dashboard")
    )


def _describe_keys(failures: Sequence[KeyFailure]) -> str:
    names = ", ".join(f"{failure.scope} {failure.data_key}" for failure in failures[:_NAMES])
    more = len(failures) - _NAMES
    return f"{names} and {more} more" if more > 0 else names


CHECK_REQUESTED: Final = "secrets_app.tasks.check_requested_keys"
# Retired data keys that one run looks at: those that were not looked at for the longest time.
OLDER_PER_RUN: Final = 100
# Of those that do not open, so many are looked at each minute.
FAILING_PER_RUN: Final = 100
# A run ends here, and the next one continues with what this one did not reach.
RUN_SECONDS: Final = 120.0
# One lost packet is no alarm.
PATIENCE_SECONDS: Final = 20.0
_TEXT: Final = 500
# How many data keys an event names.
_NAMED: Final = 100


def check_keys() -> None:
    """Look at the key of each environment, and open every data key that is in use, in a bounded time.

    Raises KeyringUnavailable if nothing can be recorded, and NetworkInTransaction.
    """
    refuse_in_transaction("keys are checked")
    keyring().open_all()
    _store_states()
    longest_ago = F("checked_at").asc(nulls_first=True)
    rows = data_keys_in_use().select_related("environment").order_by(longest_ago, "pk")
    # Read to their ends, so that no cursor is open while KMS is asked.
    check_data_keys([*rows.filter(active=True), *rows.filter(active=None)[:OLDER_PER_RUN]])


def watch_keys() -> None:
    """Ask KMS for the state of the keys, and open what is under one that was just disabled or deleted.

    Cheap enough for every few seconds: an operation a key, and none for a key file, which has no state.
    Raises KeyringUnavailable if nothing can be recorded, and NetworkInTransaction.
    """
    refuse_in_transaction("keys are watched")
    if settings.KEY_MANAGEMENT_BACKEND != KMS:
        return
    usable = set(WrappingKey.objects.filter(problem="").values_list("scope", flat=True))
    _store_states()
    # An outage has no state: the data keys that are in memory serve through it.
    turned = WrappingKey.objects.filter(scope__in=usable).exclude(problem="").exclude(state="")
    if scopes := set(turned.values_list("scope", flat=True)):
        keyring().open_all()
        of_system = Q(environment=None) if NO_ENVIRONMENT in scopes else Q(pk__in=[])
        rows = (
            data_keys_in_use()
            .filter(Q(environment__uuid__in=scopes) | of_system)
            .select_related("environment")
        )
        check_data_keys(list(rows.order_by("checked_at", "pk")[:FAILING_PER_RUN]))


def check_failing_keys() -> None:
    """Look again at keys if one has a problem, and open the data keys again that did not open.

    A recovery of KMS is thereby reported soon and automatically. While it is unavailable, a run ends
    quickly. Raises KeyringUnavailable if nothing can be recorded, and NetworkInTransaction.
    """
    refuse_in_transaction("keys are checked")
    rows = list(
        failing_data_keys().select_related("environment").order_by("checked_at", "pk")[:FAILING_PER_RUN]
    )
    if rows or WrappingKey.objects.exclude(problem="").exists():
        keyring().open_all()
        _store_states()
    if rows:
        check_data_keys(rows, again=True)


def request_checks(*, actor: Principal, rows: QuerySet[DataKey]) -> int:
    """Ask a worker to check data keys, record that, and return how many they are. Raises Forbidden."""
    require(actor=actor, action=Action.DATA_KEY_CHECK, environment=None)
    uuids = list(rows.values_list("uuid", flat=True))
    commit_record(
        actor=actor,
        action=Action.DATA_KEY_CHECK,
        stream=streams.SYSTEM,
        object=AuditObject("deployment", deployment_uuid(), "data keys"),
        details={"count": len(uuids), "data_keys": [str(uuid) for uuid in uuids[:_NAMED]]},
    )
    DataKey.objects.filter(uuid__in=uuids).update(check_requested_at=timezone.now())
    nudge(CHECK_REQUESTED)
    return len(uuids)


def check_requested_keys() -> None:
    """Check the data keys that a person asked about.

    A request is taken once: if its worker dies, the next check of all keys answers it.
    """
    requested = DataKey.objects.filter(check_requested_at__isnull=False)
    rows = list(requested.select_related("environment"))
    mine = [row for row in rows if requested.filter(pk=row.pk).update(check_requested_at=None)]
    if mine:
        check_data_keys(mine)


def check_data_keys(rows: Sequence[DataKey], *, again: bool = False) -> None:
    """Open these data keys and keep what was found; a key that gives no answer is not asked twice.

    `again` is for keys that are known to fail: requests have few retries, and an edited row is reported by
    the next full check. Ends if KMS throttles, since that is no result for a key, and after RUN_SECONDS.
    """
    refuse_in_transaction("data keys are checked")
    silent: dict[str, str] = {}
    failures: list[KeyFailure] = []
    ends = time.monotonic() + RUN_SECONDS
    for row in rows:
        try:
            problem = silent.get(row.key_uri) or _problem(row, again=again)
        except KeyUnavailable as error:
            if error.throttled:
                break
            problem = str(error)
            if not error.permanent:
                silent[row.key_uri] = problem
        if _store_finding(row, problem[:_TEXT]) and problem:
            failures.append(
                KeyFailure(data_key=row.uuid, scope=_name(row), key_uri=row.key_uri, problem=problem)
            )
        if time.monotonic() > ends:
            break
    if failures:
        alert_failures(failures)
    elif not failing_data_keys().exists():
        resolve_alerts()


def failing_data_keys() -> QuerySet[DataKey]:
    """Return the data keys that did not open when they were looked at last."""
    return data_keys_in_use().exclude(check_problem="")


def with_unusable_key() -> QuerySet[Environment]:
    """Return the environments whose key could not be used when it was looked at last."""
    return Environment.every.filter(uuid__in=WrappingKey.objects.exclude(problem="").values("scope"))


def data_keys_in_use() -> QuerySet[DataKey]:
    """Return the data keys that close or once closed something that is still there."""
    used = Q(active=True)
    # Every system key, the retired ones too, still proves what it once signed.
    used |= Q(purpose__in=list(Purpose))
    for relation in DataKey._meta.related_objects:
        column, rows = relation.field, relation.field.model._base_manager  # noqa: SLF001 - Django documents it
        used |= Q(Exists(rows.filter(**{column.name: OuterRef(column.target_field.name)})))
    return DataKey.objects.filter(used)


def _store_states() -> None:
    now, scopes = timezone.now(), set[UUID]()
    for key in key_states():
        scopes.add(key.scope)
        columns = {field: getattr(key, field) for field in STORED}
        columns |= {"note": key.note[:_TEXT], "problem": key.problem[:_TEXT], "checked_at": now}
        WrappingKey.objects.update_or_create(scope=key.scope, defaults=columns)
    # Of environments that were removed.
    WrappingKey.objects.exclude(scope__in=scopes).delete()


def _problem(row: DataKey, *, again: bool) -> str:
    try:
        provider_named(row.provider).recheck()
        with nullcontext() if again else with_extended_timeout(PATIENCE_SECONDS):
            unwrap(row)
    except (EnvelopeError, KeyRefused) as error:
        if not again:
            record_integrity_violation(kind="data_key", uuid=row.uuid, name=row.purpose, reason=str(error))
        return str(error)
    return ""


def _store_finding(row: DataKey, problem: str) -> bool:
    """Keep what was found; return whether that is news, which is recorded with it."""
    stored = DataKey.objects.filter(pk=row.pk)
    now = timezone.now()
    if bool(problem) == bool(row.check_problem):
        # Unless another process has stored out better since this one began.
        same = stored.exclude(check_problem="") if problem else stored.filter(check_problem="")
        same.update(checked_at=now, check_problem=problem)
        return False
    with transaction.atomic():
        # Of two processes with the same finding, one notifies.
        updated = stored.filter(check_problem=row.check_problem).update(checked_at=now, check_problem=problem)
        if updated:
            environment = row.environment
            record(
                actor=actors.system(),
                action=Action.DATA_KEY_OPEN,
                stream=streams.environment_stream(environment.uuid) if environment else streams.SYSTEM,
                object=AuditObject("data_key", row.uuid, _name(row)),
                outcome=Outcome.FAILED if problem else Outcome.ALLOWED,
                details={"step": "check", "key_uri": row.key_uri, "reason": problem},
            )
    return bool(updated)


def _name(row: DataKey) -> str:
    return row.environment.name if row.environment else row.purpose
