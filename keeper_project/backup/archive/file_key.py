"""The key of one backup's file: made and wrapped by the installation's key provider.

Nothing else wraps it (docs/adr): every value inside needs that provider anyway, so a second key would open
names and history to more people, and no value.
"""

from typing import Final
from uuid import UUID

from django.conf import settings

from keeper_project.backup.archive.manifest import FileKey
from keeper_project.backup.errors import Altered, KeyMissing
from secrets_app.envelope.context import NO_ENVIRONMENT
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys.providers.registry import provider, provider_named

PURPOSE: Final = "backup"


def new_file_key(*, deployment: UUID, backup: UUID) -> tuple[FileKey, bytes]:
    """Return a new key as the provider wraps it, and in the clear; may go over the network.

    Raises KeyMissing if the provider cannot be used now.
    """
    context = {**settings.KMS_ENCRYPTION_CONTEXT, **_context(deployment, backup)}
    try:
        keeper = provider()
        made = keeper.generate(key_uri=keeper.resolve("", fresh=True), context=context)
    except (KeyUnavailable, KeyRefused) as error:
        raise KeyMissing(str(error)) from error
    wrapped = FileKey(provider=keeper.name, key_uri=made.key_uri, context=context, wrapped=made.wrapped)
    return wrapped, made.plain


def open_file_key(key: FileKey, *, deployment: UUID, backup: UUID) -> bytes:
    """Return the key of a backup's file; may go over the network.

    Raises KeyMissing if the key that wraps it cannot be used here, Altered if the wrap was edited or is
    another backup's.
    """
    # What binds the key to this backup is computed again, and not believed.
    context = {**key.context, **_context(deployment, backup)}
    try:
        keeper = provider_named(key.provider)
        return keeper.unwrap(key_uri=key.key_uri, wrapped=key.wrapped, context=context)
    except EnvelopeError as error:
        raise Altered("the key of the backup's file was edited, or is that of another backup") from error
    except (KeyUnavailable, KeyRefused) as error:
        raise KeyMissing(f"the backup needs the key {key.key_uri} ({key.provider}): {error}") from error


def _context(deployment: UUID, backup: UUID) -> dict[str, str]:
    return {
        "keeper:deployment": str(deployment),
        "keeper:purpose": PURPOSE,
        "keeper:environment": str(NO_ENVIRONMENT),
        "keeper:data-key": str(backup),
    }
