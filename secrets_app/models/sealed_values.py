"""Values sealed outside versions: the snapshot of an environment, and values of pending approvals.

A snapshot is one sealed copy of all names and values of an environment: a cache of its export, valid for
exact rows. A pending value is encrypted like any other, and destroyed with the end of its approval.
"""

from typing import ClassVar

from django.db import models

from audit_app.models import deployment_uuid
from core.db.columns import timestamp
from core.db.identity import Identified
from environments_app.models import Approval, Environment
from secrets_app.envelope import ENVIRONMENT_SNAPSHOT, PENDING_VALUE, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.models import DataKey

DIGEST_LENGTH = 32


class EnvironmentSnapshot(Identified):
    """The values of an environment whose rows have a digest, sealed as one; for other rows it shows nothing.

    It holds nothing that the versions do not, so it is deleted rather than re-sealed, and no backup has it.
    The envelope alone names its data key: a snapshot that no key opens is replaced.
    """

    environment = models.OneToOneField(
        Environment,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="The environment whose values the snapshot holds.",
    )
    digest = models.BinaryField(
        max_length=DIGEST_LENGTH, help_text="Digest of the rows that the snapshot is valid for. Never shown."
    )
    row_digests = models.BinaryField(
        null=True,
        help_text="Digests of the rows one by one, of which the digest is made. Never shown.",
    )
    value = EncryptedField(
        label=ENVIRONMENT_SNAPSHOT,
        context="sealing_context",
        verbose_name="encrypted values",
        help_text="All values of the environment, encrypted as one. Never shown.",
    )
    created_at = timestamp("created", "When the snapshot was made, in UTC.")

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"snapshot of environment {self.environment_id}"

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=ENVIRONMENT_SNAPSHOT,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(bytes(self.digest),),
        )


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
        return Context(
            deployment=deployment_uuid(),
            label=PENDING_VALUE,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(self.approval.uuid.bytes, self.index.to_bytes(8, "big")),
        )
