"""Stores a change of a secret: one transaction with its event, only if the caller read the newest state."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import BigIntegerField, CharField, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording import event_store
from audit_app.recording.drafts import EventDraft, stream_and_object
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from core.db import prepared
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Precondition, write_all
from environments_app.approvals.gate import ApprovalGrant
from environments_app.approvals.program_releases import end_of_secret
from secrets_app.errors import InvalidInput, NameTaken, StaleVersion
from secrets_app.interfaces import Confirm
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.version_rules import MAX_GONE, NEVER, VersionRules
from secrets_app.rows import references
from secrets_app.rows.references import Place
from secrets_app.values.versions import (
    guards_as_before,
    inherits_guard,
    inherits_no_guard,
    number_is_free,
    write_details,
)

# If-Match: * (RFC 9110, 13.1.1) asks only that there is something to change.
ANY: Final = "*"
# No secret is in it.
NO_STATE: Final = ""
Listener = Callable[[int, Collection[str]], None]
_OTHER: Final = "The secret was written meanwhile. Nothing was saved. Try again."
# What lives under a name, or was made meanwhile.
_OTHERS: Final = PreparedQuery(
    lambda: (
        Secret.objects.filter(
            Q(live=True) | Q(pk__gt=Argument(3, BigIntegerField())),
            environment_id=Argument(0, BigIntegerField()),
            name=Argument(1, CharField()),
        )
        .exclude(pk=Argument(2, BigIntegerField()))
        .order_by()
        .values_list("pk")
    )
)


def bounded(rules: VersionRules) -> VersionRules:
    """Return the rules, if the column can hold them. Raises InvalidInput."""
    if len(rules.deleted) + len(rules.destroyed) + len(rules.types) > MAX_GONE:
        raise InvalidInput(
            "versions",
            f"A secret keeps at most {MAX_GONE:,} deleted or destroyed versions and changes of its type. "
            "Delete the secret as a whole, and write it again. Nothing was changed.",
        )
    return rules


def check_etag(secret: Secret, expected: str | None) -> None:
    """Refuse a writer that read an older state. Raises StaleVersion.

    `expected` is an ETag, the state that an approval is bound to, ANY for a secret in whatever state,
    NO_STATE, or None.
    """
    if expected not in {None, ANY, secret.etag, secret.state}:
        raise StaleVersion(
            f"The secret has changed (now {secret.etag}). Nothing was saved. Reload and try again."
        )


def insert(
    *,
    actor: Actor,
    secret: Secret,
    version: SecretVersion | None,
    action: Action,
    details: Mapping[str, Json],
    clearance: ApprovalGrant,
    places: Sequence[Place] = (),
    last_seen: int = 0,
) -> None:
    """Store a new secret with its first version, what that refers to, and the event of it.

    It is guarded if its path is, or a deleted secret of its name was. Without a version it is one that was
    described before it has a value; `last_seen` is the highest id of the secrets of its name that the caller
    has looked at. Raises NameTaken if a living secret of the environment has the name, and StaleVersion if
    the number is that of a secret which was deleted meanwhile, or another one was described.
    """
    try:
        with transaction.atomic():
            event_details = {**details, **clearance.consume_approval(secret.environment, actor=actor)}
            # The number of a first version follows those of deleted secrets of the name: 1 has none.
            preconditions = _keep_guard(secret, had_others=not version or version.number > 1)
            if version is not None:
                limit = secret.environment.delete_version_after
                secret.rules = secret.rules.following(version.number, at=version.created_at, limit=limit)
                secret.note_end()
            prepared.insert(secret)
            secret.note_stored()
            if version is not None:
                version.secret = secret
                prepared.insert(version)
            if places:
                references.store(secret, places)
            _record(
                event(actor=actor, secret=secret, action=action, details=event_details, version=version),
                [
                    number_is_free(secret.environment, secret.name, version.number)
                    if version
                    else Precondition(
                        _OTHERS.statement(secret.environment_id, secret.name, secret.pk, last_seen),
                        StaleVersion(_OTHER),
                    ),
                    *preconditions,
                    *clearance.preconditions(),
                ],
            )
            notify_listeners(secret.environment_id, [secret.name])
    except IntegrityError as error:
        raise _name_taken(secret, error) from error


def update_stored(
    *,
    actor: Actor,
    secret: Secret,
    action: Action,
    details: Mapping[str, Json],
    clearance: ApprovalGrant,
    version: SecretVersion | None = None,
    pending: bool = False,
    confirm: Confirm | None = None,
    places: Sequence[Place] | None = None,
    formerly: str = "",
) -> None:
    """Store a changed secret, a new version if there is one, and the event of it.

    A new version becomes the current one, unless it is `pending`. Claims the row by its revision, so
    that of two writers who read the same state one wins; `confirm` is then called in the transaction,
    and may refuse the change by raising: no version becomes current without one, which is what the
    write guards answered. One that is brought back or renamed is guarded as a new one of its name is.
    `places` is what the value refers to, None for what is stored. `formerly` is the
    name that the secret had, if the change gives it another.

    Raises StaleVersion if the secret was changed since it was read, and NameTaken if
    its name now belongs to another.
    """
    if version is not None and not pending and confirm is None:
        raise TypeError("whatever becomes current was admitted by the write guards")
    try:
        with transaction.atomic():
            event_details = {**details, **clearance.consume_approval(secret.environment, actor=actor)}
            if version is not None and not pending:
                due = secret.rotation_due_at
                _make_current(secret, version, is_guarded=bool(confirm and confirm.again))
                if action == Action.SECRET_ROLLBACK:
                    # An earlier value is not the one that was due.
                    secret.rotation_due_at = due
            preconditions = clearance.preconditions()
            if formerly or (secret.live and "live" in secret.changed_fields()):
                preconditions += _keep_guard(secret)
            elif not secret.guarded and "guarded" in secret.changed_fields():
                preconditions.append(guards_as_before(secret.environment))
            ends_releases = secret.was_guarded and not (secret.live and secret.guarded)
            claim(secret, version)
            if ends_releases:
                end_of_secret(actor=actor, environment=secret.environment, secret=secret.uuid)
            if places is not None:
                references.store(secret, places)
            if confirm is not None:
                confirm()
                preconditions += confirm.preconditions()
            _record(
                event(actor=actor, secret=secret, action=action, details=event_details, version=version),
                preconditions,
            )
            notify_listeners(secret.environment_id, [secret.name, *([formerly] if formerly else [])])
    except IntegrityError as error:
        raise _name_taken(secret, error) from error


def notify_listeners(environment_id: int, names: Collection[str]) -> None:
    """Notify the listeners (settings.KEEPER_CHANGE_LISTENERS) which secrets of an environment changed.

    Call it in the change's transaction: listeners run after its commit, and none can fail it.
    """
    for path in settings.KEEPER_CHANGE_LISTENERS:
        transaction.on_commit(_telling(import_string(path), environment_id, names), robust=True)


def _telling(listener: Listener, environment_id: int, names: Collection[str]) -> Callable[[], None]:
    # No partial: Django names what failed by its __qualname__.
    return lambda: listener(environment_id, names)


def event(
    *,
    actor: Actor,
    secret: Secret,
    action: Action,
    details: Mapping[str, Json],
    version: SecretVersion | None = None,
) -> EventDraft:
    """Return the event of a change that was saved; one that made a version carries its digest."""
    written = write_details(version) if version else {}
    if action is Action.SECRET_PURGE:
        # Its shares and wrapped reads go with it.
        beside = (*secret.shares.all(), *secret.wrapped_reads.all())
        state = row_digest_entry(secret, *beside, gone=True)
    else:
        state = row_digest_entry(secret)
    return EventDraft(
        actor=actor, action=action, **stream_and_object(secret), details={**details, **written, **state}
    )


def claim(secret: Secret, version: SecretVersion | None) -> None:
    """Store what changed of a secret if its row still has the revision that was read, and a new version.

    An index is only written where one of its columns is. Raises StaleVersion.
    """
    revision = secret.revision
    secret.revision, secret.updated_at = revision + 1, timezone.now()
    secret.note_end()
    changed = secret.changed_fields() | {"row_mac"}
    writes = [prepared.change(secret, changed, unless_changed="revision", was=revision)]
    if version is not None:
        writes.append(prepared.insertion(version))
    if write_all(writes)[0].changed != 1:
        raise StaleVersion(
            "The secret was changed meanwhile. Read it again, then repeat; nothing was written."
        )
    secret.note_stored()


def _record(draft: EventDraft, preconditions: Sequence[Precondition]) -> None:
    """Ask what the act requires at this moment, and record it. The head of the stream is the last lock."""
    record_many([draft], locked=event_store.lock_head(draft.stream, preconditions))


def _keep_guard(secret: Secret, *, had_others: bool = True) -> list[Precondition]:
    """Guard a secret whose new name is guarded; return what holds if it is not.

    Without `had_others` no deleted secret has had the name.
    """
    place, name = secret.environment, secret.name
    if not secret.guarded and (inherits_guard(place, name) if had_others else place.guards(name)):
        secret.guarded = True
    if secret.guarded:
        return []
    return [guards_as_before(place), *([inherits_no_guard(place, name)] if had_others else [])]


def _make_current(secret: Secret, version: SecretVersion, *, is_guarded: bool) -> None:
    was_gone = bool(secret.rules.state(secret.current_number))
    secret.previous_number = None if was_gone else secret.current_number
    secret.current_number = version.number
    secret.rotated_at = version.created_at
    # A value that a rotation answers for ends with its next one.
    limit = NEVER if is_guarded else secret.environment.delete_version_after
    secret.rules = bounded(secret.rules.following(version.number, at=version.created_at, limit=limit))
    if secret.rotation_due_at is not None and secret.rotation_due_at <= version.created_at:
        # This is the value that was due.
        secret.rotation_due_at = None


def _name_taken(secret: Secret, error: IntegrityError) -> Exception:
    """Distinguish a taken name and a taken version number from a fault of the database."""
    others = Secret.objects.filter(environment=secret.environment, name=secret.name, live=True)
    if others.exclude(uuid=secret.uuid).exists():
        return NameTaken(f"A secret with this name already exists in {secret.environment.name}.")
    if secret.pk and SecretVersion.objects.filter(secret_id=secret.pk).exists():
        return StaleVersion(
            "The secret was changed in the meantime. Nothing was saved. Reload and try again."
        )
    return error
