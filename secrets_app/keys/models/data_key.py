"""Data keys: wrapped by a key encryption key, they seal the values of one environment."""

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit_app.interfaces.keyring import Purpose
from audit_app.models.columns import optional_timestamp
from audit_app.models.uuid_model import Identified
from environments_app.models import Environment
from secrets_app.envelope.context import NO_ENVIRONMENT

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
