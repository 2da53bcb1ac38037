"""Links in an e-mail by which a person chooses the password of their account, once."""

import hashlib
from datetime import timedelta
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone

from audit_app.crypto.canonical_json import canonical_json
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models.columns import ExactCharField, optional_text
from environments_app.clock import is_in
from environments_app.models.user import User


class LinkPurpose(models.TextChoices):
    """What a link is for."""

    INVITATION = "invitation", "Invitation"
    RESET = "reset", "Password reset"


LIFETIMES: Final = {LinkPurpose.INVITATION: timedelta(hours=72), LinkPurpose.RESET: timedelta(minutes=30)}


class PasswordLink(AuthenticatedRow):
    """A message with a link, waiting or sent; the code of the link is kept as a hash alone.

    A reset is stored as it was typed, without an account: a worker finds out whose address it is. The code
    is made when the message is sent, so no row ever holds it.
    """

    MAC_LABEL: ClassVar[str] = "password-link"
    # It opens nothing that no event records: the choice of a password is recorded.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "purpose",
        "user.uuid",
        "address",
        "code_hash",
        "bound_to",
        "made_by",
        "expires_at",
    )

    purpose = models.CharField(
        max_length=12,
        choices=LinkPurpose.choices,
        help_text="Whether it invites a person or resets a password.",
    )
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="password_links",
        help_text="The account whose password the link sets. Empty until a reset request was looked at.",
    )
    address = models.EmailField(verbose_name="e-mail address", help_text="Where the message is sent.")
    source = optional_text(
        help_text="Network from which a reset was requested. Limits how many it can request.", max_length=45
    )
    made_by = optional_text("invited by", "Who sent the invitation.", max_length=150)
    # SHA-256 in hexadecimal, of 256 random bits; NULL until the message is sent.
    code_hash = ExactCharField(
        max_length=64,
        null=True,
        unique=True,
        editable=False,
        help_text="Hash of the link's code. Never shown.",
    )
    bound_to = optional_text(
        help_text="Hash of the account's state when the link was made. The link ends when it changes.",
        max_length=64,
        editable=False,
    )
    created_at = models.DateTimeField(
        default=timezone.now,
        db_index=True,
        verbose_name="requested",
        help_text="When it was requested, in UTC.",
    )
    due_at = models.DateTimeField(
        default=timezone.now,
        null=True,
        db_index=True,
        verbose_name="next attempt",
        help_text="When the message is sent next, in UTC. Empty: it was sent, or given up.",
    )
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts to send the message.")
    error = optional_text(help_text="Why the last attempt failed.", max_length=200)
    expires_at = models.DateTimeField(
        null=True, verbose_name="expires", help_text="When the link stops working, in UTC."
    )
    ended_at = models.DateTimeField(
        null=True,
        verbose_name="ended",
        help_text="When the link was used, withdrawn or replaced by a newer one, in UTC.",
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether the link was sent, and can still be used by its code."""
        if self.code_hash is None or self.expires_at is None or self.ended_at is not None:
            return False
        return is_in(self.expires_at, within=LIFETIMES[LinkPurpose(self.purpose)])


def account_fingerprint(user: User) -> str:
    """Return a hash of all that ends an account's links when it changes."""
    names = ("password", "email", "reset_email", "role", "is_active", "suspended_at", "second_factor")
    columns = (*names, "saml_issuer", "saml_name_id")
    return hashlib.sha256(canonical_json([_text(getattr(user, name)) for name in columns])).hexdigest()


def _text(value: object) -> str:
    return "" if value is None else str(value)
