"""Failed sign-ins, counted where neither a restart nor a flood of other names forgets them."""

from typing import ClassVar

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models.columns import optional_text, optional_timestamp, timestamp
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
    # Written at most once a minute.
    last_seen_at = models.DateTimeField(
        default=timezone.now,
        verbose_name="last seen",
        help_text="Last request of the session, in UTC, to the minute.",
    )
    address = optional_text("IP address", "Network address of the last request.", max_length=45)
    agent = optional_text("browser", "How the browser describes itself.", max_length=200)

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
    # The time step of the last code that was taken: no code counts twice.
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
    # The host name for which the device made it.
    relying_party = models.CharField(
        max_length=255, editable=False, verbose_name="site", help_text="Host name that the passkey works for."
    )
    # What the device counts; 0 where it does not.
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
    # When all tries are refilled, or when the source may try again.
    until = models.DateTimeField(
        db_index=True, help_text="When all attempts are available again or the source may try again, in UTC."
    )
    # Wrong tries of a source in a row.
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
