"""Provisioning by SCIM: the outside systems that make and end accounts, and the people whom they manage."""

from typing import Any, ClassVar, Final

from django.contrib.auth.models import Group
from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp

# The `issuer` of a client whose people sign in by SAML, which has one identity provider.
SAML_ISSUER: Final = "saml"
# Accounts of OpenID Connect have a slug with this before it as their issuer: no SAML issuer begins so.
OIDC_ISSUER: Final = "oidc:"


class ScimPreset(models.TextChoices):
    """The systems whose words Keeper knows."""

    OKTA = "okta", "Okta"
    ENTRA = "entra", "Microsoft Entra"
    OTHER = "other", "Another system"


class ScimClient(AuthenticatedRow):
    """An outside system that provisions people by SCIM. It is removed, never deleted: people belong to it."""

    MAC_LABEL: ClassVar[str] = "scim-client"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name", "preset")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("issuer", "removed_at")

    name = ExactCharField(
        max_length=60, unique=True, help_text="Name in the audit log and on pages, such as Okta."
    )
    preset = models.CharField(
        max_length=8,
        choices=ScimPreset.choices,
        default=ScimPreset.OTHER,
        verbose_name="system",
        help_text="What provisions. It decides which claim a person's external ID is compared with.",
    )
    # That of accounts of OpenID Connect, or SAML_ISSUER. NULL, not empty: one client an issuer.
    issuer = ExactCharField(
        max_length=255,
        null=True,
        blank=True,
        unique=True,
        verbose_name="sign-in",
        help_text="Identity provider through which its people sign in. Empty: none.",
    )
    removed_at = optional_timestamp(
        "removed", "When an administrator removed it, in UTC. Its accounts stay.", editable=False
    )
    last_error_at = optional_timestamp(
        "last refused", "When a request was refused last, in UTC. Empty: never.", editable=False
    )
    last_error = optional_text(
        help_text="Why a request was refused last. Empty: none was.", max_length=300, editable=False
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When it was added, in UTC."
    )

    class Meta:
        verbose_name = "SCIM client"
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    @classmethod
    def linked_to(cls, issuer: str) -> "ScimClient | None":
        """Return the client that decides who signs in through a provider, genuine or not."""
        sign_in = issuer if issuer.startswith(OIDC_ISSUER) else SAML_ISSUER
        return cls.objects.filter(issuer=sign_in, removed_at=None).first()


class ProvisionedUser(AuthenticatedRow):
    """A person as a client describes them, and the account that stands for the person.

    `live` is True, or NULL once the client deleted it, so that a client has one row a person and name.
    The row of a person who is provisioned again is a new one.
    """

    MAC_LABEL: ClassVar[str] = "provisioned-user"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("client.uuid", "user.uuid", "user_name", "live", "ended_here")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("external_id", "handed_over_at")

    client = models.ForeignKey(
        ScimClient, on_delete=models.PROTECT, related_name="people", help_text="The client that manages it."
    )
    user = models.ForeignKey(
        "environments_app.User",
        on_delete=models.PROTECT,
        related_name="provisioned",
        help_text="The account of the person.",
    )
    user_name = ExactCharField(
        max_length=255, help_text="The person's userName at the client, in lower case. It may change."
    )
    external_id = ExactCharField(
        max_length=255,
        null=True,
        blank=True,
        verbose_name="external ID",
        help_text="The client's permanent name of the person. The first sign-in must prove it.",
    )
    live = models.BooleanField(null=True, default=True, help_text="Yes until the client deletes the person.")
    # Only what the client ended is enabled by the client again.
    ended_here = models.BooleanField(
        default=False, db_default=False, help_text="Whether the client disabled the account."
    )
    handed_over_at = optional_timestamp(
        "handed over",
        "When an administrator bound the account to the external ID, in UTC. Empty: the client did.",
    )
    # It describes the person; what decides has columns of its own.
    attributes = models.JSONField(default=dict, help_text="What the client stores of the person.")
    revision = models.PositiveIntegerField(default=1, help_text="Counts the changes that the client made.")
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the client created or adopted it, in UTC."
    )
    changed_at = timestamp("changed", "When the client changed it last, in UTC.")

    class Meta:
        verbose_name = "provisioned person"
        verbose_name_plural = "provisioned people"
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["client", "user_name", "live"], name="provisioned_user_name"),
            models.UniqueConstraint(fields=["client", "external_id", "live"], name="provisioned_external_id"),
            models.UniqueConstraint(fields=["user", "live"], name="provisioned_once"),
        ]

    def __str__(self) -> str:
        return str(self.user_name)

    @classmethod
    def managing(cls, user: Any) -> "ProvisionedUser | None":
        """Return the genuine row by which a client manages an account now."""
        rows = cls.objects.filter(user=user, live=True, client__removed_at=None)
        return next((row for row in rows.select_related("client", "user") if row.is_authentic()), None)

    @classmethod
    def awaiting(cls, user: Any) -> "ProvisionedUser | None":
        """Return the row of an account that a client's provider has not signed its person in with yet."""
        row = cls.managing(user) if user.saml_issuer is None else None
        return row if row and row.client.issuer else None


class ProvisionedGroup(AuthenticatedRow):
    """A group whose members a client decides. Its name in Keeper never changes; the client's may."""

    MAC_LABEL: ClassVar[str] = "provisioned-group"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("client.uuid", "group_id", "group.name")

    client = models.ForeignKey(
        ScimClient, on_delete=models.PROTECT, related_name="groups", help_text="The client that fills it."
    )
    group = models.OneToOneField(
        Group, on_delete=models.PROTECT, related_name="provisioned", help_text="The group of Keeper."
    )
    display_name = models.CharField(max_length=255, help_text="The client's name of the group.")
    external_id = ExactCharField(
        max_length=255,
        blank=True,
        default="",
        verbose_name="external ID",
        help_text="The client's permanent name of the group.",
    )
    revision = models.PositiveIntegerField(default=1, help_text="Counts the changes that the client made.")
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the client created it, in UTC."
    )
    changed_at = timestamp("changed", "When the client changed it last, in UTC.")

    class Meta:
        verbose_name = "provisioned group"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return str(self.display_name)
