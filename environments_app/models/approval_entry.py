"""The history of a request for approval: comments, and the approvals of several people."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.models.approval import Approval


class EntryKind(models.TextChoices):
    """What an entry is."""

    COMMENT = "comment", "Comment"
    APPROVAL = "approval", "Approval"


class ApprovalEntry(AuthenticatedRow):
    """One comment on a request, or the approval of one of several people; it never changes."""

    MAC_LABEL: ClassVar[str] = "approval-entry"
    # Its event records who wrote it; a row that is gone approves nothing.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "approval.uuid",
        "kind",
        "author_uuid",
        "author_name",
        "text",
        "at",
    )

    approval = models.ForeignKey(
        Approval,
        on_delete=models.CASCADE,
        related_name="entries",
        help_text="The request that it belongs to.",
    )
    kind = models.CharField(
        max_length=8, choices=EntryKind.choices, help_text="Whether it is a comment or an approval."
    )
    author_uuid = models.UUIDField(
        verbose_name="author UUID", help_text="Identifier of the person who wrote it."
    )
    author_name = models.CharField(
        max_length=150, verbose_name="author", help_text="Name of the person who wrote it."
    )
    text = models.TextField(
        max_length=1000, blank=True, default="", help_text="What the person wrote, as plain text."
    )
    at = models.DateTimeField(
        default=timezone.now, verbose_name="time", help_text="When it was written, in UTC."
    )

    class Meta:
        verbose_name = "approval entry"
        verbose_name_plural = "approval entries"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.author_name}"
