"""A user's own preferences; no right depends on them."""

from enum import StrEnum
from typing import ClassVar

from django.db import models

from audit_app.models.columns import optional_text, optional_timestamp
from audit_app.models.uuid_model import Identified
from audit_app.recording.recorder import AuditObject
from environments_app.models.user import User


class NoticeKind(StrEnum):
    """The kinds of notifications."""

    APPROVALS = "approvals"
    FAILURES = "failures"
    ROTATION = "rotation"
    EXPIRY = "expiry"


class PersonalSettings(Identified):
    """A user's notification preferences, and what they have seen; without a row the defaults apply."""

    user = models.OneToOneField(
        User,
        on_delete=models.CASCADE,
        related_name="personal_settings",
        help_text="The person whose preferences these are.",
    )
    # What came before this was seen on the page of notifications.
    notices_seen_at = optional_timestamp(
        "notifications seen", "When the person last opened their notifications, in UTC."
    )
    # Whether the daily digest is sent, and the kinds excluded from it.
    digest = models.BooleanField(
        default=True, verbose_name="daily digest", help_text="Whether the person gets a daily e-mail."
    )
    muted = models.JSONField(
        default=list,
        blank=True,
        verbose_name="muted kinds",
        help_text="Kinds of notifications that the digest leaves out.",
    )
    # When the last digest was begun.
    digest_at = optional_timestamp("last digest", "When the last digest was prepared, in UTC.")
    time_zone = optional_text(
        help_text="IANA name of the zone of pages and forms. Blank: the browser's, and UTC in forms.",
        max_length=64,
    )
    first_steps_hidden = models.BooleanField(
        default=False, help_text="Whether the person hid the list of first steps."
    )

    class Meta:
        verbose_name_plural = "personal settings"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"settings of {self.user_id}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="personal-settings", uuid=self.uuid, name=str(self.user.username))

    @property
    def mailed(self) -> list[NoticeKind]:
        """The kinds that are sent by e-mail."""
        return [kind for kind in NoticeKind if self.digest and kind not in self.muted]
