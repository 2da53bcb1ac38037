"""Stars: the secrets that a person keeps at hand."""

from typing import ClassVar

from django.db import models

from core.db.columns import timestamp
from environments_app.models import User
from secrets_app.models.secret import Secret


class Star(models.Model):
    """A secret that a person starred; it grants nothing, and is no part of the audit log."""

    user = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        related_name="stars",
        db_index=False,
        help_text="The person who starred the secret.",
    )
    secret = models.ForeignKey(
        Secret, on_delete=models.CASCADE, related_name="stars", help_text="The starred secret."
    )
    created_at = timestamp("created", "When it was starred, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "secret"], name="star_once")
        ]
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"star {self.pk}"
