"""Sealed copies of what a write is about to destroy in a target, for as long as it is not settled."""

from typing import ClassVar

from django.db import models

from audit_app.models import deployment_uuid
from core.db.columns import ExactCharField, timestamp
from core.db.identity import Identified
from environments_app.models import Environment
from secrets_app.envelope import KEPT_COPY, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.models import MAX_NAME_LENGTH, DataKey
from sync_app.models.target import Target


class KeptCopy(Identified):
    """What one version of a target's secret held; it is there while a write over it is not settled."""

    target = models.ForeignKey(
        Target,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The target in which a value is about to be overwritten.",
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The environment whose key encrypts the copy.",
    )
    name = ExactCharField(max_length=MAX_NAME_LENGTH, help_text="Name of the secret.")
    version = models.CharField(
        max_length=64,
        verbose_name="version in the target",
        help_text="The target's own version of the copied value.",
    )
    value = EncryptedField(
        label=KEPT_COPY,
        context="sealing_context",
        verbose_name="encrypted value",
        help_text="The copied value, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The key that encrypts the copy.",
    )
    created_at = timestamp("created", "When the copy was made, in UTC.")

    class Meta:
        verbose_name_plural = "kept copies"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "name"], name="kept_copy_name")
        ]
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return str(self.name)

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=KEPT_COPY,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(self.target.uuid.bytes, str(self.name).encode(), str(self.version).encode()),
        )
