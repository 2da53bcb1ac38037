"""Failed sign-ins, counted where neither a restart nor a flood of other names forgets them."""

from typing import ClassVar

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.models.user import User


class Session(AbstractBaseSession):
    """A session under an HMAC of its id; the columns beside the signed data are for lists alone."""

    # NULL for who has not signed in.
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, editable=False, related_name="sessions"
    )
    signed_in_at = models.DateTimeField(default=timezone.now)
    # Written at most once a minute.
    last_seen_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=45, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")

    class Meta(AbstractBaseSession.Meta):
        abstract = False


class SecondFactor(AuthenticatedRow):
    """What an authenticator and Keeper both know; it counts if its user's row names it.

    `recovery_codes` holds the keyed hash of each code that was not used yet.
    """

    MAC_LABEL: ClassVar[str] = "second-factor"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("user.uuid", "seed", "recovery_codes")

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="second_factors")
    seed = models.BinaryField(editable=False)
    recovery_codes = models.JSONField(default=list, blank=True, editable=False)
    # The time step of the last code that was taken: no code counts twice.
    last_step = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

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

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="passkeys")
    factor = models.UUIDField(editable=False)
    name = models.CharField(max_length=60)
    handle = models.CharField(max_length=64, unique=True, editable=False)
    credential_id = models.BinaryField(editable=False)
    # COSE, as the device gave it.
    public_key = models.BinaryField(editable=False)
    # The host name for which the device made it.
    relying_party = models.CharField(max_length=255, editable=False)
    # What the device counts; 0 where it does not.
    sign_count = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return f"passkey {self.name}"


class FailedSignIns(models.Model):
    """How many tries are used up for an account, existing or not: by all of a kind, or by one source."""

    # SHA-256 in hexadecimal: a user may have typed a password into the field for the name.
    bucket = models.CharField(max_length=64, unique=True)
    # When all tries are refilled, or when the source may try again.
    until = models.DateTimeField(db_index=True)
    # Wrong tries of a source in a row.
    count = models.PositiveIntegerField(default=0)

    class Meta:
        """Named for the admin."""

        verbose_name_plural = "failed sign-ins"

    def __str__(self) -> str:
        return f"{self.count} until {self.until}"


class KnownNetwork(models.Model):
    """A network from which the person of an account has signed in; both are hashed."""

    key = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"until {self.until}"
