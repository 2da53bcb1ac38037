"""Data keys: wrapped by a key encryption key, they seal the values of one environment."""

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit_app.interfaces.keyring import Purpose
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
        Environment, null=True, blank=True, on_delete=models.PROTECT, related_name="data_keys"
    )
    # The environment's uuid, or the nil uuid: a unique constraint cannot count nulls as equal.
    scope = models.UUIDField(default=NO_ENVIRONMENT, editable=False)
    purpose = models.CharField(max_length=32, choices=PURPOSES)
    provider = models.CharField(max_length=16)
    key_uri = models.CharField(max_length=2048)
    wrapped_key = models.BinaryField()
    # The same data key wrapped by the other provider, while a migration is open: opens in a rollback only.
    other_provider = models.CharField(max_length=16, blank=True)
    other_key_uri = models.CharField(max_length=2048, blank=True)
    other_wrapped_key = models.BinaryField(blank=True, default=bytes)
    # The pairs of KMS_ENCRYPTION_CONTEXT as they were when the key was made.
    context = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    # True or null, since MariaDB has no conditional unique constraints.
    active = models.BooleanField(null=True, default=True, choices=[(True, "active")])
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    # What the canary found last: empty if the key opened, else why it did not.
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    check_problem = models.CharField(max_length=500, blank=True, editable=False)
    # When a person asked a worker to check this key; cleared by the worker that takes the request.
    check_requested_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["scope", "purpose", "active"], name="data_key_one_active_per_purpose"
            )
        ]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.purpose} {self.uuid}"
