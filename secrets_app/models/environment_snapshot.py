"""One sealed copy of all names and values of an environment: a cache of its export, valid for exact rows."""

from typing import ClassVar

from django.db import models

from audit_app.models import deployment_uuid
from audit_app.models.columns import timestamp
from audit_app.models.uuid_model import Identified
from environments_app.models import Environment
from secrets_app.envelope.context import ENVIRONMENT_SNAPSHOT, Context
from secrets_app.keys.encrypted_field import EncryptedField

DIGEST_LENGTH = 32


class EnvironmentSnapshot(Identified):
    """The values of an environment whose rows have a digest, sealed as one; other rows make it invalid.

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
        """Return what the envelope is bound to: this row, the environment, and the digest of its rows."""
        return Context(
            deployment=deployment_uuid(),
            label=ENVIRONMENT_SNAPSHOT,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(bytes(self.digest),),
        )
