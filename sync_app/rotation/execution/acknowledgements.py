"""Consumers confirm the version of a secret that they use, so retiring can wait for the slowest."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record, stream_and_object
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_authentic, require_on
from secrets_app.services.read import version_of
from sync_app.models import Acknowledgement


def acknowledge(*, actor: Principal, secret: Secret, number: int, instance: str = "") -> Acknowledgement:
    """Note that a consumer uses a version; its last word counts.

    `instance` tells apart several that share a token. Raises NoSuchVersion, TamperedSecret, and
    Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.ROTATION_ACKNOWLEDGE, secret=secret)
    require_authentic(secret)
    version_of(secret, number)
    who = {
        "secret_id": secret.uuid,
        "consumer_kind": actor.kind,
        "consumer_uuid": actor.uuid,
        "instance": instance,
    }
    try:
        return _store(actor, secret, number, who)
    except IntegrityError:
        # The same consumer spoke for the first time twice at once.
        return _store(actor, secret, number, who)


def remove_acknowledgement(*, actor: Principal, secret: Secret, instance: str = "") -> bool:
    """Remove the confirmation of the actor's consumer, or an instance of it; False if there is none.

    Nothing waits for it any more. Raises Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.ROTATION_ACKNOWLEDGE, secret=secret)
    with transaction.atomic():
        own = Acknowledgement.objects.select_for_update().filter(
            secret=secret, consumer_kind=actor.kind, consumer_uuid=actor.uuid, instance=instance
        )
        said = own.first()
        if said is None:
            return False
        record(
            actor=actor,
            action=Action.ROTATION_ACKNOWLEDGE,
            **stream_and_object(secret),
            details={"instance": instance, "withdrawn": True, **row_digest_entry(said, gone=True)},
        )
        said.delete()
    return True


def require_visible(*, actor: Principal, secret: Secret) -> None:
    """Ask for the right to see who uses what. Raises Forbidden or Invisible."""
    require_on(actor=actor, action=Action.ROTATION_VIEW, secret=secret)


def _store(actor: Principal, secret: Secret, number: int, who: dict[str, object]) -> Acknowledgement:
    with transaction.atomic():
        said = Acknowledgement.objects.select_for_update().filter(**who).first() or Acknowledgement(**who)
        if said.pk and said.number == number and said.is_authentic():
            return said
        said.consumer_name, said.number, said.acknowledged_at = actor.name, number, timezone.now()
        said.save()
        record(
            actor=actor,
            action=Action.ROTATION_ACKNOWLEDGE,
            **stream_and_object(secret),
            details={"number": number, "instance": said.instance, **row_digest_entry(said)},
        )
    return said
