"""The models of keys: data keys, wrapping keys and migrations; `secrets_app.models` re-exports them.

A data key, wrapped by a key encryption key, seals the values of one environment. A wrapping key is stored
as Keeper saw it last. At most one migration of data keys from the key file to KMS is open.
"""

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.interfaces import Purpose
from core.db.columns import optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT

VALUES = "values"
PURPOSES = [(VALUES, "values"), *((purpose.value, purpose.value) for purpose in Purpose)]


class DataKey(Identified):
    """A data key as it is stored: wrapped, and bound to its deployment, purpose and environment.

    Its uuid is the id that envelopes and tags name, chosen before the key is generated. No
    column needs to be believed: the encryption context is recomputed from what the key is
    expected to be, so that a row carried elsewhere does not open.
    """

    # Null for the system keys, which belong to the whole deployment.
    environment = models.ForeignKey(
        Environment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="data_keys",
        help_text="The environment whose values the key encrypts. Empty for a key of the system.",
    )
    # The environment's uuid, or the nil uuid: a unique constraint cannot count nulls as equal.
    scope = models.UUIDField(
        default=NO_ENVIRONMENT,
        editable=False,
        help_text="Identifier of the environment. Zeros for a key of the system.",
    )
    purpose = models.CharField(
        max_length=32, choices=PURPOSES, help_text="What the key encrypts or authenticates."
    )
    provider = models.CharField(max_length=16, help_text="What wraps the key: AWS KMS or the key file.")
    key_uri = models.CharField(
        max_length=2048, verbose_name="wrapping key", help_text="Address of the key that wraps this data key."
    )
    wrapped_key = models.BinaryField(help_text="The encrypted key itself. Never shown.")
    # The same data key wrapped by the other provider, while a migration is open: opens in a rollback only.
    other_provider = models.CharField(
        max_length=16,
        blank=True,
        verbose_name="second provider",
        help_text="Provider of the second wrap, while a key migration is open.",
    )
    other_key_uri = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="second wrapping key",
        help_text="Address of the key of the second wrap, while a key migration is open.",
    )
    other_wrapped_key = models.BinaryField(
        blank=True,
        default=bytes,
        verbose_name="second wrapped key",
        help_text="The same key wrapped by the other provider. Never shown.",
    )
    # The pairs of KMS_ENCRYPTION_CONTEXT as they were when the key was made.
    context = models.JSONField(
        default=dict,
        encoder=DjangoJSONEncoder,
        verbose_name="KMS encryption context",
        help_text="Additional pairs of the encryption context when the key was made.",
    )
    # True or null, since MariaDB has no conditional unique constraints.
    active = models.BooleanField(
        null=True,
        default=True,
        choices=[(True, "active")],
        help_text="Yes for the key that encrypts new values. No once it is retired.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the key was made, in UTC."
    )
    retired_at = optional_timestamp(
        "retired", "When a newer key replaced it, in UTC. It still decrypts older values."
    )
    # What the canary found last: empty if the key opened, else why it did not.
    checked_at = optional_timestamp(
        "checked", "When a worker last tried to unwrap the key, in UTC.", editable=False
    )
    check_problem = models.CharField(
        max_length=500,
        blank=True,
        editable=False,
        verbose_name="problem",
        help_text="Why the key could not be unwrapped at the last check. Empty: it could.",
    )
    # When a person asked a worker to check this key; cleared by the worker that takes the request.
    check_requested_at = optional_timestamp(
        "check requested",
        "When an operator requested a check that no worker has started, in UTC.",
        editable=False,
        db_index=True,
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["scope", "purpose", "active"], name="data_key_one_active_per_purpose"
            )
        ]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.purpose} {self.uuid}"


FINALISED = "finalised"
ROLLED_BACK = "rolled-back"


class KeyMigration(AuthenticatedRow):
    """A migration; while it is open every data key carries both wraps, new ones too.

    `local_key_uri` is the key file that a rollback goes back to: on a machine with another one no
    data key is made.
    """

    MAC_LABEL: ClassVar[str] = "key-migration"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("local_key_uri", "open", "outcome")

    local_key_uri = models.CharField(
        max_length=2048,
        verbose_name="key file",
        help_text="Identifier of the key file that a rollback returns to.",
    )
    # True or null, since MariaDB has no conditional unique constraints.
    open = models.BooleanField(
        null=True,
        default=True,
        help_text="Yes while data keys carry both wraps. No once the migration has ended.",
    )
    outcome = models.CharField(
        max_length=16,
        blank=True,
        choices=[(FINALISED, FINALISED), (ROLLED_BACK, ROLLED_BACK)],
        help_text="How the migration ended: finalized or rolled back.",
    )
    started_at = timestamp("started", "When the migration began, in UTC.")
    ended_at = optional_timestamp("ended", "When the migration ended, in UTC.")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["open"], name="key_migration_one_open")]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"migration {self.uuid}"


class WrappingKey(models.Model):
    """The last known status of a key encryption key, which pages show without a request to its provider.

    No encryption or decryption depends on it.
    """

    # An environment's uuid, or the nil uuid for the system keys.
    scope = models.UUIDField(
        unique=True,
        default=NO_ENVIRONMENT,
        editable=False,
        help_text="Identifier of the environment that the key belongs to. Zeros for the system.",
    )
    # What the settings or the environment name, and the key that this was.
    reference = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="configured key",
        help_text="The key that the settings or the environment name.",
    )
    key_uri = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="key",
        help_text="Address of the key that this name led to at the last check.",
    )
    state = models.CharField(
        max_length=64, blank=True, help_text="State of the key at its provider, for example Enabled."
    )
    rotates = models.BooleanField(
        null=True,
        verbose_name="rotates automatically",
        help_text="Whether the provider rotates the key. Unknown if it was not told.",
    )
    note = models.CharField(
        max_length=500, blank=True, help_text="What else the provider reported about the key."
    )
    problem = models.CharField(
        max_length=500, blank=True, help_text="Why the key could not be used or described at the last check."
    )
    checked_at = models.DateTimeField(
        verbose_name="checked", help_text="When the key was last checked, in UTC."
    )

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.key_uri or self.reference
