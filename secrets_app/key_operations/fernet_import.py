"""Takes over values of the older scheme as they are, and inventories them in the audit log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import transaction

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.db.identity import uuid7
from environments_app.approvals.gate import system_approval
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, MigrationRefused, SecretError
from secrets_app.keys import fingerprints, legacy_fernet
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.store import insert
from secrets_app.services.write import new_secret
from secrets_app.types.registry import SecretType
from secrets_app.values.names import validate_secret_name
from secrets_app.values.versions import first_number


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of one value of the older scheme; `problem` is empty where it was imported."""

    name: str
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def import_tokens(
    *, environment: Environment, tokens: Mapping[str, str], secret_type: SecretType
) -> Iterator[Imported]:
    """Make a secret of each Fernet token, by name; its value stays as it is until it is migrated.

    Each is stored with its inventory in one transaction. Raises MigrationRefused after a migration
    was finalised, KeyringUnavailable if the audit log's keys do not open.
    """
    keyring().open_all()
    if legacy_fernet.is_final():
        raise MigrationRefused("a migration was finalised: values of the older scheme open no more")
    for name, token in tokens.items():
        try:
            _import(environment, name, token.encode(), secret_type)
        except (SecretError, InvalidInput, UnicodeDecodeError) as error:
            no_text = isinstance(error, UnicodeDecodeError)
            yield Imported(name=name, problem="the value is no text" if no_text else str(error))
        else:
            yield Imported(name=name)


def _import(environment: Environment, name: str, token: bytes, secret_type: SecretType) -> None:
    validate_secret_name(name)
    plaintext = legacy_fernet.decrypt_token(token)
    secret = new_secret(
        environment=environment, name=name, secret_type=secret_type, value=plaintext.decode(), metadata={}
    )
    secret.current_number = first_number(environment, name)
    version = _version(secret, token, plaintext)
    with transaction.atomic():
        # The lock on the stream's head keeps the end of the migration out until this is stored.
        record(
            actor=actors.system(),
            action=Action.SECRET_INVENTORY,
            stream=streams.SYSTEM,
            object=AuditObject("secret-version", version.uuid, name),
            details={"token": legacy_fernet.inventory_tag(version.uuid, token)},
        )
        if legacy_fernet.is_final():
            raise MigrationRefused("a migration was finalised meanwhile")
        insert(
            actor=actors.system(),
            secret=secret,
            version=version,
            action=Action.SECRET_CREATE,
            details={"scheme": "fernet"},
            clearance=system_approval(actors.system(), environment),
        )


def _version(secret: Secret, token: bytes, plaintext: bytes) -> SecretVersion:
    actor = actors.system()
    version = SecretVersion(
        uuid=uuid7(),
        secret=secret,
        number=secret.current_number,
        fingerprint=fingerprints.fingerprint(plaintext),
        author=actor.name,
        author_uuid=actor.uuid,
        comment="imported",
    )
    version.value = Sealed(token, version.sealing_context())
    return version
