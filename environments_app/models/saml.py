"""What single sign-on keeps: the identity provider, used assertions, and what its groups grant."""

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField, optional_timestamp
from environments_app.models.access import Role
from environments_app.models.columns import path_prefix
from environments_app.models.environment import Environment


class SamlProvider(AuthenticatedRow):
    """The identity provider's metadata, as last fetched from its address: whom Keeper believes."""

    MAC_LABEL: ClassVar[str] = "saml-provider"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("url", "document")

    url = ExactCharField(
        max_length=500,
        unique=True,
        verbose_name="metadata URL",
        help_text="Where the identity provider's metadata is fetched from (KEEPER_SAML_METADATA_URL).",
    )
    document = models.TextField(
        verbose_name="metadata",
        help_text="The last fetched metadata: certificates and addresses of the identity provider.",
    )
    fetched_at = models.DateTimeField(
        verbose_name="fetched", help_text="When the metadata was last fetched, in UTC."
    )

    class Meta:
        verbose_name = "SAML provider"
        verbose_name_plural = "SAML providers"

    def __str__(self) -> str:
        return str(self.url)


class SamlAssertion(AuthenticatedRow):
    """An assertion that was accepted: it opens one session, in the browser that asked, once.

    Digests are SHA-256 in hexadecimal. Rows are purged once no assertion could be sent again,
    which is when the request that it answers is too old.
    """

    # A sign-in is recorded; the row stands for some minutes.
    RECORDED: ClassVar[bool] = False
    MAC_LABEL: ClassVar[str] = "saml-assertion"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "assertion",
        "request",
        "handle",
        "statement",
        "received_at",
        "finished_at",
    )

    assertion = models.CharField(
        max_length=64,
        unique=True,
        help_text="Hash of the assertion, so that it is accepted once. Never shown.",
    )
    request = models.CharField(
        max_length=64, unique=True, help_text="Hash of the request that it answers. Never shown."
    )
    handle = models.CharField(
        max_length=64,
        unique=True,
        help_text="Hash of the one-time address that completes the sign-in. Never shown.",
    )
    statement = models.JSONField(
        default=dict, help_text="What the identity provider stated. Emptied after use, never shown."
    )
    received_at = models.DateTimeField(
        db_index=True, verbose_name="received", help_text="When the assertion was received, in UTC."
    )
    finished_at = models.DateTimeField(
        null=True, verbose_name="finished", help_text="When the sign-in was completed, in UTC."
    )

    class Meta:
        verbose_name = "SAML assertion"
        verbose_name_plural = "SAML assertions"

    def __str__(self) -> str:
        return f"assertion {self.pk}"


class SamlRole(models.TextChoices):
    """What a group of the identity provider may grant."""

    VIEWER = "viewer", "Viewer"
    READER = "reader", "Reader"
    EDITOR = "editor", "Editor"
    MANAGER = "manager", "Manager"
    ADMIN = "admin", "Administrator"
    AUDITOR = "auditor", "Auditor"


# The roles in the installation; each other one is held in an environment.
INSTALLATION_ROLES: Final = (SamlRole.ADMIN, SamlRole.AUDITOR)


class SamlGroupMapping(AuthenticatedRow):
    """What the members of a group at the identity provider are granted at each sign-in."""

    MAC_LABEL: ClassVar[str] = "saml-group-mapping"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("group", "environment.uuid", "role", "prefix")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at",)

    group = ExactCharField(
        max_length=255, help_text="Name of the group, exactly as the identity provider sends it."
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="saml_mappings",
        help_text="Where its members get the role. Leave empty for administrators and auditors.",
    )
    role = models.CharField(
        max_length=16, choices=SamlRole.choices, help_text="What members of the group get at each sign-in."
    )
    prefix = path_prefix("Limits the role to names under this path, by whole segments. Empty: all names.")
    # Set until a manager of the environment confirms what an administrator mapped: till then its
    # members see names alone.
    suspended_at = optional_timestamp(
        "suspended", "Set until a manager of the environment confirms the mapping, in UTC.", editable=False
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the mapping was created, in UTC."
    )

    class Meta:
        verbose_name = "SAML group mapping"
        verbose_name_plural = "SAML group mappings"
        ordering = ["group", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(environment__isnull=True, role__in=INSTALLATION_ROLES, prefix="")
                | Q(environment__isnull=False, role__in=Role.values),
                name="saml_mapping_of_an_environment_or_admin",
            )
        ]

    def __str__(self) -> str:
        return f"{self.group}: {self.role}"
