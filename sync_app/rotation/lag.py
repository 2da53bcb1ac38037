"""What the consumers of a secret still use: targets that lag behind, and what consumers confirmed."""

from audit_app.row_mac import authentic
from secrets_app.models import Secret
from secrets_app.reading import current_version_of
from sync_app.models import Acknowledgement, SyncEntry
from sync_app.reconcile import Direction, Ownership


def lagging_targets(secret: Secret) -> list[str]:
    """Return the names of targets that hold another version of a secret than the current one.

    An older version names the login that a rotation is about to change.
    """
    current = current_version_of(secret).uuid.hex
    entries = (
        SyncEntry.objects.select_related("target__environment")
        .filter(secret_uuid=secret.uuid, target__live=True)
        .exclude(ownership=Ownership.NONE)
        .exclude(target__direction=Direction.PULL)
        .exclude(base_keeper=current)
    )
    return sorted(str(entry.target.name) for entry in authentic(entries))


def unconfirmed(secret: Secret) -> list[Acknowledgement]:
    """Return the last word of each consumer that did not confirm the current version."""
    said = Acknowledgement.objects.filter(secret=secret).exclude(number=secret.current_number)
    return list(said)
