"""Replaces the system keys: new ones authenticate what is written from now on, old ones still verify."""

from django.db import transaction
from django.utils import timezone

from audit_app.events import streams
from audit_app.interfaces.keyring import Purpose, keyring
from secrets_app.envelope.context import NO_ENVIRONMENT
from secrets_app.errors import MigrationMoved
from secrets_app.keys.models.data_key import DataKey
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.keys.wrapping import record_creation, refuse_in_transaction, require_current_wrap, wrap_new


def replace_system_keys() -> int:
    """Make a new system key of every purpose, all or none, and return how many.

    Their events are authenticated by the keys before them, so that the chain has no gap. Other
    processes write under theirs until they notice. Raises KeyUnavailable or KeyRefused if the keys
    cannot be made, KeyringUnavailable if the old ones do not open.
    """
    refuse_in_transaction("system keys are made")
    keyring().open_all()
    key_uri = provider().resolve("")
    rows = [wrap_new(environment=None, purpose=purpose, key_uri=key_uri)[0] for purpose in Purpose]
    try:
        with transaction.atomic():
            for row in rows:
                require_current_wrap(row)
                standing = DataKey.objects.filter(scope=NO_ENVIRONMENT, purpose=row.purpose, active=True)
                replaced = standing.values_list("uuid", flat=True).first()
                standing.update(active=None, retired_at=timezone.now())
                row.save(force_insert=True)
                record_creation(
                    row, stream=streams.SYSTEM, name=row.purpose, replaces=replaced, reason="rotation"
                )
    except MigrationMoved:
        return replace_system_keys()
    keys = keyring()
    if isinstance(keys, SystemKeyring):
        keys.refresh()
    return len(rows)
