"""Carries out approved changes of secrets, each by its ordinary use case, and forgets what was sealed."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.db.bulk import in_batches
from environments_app.approvals.program_releases import find_program
from environments_app.authorization.policy import Principal
from environments_app.errors import ApprovalVoid
from environments_app.interfaces import READERS_DAYS, ApprovalExecutor, ExecutionResult, Reader
from environments_app.models import Approval, Environment
from secrets_app.errors import SecretError
from secrets_app.exposure import seen_by
from secrets_app.models import PendingValue, Secret
from secrets_app.services import (
    bulk_create,
    decoys,
    guarded,
    lifecycle,
    proposals,
    releases,
    transfer,
    versions,
    write,
)
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata

_GONE: Final = "The secret no longer exists."
# What is approved for a version or a release says itself that it is another one by now.
_OF_A_VERSION: Final = frozenset({Action.SECRET_REVEAL, Action.SECRET_RELEASE})


def _create(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    secret = write.create(
        actor=actor,
        environment=approval.environment,
        name=given["name"],
        secret_type=SecretType(given["secret_type"]),
        value=_value(actor, approval),
        comment=given["comment"],
        decoy=given.get("decoy", False),
        **_metadata(given),
    )
    return _done(f"Created {secret.name}.", secret)


def _update(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    secret = write.update(
        actor=actor,
        secret=_secret(approval),
        value=_value(actor, approval) if given["with_value"] else None,
        secret_type=SecretType(given["secret_type"]) if given["secret_type"] else None,
        expected=approval.expected,
        comment=given["comment"],
        anew=given.get("anew", False),
        **_metadata(given),
    )
    return _done(f"Saved {secret.name}.", secret)


def _rollback(actor: Principal, approval: Approval) -> ExecutionResult:
    number = approval.arguments["number"]
    secret = write.rollback(actor=actor, secret=_secret(approval), number=number, expected=approval.expected)
    return _done(f"Rolled back to v{number} (now v{secret.current_number}).", secret)


def _rename(actor: Principal, approval: Approval) -> ExecutionResult:
    secret = lifecycle.rename(
        actor=actor,
        secret=_secret(approval),
        name=approval.arguments["name"],
        expected=approval.expected,
    )
    return _done(f"Renamed to {secret.name}.", secret)


def _delete(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    if "versions" in given:
        secret = versions.delete_versions(actor=actor, secret=_secret(approval), numbers=given["versions"])
        return _done(f"Deleted versions of {secret.name}.", secret)
    if given.get("all"):
        secret = versions.delete_all(actor=actor, secret=_secret(approval))
        return _done(f"Deleted {secret.name}. You can restore it from its page.", secret)
    secret = lifecycle.delete(actor=actor, secret=_secret(approval), expected=approval.expected)
    return _done(f"Deleted {secret.name}. You can restore it from its page.", secret)


def _restore(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    if "versions" in given:
        secret = versions.restore_versions(actor=actor, secret=_secret(approval), numbers=given["versions"])
        return _done(f"Restored versions of {secret.name}.", secret)
    secret = lifecycle.restore(actor=actor, secret=_secret(approval))
    return _done(f"Restored {secret.name}.", secret)


def _purge(actor: Principal, approval: Approval) -> ExecutionResult:
    lifecycle.purge(actor=actor, secret=_secret(approval))
    return ExecutionResult(sentence=f"Permanently deleted {approval.object_name}.")


def _destroy(actor: Principal, approval: Approval) -> ExecutionResult:
    numbers = approval.arguments["versions"]
    secret = versions.destroy_versions(actor=actor, secret=_secret(approval), numbers=numbers)
    return _done(f"Destroyed versions of {secret.name}.", secret)


def _copy(actor: Principal, approval: Approval) -> ExecutionResult:
    return _done("Secret copied.", transfer.copy(**_destination(actor, approval)))


def _move(actor: Principal, approval: Approval) -> ExecutionResult:
    return _done("Secret moved.", transfer.move(**_destination(actor, approval)))


def _reveal(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    shown = guarded.open_released(
        actor=actor, secret=_secret(approval), number=given["number"], was_current=given["current"]
    )
    return ExecutionResult(
        sentence=f"Showed v{shown.version.number} of {shown.secret.name}.", plaintext=shown.value
    )


def _guard(actor: Principal, approval: Approval) -> ExecutionResult:
    secret = guarded.guard(actor=actor, secret=_secret(approval), expected=approval.expected)
    return _done(f"Guarded {secret.name}.", secret)


def _unguard(actor: Principal, approval: Approval) -> ExecutionResult:
    secret = guarded.unguard(actor=actor, secret=_secret(approval), expected=approval.expected)
    return _done(f"Ended the guard of {secret.name}.", secret)


def _release(actor: Principal, approval: Approval) -> ExecutionResult:
    given, place = approval.arguments, approval.environment
    program = find_program(place, kind=given["kind"], uuid=UUID(given["asked_by"]))
    if program is None:
        raise ApprovalVoid("The program no longer exists.")
    done = releases.release(
        actor=actor,
        environment=place,
        program=program,
        secret=_secret(approval) if given["secret"] else None,
        path=given["path"],
        reason=approval.reason,
        expires_at=datetime.fromisoformat(given["expires_at"]) if given["expires_at"] else None,
    )
    return ExecutionResult(sentence=f"Released {done}.", link=_page_of_release(approval))


def _page_of_release(approval: Approval) -> str:
    """Return the page of the program that is released, where its release can be ended."""
    given, place = approval.arguments, approval.environment
    program = find_program(place, kind=given["kind"], uuid=UUID(given["asked_by"]))
    if program is None:
        return reverse("environment-detail", args=[place.name])
    return reverse(f"{given['kind']}-detail", args=[place.name, program.pk])


def _make_decoy(actor: Principal, approval: Approval) -> ExecutionResult:
    secret = decoys.make_decoy(actor=actor, secret=_secret(approval), expected=approval.expected)
    return _done(f"Made a decoy of {secret.name}.", secret)


def _end_decoy(actor: Principal, approval: Approval) -> ExecutionResult:
    secret = decoys.end_decoy(actor=actor, secret=_secret(approval), expected=approval.expected)
    return _done(f"Ended the decoy {secret.name}.", secret)


def _create_many(actor: Principal, approval: Approval) -> ExecutionResult:
    items = approval.arguments["items"]
    values = _values(actor, approval, len(items))
    secrets = bulk_create.create_many(
        actor=actor,
        items=[
            bulk_create.NewSecret(
                environment=approval.environment,
                name=item["name"],
                secret_type=SecretType(item["secret_type"]),
                value=value,
                comment=item["comment"],
                metadata=_metadata(item),
            )
            for item, value in zip(items, values, strict=True)
        ],
    )
    return ExecutionResult(sentence=f"{len(secrets)} secrets created.")


def _secret(approval: Approval) -> Secret:
    secret = Secret.objects.select_related("environment").filter(pk=approval.arguments["secret"]).first()
    if secret is None:
        raise ApprovalVoid(_GONE)
    return secret


def _destination(actor: Principal, approval: Approval) -> dict[str, Any]:
    given = approval.arguments
    environment = Environment.objects.filter(uuid=given["environment_uuid"]).first()
    if environment is None:
        raise ApprovalVoid(_GONE)
    return {
        "actor": actor,
        "secret": _secret(approval),
        "environment": environment,
        "name": given["name"],
    }


def _value(actor: Principal, approval: Approval) -> str:
    return _values(actor, approval, 1)[0]


def _values(actor: Principal, approval: Approval, count: int) -> list[str]:
    """Open the proposed values, after the record of it is committed."""
    rows = list(
        PendingValue.objects.select_related("environment", "approval")
        .filter(approval=approval)
        .order_by("index")
    )
    if len(rows) != count:
        raise ApprovalVoid("The requested value is no longer stored. Submit the change again.")
    receipt = commit_record(
        actor=actor,
        action=Action.APPROVAL_OPEN,
        **stream_and_object(approval),
        details={"act": approval.action, "values": count},
        covers=frozenset(row.uuid.bytes for row in rows),
    )
    return [row.value.open(receipt).decode() for row in rows]


def _metadata(given: Mapping[str, Any]) -> Metadata:
    metadata: dict[str, Any] = dict(given["metadata"])
    for name, stored in proposals.STORED_NAMES.items():
        if stored in metadata:
            metadata[name] = metadata.pop(stored)
    if metadata.get("expires_at"):
        metadata["expires_at"] = datetime.fromisoformat(metadata["expires_at"])
    return cast("Metadata", metadata)


def _done(sentence: str, secret: Secret) -> ExecutionResult:
    return ExecutionResult(sentence=sentence, link=reverse("secret-detail", args=[secret.pk]))


class SecretsApprovalExecutor(ApprovalExecutor):
    """Keeps proposed values sealed until their request is over."""

    acts = {
        Action.SECRET_CREATE: _create,
        Action.SECRET_UPDATE: _update,
        Action.SECRET_ROLLBACK: _rollback,
        Action.SECRET_RENAME: _rename,
        Action.SECRET_DELETE: _delete,
        Action.SECRET_RESTORE: _restore,
        Action.SECRET_PURGE: _purge,
        Action.SECRET_DESTROY: _destroy,
        Action.SECRET_COPY: _copy,
        Action.SECRET_MOVE: _move,
        Action.SECRET_IMPORT: _create_many,
        Action.SECRET_REVEAL: _reveal,
        Action.SECRET_GUARD: _guard,
        Action.SECRET_DECOY_SET: _make_decoy,
        Action.SECRET_DECOY_END: _end_decoy,
        Action.SECRET_UNGUARD: _unguard,
        Action.SECRET_RELEASE: _release,
    }
    refusals = (SecretError,)

    def object_url(self, approval: Approval) -> str:
        """Return the page of the secret; empty if it does not exist yet."""
        if approval.action == Action.SECRET_RELEASE:
            return _page_of_release(approval)
        secret = Secret.objects.filter(uuid=approval.object_uuid).only("pk").first()
        return reverse("secret-detail", args=[secret.pk]) if secret else ""

    def state_of(self, approval: Approval) -> str | None:
        if approval.action in _OF_A_VERSION:
            return approval.expected
        secret = Secret.objects.filter(pk=approval.arguments["secret"]).first()
        return secret.state if secret else None

    def readers(self, *, actor: Principal, approval: Approval) -> list[Reader]:
        if approval.action != Action.SECRET_REVEAL:
            return []
        secret = Secret.objects.select_related("environment").filter(uuid=approval.object_uuid).first()
        since = timezone.now() - timedelta(days=READERS_DAYS)
        seen = seen_by(actor=actor, secret=secret, since=since) if secret else []
        return [Reader(viewer.name, viewer.last_at) for viewer in seen]

    def guard_names(self, *, actor: Actor, environment: Environment) -> None:
        guarded.guard_names(actor=actor, environment=environment)

    def names_of(self, environment: Environment, uuids: Collection[UUID]) -> dict[UUID, str]:
        rows = Secret.objects.filter(environment=environment, live=True)
        found: dict[UUID, str] = {}
        for batch in in_batches(sorted(uuids)):
            found |= dict(rows.filter(uuid__in=batch).values_list("uuid", "name"))
        return found

    def has_guarded(self, environment: Environment) -> bool:
        # Deleted ones as well: they can be restored.
        rows = Secret.objects.filter(environment=environment, guarded=True)
        return bool(environment.guarded_prefixes) or rows.exists()

    def forget(self, approval: Approval) -> None:
        """Destroy the proposed values, in the transaction in which their request ends."""
        PendingValue.objects.filter(approval=approval).delete()
