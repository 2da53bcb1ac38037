"""Puts back what a write of unknown outcome came over, and keeps sealed what a write would destroy.

A target compares a secret's version, and may not compare whose it is. Where it keeps one version, a write
destroys what it comes over: that is kept until the write is settled.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from django.db.models import BigIntegerField

from audit_app.events.actions import Action, Outcome
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record, record
from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal
from secrets_app.errors import InvalidPlaintext, KeyUnavailable, SecretError
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from sync_app.applying import item_actions
from sync_app.applying.pass_context import ApplyContext
from sync_app.backends.base import Backend
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Presence
from sync_app.errors import Overwritten
from sync_app.jobs.leases import Lease, fenced
from sync_app.jobs.worker_pool import run_each
from sync_app.models import KeptCopy, Plan, SyncEntry, Target
from sync_app.planning import sync_entries
from sync_app.state import entry_rows, local_state
from sync_app.state.open_values import Comparison, ValueMatcher
from sync_app.state.ownership import mark_for

# Lets a text without a character be sealed, too.
_FIRST: Final = "="
logger = logging.getLogger(__name__)


def keep_copies(context: ApplyContext, versions: Mapping[str, str]) -> None:
    """Keep what these names hold in the target at these versions; call it before they are written over.

    What is no usable value, or too long to be sealed, is not kept. Raises what concerns the whole target,
    LeaseLost, KeyUnavailable.
    """
    target = context.plan.target
    answers = run_each(context.backend.read_value, versions, heartbeat=context.heartbeat)
    copies = {name: copy for name, copy in answers if isinstance(copy, SecretValue)}
    copies = {name: copy for name, copy in copies.items() if copy.metadata.version == versions[name]}
    rows = _seal_copies(target, copies)
    with fenced(context.lease):
        KeptCopy.objects.filter(target=target, name__in=list(versions)).delete()
        KeptCopy.objects.bulk_create(rows)


def open_kept_copies(actor: Principal, target: Target, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Open what was kept of these names: the version that held it, and the value.

    An event of it is committed first. What does not open is left out, reported. Raises KeyUnavailable.
    """
    rows = list(KeptCopy.objects.filter(target=target, name__in=list(names)))
    if not rows:
        return {}
    receipt = commit_record(
        actor=actor,
        action=Action.TARGET_APPLY,
        **stream_and_object(target),
        details={"step": "open what was kept", "names": [row.name for row in rows]},
        covers=frozenset(row.uuid.bytes for row in rows),
    )
    values = {}
    for row in rows:
        row.target, row.environment = target, target.environment
        try:
            value = row.value.open(receipt).decode()
        except KeyUnavailable as error:
            if not error.permanent:
                raise
        except SecretError as error:
            logger.warning("what was kept of %s does not open: %s", row.name, error)
        else:
            values[str(row.name)] = (str(row.version), value.removeprefix(_FIRST))
    return values


def forget_copies(target: Target, names: Iterable[str]) -> None:
    """Destroy what was kept of these names."""
    KeptCopy.objects.filter(target=target, name__in=list(names)).delete()


def revert_overwrite(
    matcher: ValueMatcher,
    *,
    seen: SecretMetadata,
    makes: str,
    marks: Collection[Mark],
    versions: Iterable[str],
    kept: str | None,
) -> None:
    """Put back what a write over `seen` came over, if it wrote one of these versions of Keeper's there.

    `makes` is what is known of the name of the version that it would have made. Raises Overwritten
    where it came over what was not ours; and another BackendError, KeyUnavailable.
    """
    fingerprints = local_state.load_fingerprints(version for version in versions if version)

    def wrote(value: str) -> bool:
        return any(
            matcher.matches(
                Comparison(name=seen.name, version=UUID(version), fingerprint=fingerprint, remote=value)
            )
            for version, fingerprint in fingerprints.items()
        )

    item_actions.revert_unconfirmed_write(
        matcher.backend, seen, makes=makes, marks=marks, wrote=wrote, kept=kept
    )


# --- What an earlier run left -----------------------------------------------------------------


_UNSETTLED: Final = PreparedQuery(
    lambda: (
        SyncEntry.objects.filter(target_id=Argument(0, BigIntegerField()), state=DeliveryState.OWNERSHIP_LOST)
        .exclude(intended_target="")
        .order_by()
        .values_list("name")
    )
)


def find_unsettled(target: Target) -> list[SyncEntry]:
    """Return the entries of secrets that are not ours any more, and may hold a write of unknown outcome."""
    names = [name for (name,) in _UNSETTLED.all(target.pk)]
    return list(entry_rows.load_named(target, names).values()) if names else []


def revert_unsettled(
    plan: Plan, entries: Sequence[SyncEntry], *, backend: Backend, actor: Principal, lease: Lease | None
) -> None:
    """Put back what a run that ended came over. Raises a BackendError, LeaseLost, KeyUnavailable."""
    target = plan.target
    copies = open_kept_copies(actor, target, [str(entry.name) for entry in entries])
    matcher = ValueMatcher(actor=actor, plan=plan, backend=backend)
    for entry in entries:
        if lease:
            lease.heartbeat()
        version, value = copies.get(str(entry.name), (str(entry.base_target), None))
        seen = SecretMetadata(
            name=str(entry.name), presence=Presence.PRESENT, remote_id=str(entry.remote_id), version=version
        )
        marks = [mark_for(target, entry.secret_uuid)] if entry.secret_uuid else []
        try:
            revert_overwrite(
                matcher,
                seen=seen,
                makes=str(entry.intended_target),
                marks=marks,
                versions=[str(entry.intended_keeper)],
                kept=value,
            )
        except Overwritten as error:
            _record_overwrite(plan, entry, str(error), actor, lease)


def _record_overwrite(
    plan: Plan, entry: SyncEntry, error: str, actor: Principal, lease: Lease | None
) -> None:
    entry.state, entry.reason = DeliveryState.FAILED, error
    entry.clear_intent()
    with fenced(lease):
        sync_entries.save_entries([entry])
        forget_copies(plan.target, [str(entry.name)])
        record(
            actor=actor,
            action=Action.TARGET_APPLY,
            **stream_and_object(plan.target),
            outcome=Outcome.FAILED,
            details={"plan": str(plan.uuid), "step": "put back", "name": str(entry.name), "error": error},
        )


def _seal_copies(target: Target, copies: Mapping[str, SecretValue]) -> list[KeptCopy]:
    if not copies:
        return []
    key, rows = active_key(target.environment), []
    for name, copy in copies.items():
        row = KeptCopy(
            target=target,
            environment=target.environment,
            name=name,
            version=copy.metadata.version,
            data_key_id=key.id,
        )
        content = (_FIRST + (copy.raw or copy.value)).encode()
        try:
            row.value = Sealed.of(content, data_key=key, context=row.sealing_context())
        except InvalidPlaintext:
            logger.warning(
                "what %s holds in the target is too long to be kept while it is written over", name
            )
            continue
        rows.append(row)
    return rows
