"""Sign-ins of clients without a browser, which wait for their person (RFC 8628)."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models.columns import optional_timestamp
from environments_app.fields import ExactCharField, pepper_id_field, public_id_field, secret_hash_field
from environments_app.models.personal_token import PersonalToken


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
    # Eight consonants.
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
