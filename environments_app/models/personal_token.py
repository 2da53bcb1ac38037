"""Tokens by which people use clients such as kpr, and sign-ins of clients without a browser (RFC 8628)."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField, optional_text, optional_timestamp
from environments_app.models.access import is_token_live
from environments_app.models.columns import path_prefix, pepper_id_field, public_id_field, secret_hash_field
from environments_app.models.environment import Environment
from environments_app.models.user import User


class PersonalToken(AuthenticatedRow):
    """A credential of a person, for a client; its secret is kept only as a peppered HMAC.

    It has no rights of its own: what it opens is asked of its person's memberships at each use.
    """

    MAC_LABEL: ClassVar[str] = "personal-token"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "user.uuid", "environment.uuid", "prefix", "name", "public_id", "pepper_id", "secret_hash",
        "expires_at", "revoked_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at", "decoy")

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="personal_tokens",
        help_text="The person whose rights the token has at each use.",
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="personal_tokens",
        help_text="The only environment that the token reaches. Empty: all environments of the person.",
    )
    prefix = path_prefix("Limits the token to names under this path, by whole segments. Empty: all names.")
    name = models.CharField(
        max_length=100, help_text="Where the token is used, such as the name of a machine."
    )
    public_id = public_id_field("The part of the token that identifies it. It is not secret.")
    pepper_id = pepper_id_field()
    secret_hash = secret_hash_field("Peppered hash of the token. Never shown.")
    expires_at = models.DateTimeField(
        verbose_name="expires", help_text="When the token stops working, in UTC."
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="issued", help_text="When the token was issued, in UTC."
    )
    last_used_at = optional_timestamp(
        "last used", "When the token was last accepted, in UTC, to the minute. Empty: never.", editable=False
    )
    last_used_address = optional_text(
        "last used from", "Network address of the last use.", max_length=45, editable=False
    )
    revoked_at = optional_timestamp(
        "revoked", "When the token was revoked, in UTC. Empty: it is not revoked.", editable=False
    )
    suspended_at = optional_timestamp(
        "suspended", "Set by a restore until an operator releases the token, in UTC.", editable=False
    )
    decoy = models.BooleanField(
        null=True,
        default=None,
        editable=False,
        help_text="Yes if it opens nothing, and each use of it raises an alert.",
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @property
    def is_live(self) -> bool:
        """Whether it has begun, and is neither revoked nor suspended nor expired."""
        return is_token_live(self)


class DeviceSignIn(AuthenticatedRow):
    """A client that shows a code, until a person enters it. It lives for minutes.

    Its ids and hash become those of the personal token, so that Keeper never holds the token's text.
    """

    MAC_LABEL: ClassVar[str] = "device-sign-in"
    # It opens nothing; the token that comes of it is recorded.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "public_id",
        "pepper_id",
        "secret_hash",
        "user_code",
        "name",
        "address",
        "expires_at",
    )

    public_id = public_id_field("Becomes that of the personal token. It is not secret.")
    pepper_id = pepper_id_field()
    secret_hash = secret_hash_field("Peppered hash of what the client holds. Never shown.")
    user_code = ExactCharField(
        max_length=8,
        unique=True,
        editable=False,
        verbose_name="code",
        help_text="What the person types. Never shown here.",
    )
    name = models.CharField(max_length=100, help_text="What the client calls itself. It proves nothing.")
    address = models.CharField(
        max_length=45,
        editable=False,
        verbose_name="network address",
        help_text="Where the client asked from, as Keeper saw it.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="started", help_text="When the client asked, in UTC."
    )
    expires_at = models.DateTimeField(
        verbose_name="expires", help_text="When the code stops working, in UTC."
    )
    polled_at = optional_timestamp(
        "last asked", "When the client last asked for its token, in UTC.", editable=False
    )
    denied_at = optional_timestamp(
        "denied", "When a person refused the client, in UTC. Empty: no person did.", editable=False
    )
    token = models.OneToOneField(
        PersonalToken,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="device",
        help_text="The personal token that a person approved.",
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name

    @property
    def shown_code(self) -> str:
        """The code as people read it: BCDF-GHJK."""
        return f"{self.user_code[:4]}-{self.user_code[4:]}"
