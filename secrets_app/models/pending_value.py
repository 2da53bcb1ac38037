"""Values of pending approvals, encrypted like any other and destroyed with their end."""

from typing import ClassVar

from django.db import models

from audit_app.models import deployment_uuid
from audit_app.models.columns import timestamp
from audit_app.models.uuid_model import Identified
from environments_app.models import Approval, Environment
from secrets_app.envelope.context import PENDING_VALUE, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.models.data_key import DataKey


class PendingValue(Identified):
    """One value of a request for approval; bound to the request, so that none can take another's place."""

    approval = models.ForeignKey(
        Approval,
        on_delete=models.PROTECT,
        related_name="values",
        help_text="The request that the value belongs to.",
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The environment that the value is for.",
    )
    # Its place among the values of the request.
    index = models.PositiveIntegerField(
        default=0, verbose_name="position", help_text="Position of the value among those of the request."
    )
    value = EncryptedField(
        label=PENDING_VALUE,
        context="sealing_context",
        verbose_name="encrypted value",
        help_text="The requested value, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The key that encrypts the value.",
    )
    created_at = timestamp("created", "When the change was requested, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["approval", "index"], name="pending_value_index")
        ]
        ordering: ClassVar[list[str]] = ["approval", "index"]

    def __str__(self) -> str:
        return f"value {self.index} of request {self.approval_id}"

    def sealing_context(self) -> Context:
        """Return what the envelope is bound to: this row, its request and its place there."""
        return Context(
            deployment=deployment_uuid(),
            label=PENDING_VALUE,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(self.approval.uuid.bytes, self.index.to_bytes(8, "big")),
        )
