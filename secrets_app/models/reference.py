"""Which secrets the current value of another one names: an index for those who have to follow a change."""

from typing import ClassVar

from django.db import models

from core.db.columns import ExactCharField
from secrets_app.models.secret import MAX_NAME_LENGTH, Secret


class Reference(models.Model):
    """One secret that the current value of another names, by the names in the value.

    It decides nothing: a delivery parses the value, and checks the rights again.
    """

    secret = models.ForeignKey(
        Secret,
        on_delete=models.CASCADE,
        related_name="references",
        help_text="The secret whose value contains the reference.",
    )
    environment = ExactCharField(
        max_length=63,
        verbose_name="referenced environment",
        help_text="Name of the environment that is referred to.",
    )
    name = ExactCharField(
        max_length=MAX_NAME_LENGTH,
        verbose_name="referenced secret",
        help_text="Name of the secret that is referred to.",
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["secret", "environment", "name"], name="reference_once")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["environment", "name"], name="reference_by_source")
        ]
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.environment}/{self.name}"
