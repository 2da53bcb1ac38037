"""When a program last asked for a value that it had already, and was told that nothing changed."""

from typing import ClassVar
from uuid import UUID

from django.db import models

from core.db.columns import ExactCharField, optional_number
from secrets_app.models.secret import MAX_NAME_LENGTH

NO_SECRET = UUID(int=0)


class LastAsked(models.Model):
    """A caller that named the state it has: no value left, so no event records it.

    A row without a secret is of a list: all that the caller may read there. It decides nothing, has no MAC,
    and is at most an hour old while the caller goes on asking.
    """

    actor_uuid = models.UUIDField(
        verbose_name="actor UUID", help_text="Identifier of the account or token that asked."
    )
    environment_uuid = models.UUIDField(
        verbose_name="environment UUID", help_text="Identifier of the environment."
    )
    secret_uuid = models.UUIDField(
        default=NO_SECRET,
        verbose_name="secret UUID",
        help_text="Identifier of the secret. Zero: the list of what the caller may read.",
    )
    prefix = ExactCharField(
        max_length=MAX_NAME_LENGTH, blank=True, help_text="The path that a list was asked for under."
    )
    actor_kind = models.CharField(
        max_length=16, verbose_name="kind of actor", help_text="Whether a person or a token asked."
    )
    actor_name = models.CharField(
        max_length=255, verbose_name="actor", help_text="Name of the account or token that asked."
    )
    number = optional_number("version", "Number of the version that the caller has. Empty for a list.")
    asked_at = models.DateTimeField(verbose_name="last asked", help_text="When it last asked, in UTC.")

    class Meta:
        verbose_name = "poll"
        verbose_name_plural = "polls"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["environment_uuid", "secret_uuid", "actor_uuid", "prefix"], name="last_asked_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.asked_at}"
