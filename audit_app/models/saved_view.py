"""Saved views: filters of the list of events under a name."""

from typing import ClassVar, Final

from django.db import models

from audit_app.models.log import NAME_LENGTH
from core.db.columns import optional_text, timestamp

MAX_QUERY: Final = 1000


class SavedView(models.Model):
    """Filters that a person saved; they grant nothing, and are no part of the audit log."""

    # No foreign key: the people are in an app above.
    owner_uuid = models.UUIDField(
        verbose_name="owner UUID", help_text="Identifier of the person who saved the view."
    )
    owner_name = models.CharField(
        max_length=NAME_LENGTH, verbose_name="owner", help_text="Name of the person who saved the view."
    )
    name = models.CharField(max_length=60, help_text="What the view is called.")
    query = models.CharField(
        max_length=MAX_QUERY, blank=True, help_text="The filters, as in the address of the page."
    )
    environment = optional_text(help_text="The environment that the filters name, if any.", max_length=63)
    shared = models.BooleanField(
        default=False, help_text="Whether it is shared with people who can see the same events."
    )
    created_at = timestamp("saved", "When it was saved, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner_uuid", "name"], name="saved_view_once")
        ]
        ordering: ClassVar[list[str]] = ["name", "id"]

    def __str__(self) -> str:
        return str(self.name)
