"""Rows of signing in: sessions, second factors, passkeys, tries, known networks and password links.

Tries are counted where neither a restart nor a flood of other names forgets them. A link in an e-mail lets
a person choose the password of their account, once.
"""

import hashlib
from datetime import timedelta
from typing import ClassVar, Final

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.canonical_json import canonical_json
from core.clock import is_in
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from environments_app.models.user import User


class Session(AbstractBaseSession):
    """A session under an HMAC of its id; the columns beside the signed data are for lists alone."""

    session_key = models.CharField(
        max_length=40, primary_key=True, help_text="Keyed hash of the session's identifier. Never shown."
    )
    session_data = models.TextField(help_text="Signed data of the session. Never shown.")
    expire_date = models.DateTimeField(
        db_index=True, verbose_name="expires", help_text="When the session ends without further use, in UTC."
    )
    # NULL for who has not signed in.
    user = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="sessions",
        help_text="The signed-in person. Empty before a sign-in.",
    )
    signed_in_at = models.DateTimeField(
        default=timezone.now, verbose_name="signed in", help_text="When the session began, in UTC."
    )
    last_seen_at = models.DateTimeField(
        default=timezone.now,
        verbose_name="last seen",
        help_text="Last request of the session, in UTC, to the minute.",
    )
    address = optional_text("IP address", "Network address of the last request.", max_length=45)
    agent = optional_text("browser", "How the browser describes itself.", max_length=200)
    # NULL: a local sign-in, or a provider that does not name its sessions.
    at_provider = ExactCharField(
        "session of the provider",
        max_length=64,
        null=True,
        db_index=True,
        editable=False,
        help_text="Keyed hash of the identity provider's name for the session. Never shown.",
    )

    class Meta(AbstractBaseSession.Meta):
        abstract = False


class SecondFactor(AuthenticatedRow):
    """What an authenticator and Keeper both know; it counts if its user's row names it.

    `recovery_codes` holds the keyed hash of each code that was not used yet.
    """

    MAC_LABEL: ClassVar[str] = "second-factor"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("user.uuid", "seed", "recovery_codes")

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="second_factors",
        help_text="The person whose authenticator this is.",
    )
    seed = models.BinaryField(editable=False, help_text="Encrypted seed of the one-time codes. Never shown.")
    recovery_codes = models.JSONField(
        default=list,
        blank=True,
        editable=False,
        help_text="Keyed hashes of unused recovery codes. Never shown.",
    )
    last_step = models.BigIntegerField(
        default=0,
        editable=False,
        verbose_name="last time step",
        help_text="Time step of the last accepted code. No code is accepted twice.",
    )
    created_at = timestamp("set up", "When the authenticator was set up, in UTC.")

    def __str__(self) -> str:
        return f"second factor {self.pk}"


class Passkey(AuthenticatedRow):
    """A public key of a person's device (WebAuthn); it counts while the second factor that it names does.

    `handle` is the SHA-256 of the credential's id in hexadecimal, by which it is found.
    """

    MAC_LABEL: ClassVar[str] = "passkey"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "user.uuid", "factor", "name", "credential_id", "public_key", "relying_party", "created_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("passwordless",)

    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="passkeys", help_text="The person whose passkey this is."
    )
    factor = models.UUIDField(
        editable=False,
        verbose_name="second factor",
        help_text="Identifier of the second factor that the passkey stands for. It ends with it.",
    )
    name = models.CharField(max_length=60, help_text="What the person calls the passkey.")
    handle = models.CharField(
        max_length=64,
        unique=True,
        editable=False,
        help_text="SHA-256 of the credential ID, to find the passkey by.",
    )
    credential_id = models.BinaryField(
        editable=False,
        verbose_name="credential ID",
        help_text="Identifier that the authenticator gave the passkey.",
    )
    # COSE, as the device gave it.
    public_key = models.BinaryField(
        editable=False, help_text="Public key that proves the passkey. It is not secret."
    )
    relying_party = models.CharField(
        max_length=255, editable=False, verbose_name="site", help_text="Host name that the passkey works for."
    )
    # NULL, not False: rows that are older than the column stay genuine.
    passwordless = models.BooleanField(
        null=True,
        editable=False,
        help_text="Yes if the device checks its person: the passkey then replaces password and code. "
        "Empty: the code alone.",
    )
    sign_count = models.BigIntegerField(
        default=0,
        editable=False,
        verbose_name="uses",
        help_text="Counter of the authenticator at the last use. It must not go back.",
    )
    created_at = timestamp("added", "When the passkey was added, in UTC.")
    last_used_at = optional_timestamp(
        "last used", "When the passkey was last accepted, in UTC. Empty: never.", editable=False
    )

    def __str__(self) -> str:
        return f"passkey {self.name}"


class FailedSignIns(models.Model):
    """How many tries are used up for an account, existing or not: by all of a kind, or by one source."""

    # SHA-256 in hexadecimal: a user may have typed a password into the field for the name.
    bucket = models.CharField(
        max_length=64,
        unique=True,
        help_text="SHA-256 of an account and the source of its attempts. Typed names are never stored.",
    )
    until = models.DateTimeField(
        db_index=True, help_text="When all attempts are available again or the source may try again, in UTC."
    )
    count = models.PositiveIntegerField(
        default=0,
        verbose_name="attempts",
        help_text="Failed attempts of one source in a row. 0 for the shared limit of an account.",
    )

    class Meta:
        verbose_name = "failed sign-in"
        verbose_name_plural = "failed sign-ins"

    def __str__(self) -> str:
        return f"{self.count} until {self.until}"


class KnownNetwork(models.Model):
    """A network from which the person of an account has signed in; both are hashed."""

    key = models.CharField(
        max_length=64, unique=True, help_text="Hash of an account and of a network that it signed in from."
    )
    until = models.DateTimeField(db_index=True, help_text="When Keeper forgets the network, in UTC.")

    def __str__(self) -> str:
        return f"until {self.until}"


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
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("access",)

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
    address = models.EmailField(verbose_name="email address", help_text="Where the message is sent.")
    source = optional_text(
        help_text="Network from which a reset was requested. Limits how many it can request.", max_length=45
    )
    made_by = optional_text("invited by", "Who sent the invitation.", max_length=150)
    # {"by": uuid of an account, "roles": {uuid of an environment: role}, "glass": [uuid of an environment],
    # "prefix": path, if it is not empty}
    access = models.JSONField(
        null=True,
        editable=False,
        help_text="Roles in environments that the invited person gets by accepting, and who offers them.",
    )
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
