"""The search table: the columns that people search events by, apart from the table that each act writes to.

Its rows are derived. They find ids of events, prove nothing, and belong to no backup.
"""

from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Q

from audit_app.models.append_only import AppendOnlyQuerySet

M = TypeVar("M", bound=models.Model)
# An order by the id of an event → the same by the column that the indexes of the search table end with.
_ORDERS = {
    "id": "entry__event_id",
    "-id": "-entry__event_id",
    "pk": "entry__event_id",
    "-pk": "-entry__event_id",
}


class Unindexed(models.Transform):
    """A column that is compared without its index: SQLite would begin with it, and sort all that it finds."""

    lookup_name = "unindexed"
    template = "+%(expressions)s"


models.Field.register_lookup(Unindexed)


class EventQuerySet(AppendOnlyQuerySet[M]):
    """Events, which the search table may find."""

    _is_searched = False

    @property
    def key(self) -> str:
        """The column that pages are told apart by."""
        return "entry__event_id" if self._is_searched else "pk"

    def searched(self, condition: Q) -> Self:
        """Return the events whose row in the search table (`entry`) meets a condition, newest first."""
        rows = self.filter(condition)
        rows._is_searched = True  # noqa: SLF001 - of this class
        return rows.order_by("-pk")

    def order_by(self, *field_names: Any) -> Self:
        """Order as asked; what was searched for by the search table's own id, or SQLite sorts it."""
        names = [_ORDERS.get(name, name) for name in field_names] if self._is_searched else field_names
        return super().order_by(*names)

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # the stub lacks it
        clone._is_searched = self._is_searched
        return clone


EventManager = models.Manager.from_queryset(EventQuerySet)


class Derived(models.Model):
    """Rows that Keeper can compute again from others: a backup leaves them out."""

    class Meta:
        abstract = True


class SearchEntry(Derived):
    """What one event is searched by. A worker writes it after the event was committed."""

    event = models.OneToOneField(
        "audit_app.AuditEvent",
        on_delete=models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="entry",
        help_text="The event that this row makes searchable.",
    )
    outcome = models.CharField(max_length=16, help_text="How the act ended: allowed, denied or failed.")
    address = models.CharField(
        max_length=64, verbose_name="IP address", help_text="Network address that the request came from."
    )
    request_id = models.CharField(
        max_length=64,
        verbose_name="request ID",
        help_text="Identifier of the request, as in logs and in the response header.",
    )
    actor_name = models.CharField(
        max_length=255, verbose_name="actor", help_text="Name of the person or program that acted."
    )
    object_name = models.CharField(
        max_length=600, verbose_name="object", help_text="Name of the object at the time of the act."
    )
    # Beside the name of an object: one condition over two tables uses the index of neither.
    manifest_id = models.BigIntegerField(
        null=True,
        verbose_name="manifest",
        help_text="Manifest of an act on many secrets. Empty for an act on one object.",
    )

    class Meta:
        verbose_name_plural = "search entries"
        indexes = [
            models.Index(fields=["outcome", "event"], name="audit_search_outcome"),
            models.Index(fields=["address", "event"], name="audit_search_address"),
            models.Index(fields=["request_id", "event"], name="audit_search_request"),
            models.Index(fields=["actor_name", "event"], name="audit_search_actor_name"),
            models.Index(fields=["object_name", "event"], name="audit_search_object_name"),
            models.Index(fields=["manifest_id", "event"], name="audit_search_manifest"),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id}"


class SearchPosition(Derived):
    """How far the search table has followed one stream: its row is what two workers take in turn."""

    head = models.OneToOneField(
        "audit_app.StreamHead",
        on_delete=models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        db_column="stream",
        related_name="search_position",
        verbose_name="log stream",
        help_text="The log stream that is indexed for searches.",
    )
    sequence = models.BigIntegerField(
        default=0,
        verbose_name="indexed up to",
        help_text="Number of the last event of the stream that searches find.",
    )

    def __str__(self) -> str:
        return f"{self.head_id} #{self.sequence}"
