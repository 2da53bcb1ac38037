"""Who may do what in an environment: roles, memberships and service tokens."""

from typing import Any, ClassVar, Protocol

from django.contrib.auth.models import Group
from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.clock import has_begun
from core.db.columns import optional_text, optional_timestamp, timestamp
from environments_app.models.columns import path_prefix, pepper_id_field, public_id_field, secret_hash_field
from environments_app.models.environment import Environment
from environments_app.models.user import User


class Role(models.TextChoices):
    """A role in an environment; each contains the previous one."""

    VIEWER = "viewer", "Viewer"
    READER = "reader", "Reader"
    EDITOR = "editor", "Editor"
    MANAGER = "manager", "Manager"

    @property
    def rank(self) -> int:
        """The place in the order viewer < reader < editor < manager, from 0."""
        return list(Role).index(self)


class TokenRole(models.TextChoices):
    """What a service token may be: a role in its environment, admin of the installation, or provisioner."""

    VIEWER = "viewer", "Viewer"
    READER = "reader", "Reader"
    EDITOR = "editor", "Editor"
    MANAGER = "manager", "Manager"
    ADMIN = "admin", "Administrator"
    # It opens /scim and nothing else.
    PROVISIONER = "provisioner", "Provisioner"


class Source(models.TextChoices):
    """Who made a grant: people, single sign-on, which takes it away again, or a request of its holder."""

    PEOPLE = "", "by hand"
    SAML = "saml", "by single sign-on"
    REQUEST = "request", "asked for"


class Membership(AuthenticatedRow):
    """A role of a person or a group in an environment, perhaps for a prefix and a time only."""

    MAC_LABEL: ClassVar[str] = "membership"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid",
        "user.uuid",
        "group_id",
        # People see a group by its name: exchanged names must not exchange access.
        "group.name",
        "role",
        "prefix",
        "expires_at",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("source", "suspended_at")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="memberships",
        help_text="The environment in which the role applies.",
    )
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        help_text="The person who gets the role. Leave empty for a group.",
    )
    group = models.ForeignKey(
        Group,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        help_text="The group whose members get the role. Leave empty for a person.",
    )
    role = models.CharField(
        max_length=16,
        choices=Role.choices,
        help_text="Viewers see names, readers see values, editors change them, managers also manage access.",
    )
    prefix = path_prefix("Limits the role to names under this path, by whole segments. Empty: all names.")
    expires_at = optional_timestamp("expires", "When the role ends, in UTC. Empty: it does not end.")
    source = models.CharField(
        max_length=8,
        choices=Source.choices,
        default=Source.PEOPLE,
        blank=True,
        editable=False,
        help_text="Whether the role was given manually, by single sign-on or by an access request.",
    )
    # Set while it shows names alone: it comes of a mapping that no manager has confirmed yet.
    suspended_at = optional_timestamp(
        "suspended", "Set while a manager has not confirmed what a mapping granted, in UTC.", editable=False
    )
    # NULL: the installation itself, or a service token (the audit log names it).
    granted_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="The person who gave the role. Empty for Keeper itself or a service token.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="granted", help_text="When the role was given, in UTC."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False, group__isnull=True)
                | models.Q(user__isnull=True, group__isnull=False),
                name="membership_of_a_user_or_a_group",
            ),
            models.UniqueConstraint(
                fields=["environment", "user", "prefix", "source"],
                name="one_membership_per_user_prefix_source",
            ),
            models.UniqueConstraint(
                fields=["environment", "group", "prefix"], name="one_membership_per_group_and_prefix"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.holder}: {self.role} in {self.environment}"

    @property
    def holder(self) -> str:
        if self.user:
            return str(self.user.username)
        return f"group {self.group.name}" if self.group else ""

    @property
    def is_expired(self) -> bool:
        """Whether its time is over, or was counted by a clock that was ahead."""
        ends = self.expires_at
        return ends is not None and (ends <= timezone.now() or not has_begun(self.created_at))


class AccessConfirmation(AuthenticatedRow):
    """A manager's word that a suspended account is in its person's hands again, for one environment.

    It holds for the suspension that it names, and for no later one.
    """

    MAC_LABEL: ClassVar[str] = "access-confirmation"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "user.uuid", "suspended_at")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="confirmations",
        help_text="The environment whose manager confirmed the account.",
    )
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="confirmations", help_text="The confirmed account."
    )
    suspended_at = models.DateTimeField(
        verbose_name="suspended",
        help_text="The suspension that was confirmed, in UTC. A later one needs another confirmation.",
    )
    confirmed_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        editable=False,
        related_name="+",
        help_text="The manager who confirmed that the person controls the account.",
    )
    confirmed_at = timestamp("confirmed", "When the manager confirmed it, in UTC.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "user"], name="one_confirmation_per_account")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.environment}"


class ServiceToken(AuthenticatedRow):
    """A credential of a program; its secret is kept only as a peppered HMAC."""

    MAC_LABEL: ClassVar[str] = "service-token"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "role", "name", "public_id", "pepper_id", "secret_hash", "prefix", "cidrs",
        "expires_at", "revoked_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = (
        "suspended_at",
        "trust_uuid",
        "parent_uuid",
        "scim_client_uuid",
        "renewable_until",
        "lease_seconds",
        "decoy",
    )

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="service_tokens",
        help_text="The environment that the token opens. Empty for a token of the installation.",
    )
    role = models.CharField(
        max_length=16,
        choices=TokenRole.choices,
        help_text="What the token may do. It follows the roles of memberships.",
    )
    name = models.CharField(
        max_length=100, help_text="Name of the program that uses the token, as shown in the audit log."
    )
    public_id = public_id_field("The part of the token that identifies it. It is not secret.")
    pepper_id = pepper_id_field()
    secret_hash = secret_hash_field("Peppered hash of the token. Never shown.")
    prefix = path_prefix("Limits the token to names under this path, by whole segments. Empty: all names.")
    cidrs = models.JSONField(
        default=list,
        blank=True,
        verbose_name="allowed networks (CIDR)",
        help_text="Networks that the token may be used from. Empty: any network.",
    )
    expires_at = optional_timestamp(
        "expires", "When the token stops working, in UTC. Empty: it does not expire."
    )
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name="issued by",
        help_text="The person who issued the token.",
    )
    replaces = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="successors",
        help_text="The token that this one was issued to replace.",
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
    trust_uuid = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        verbose_name="trust",
        help_text="UUID of the trust by which a workload signed in for the token. Empty: it was issued.",
    )
    parent_uuid = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        verbose_name="parent",
        help_text="UUID of the token whose bearer made this one for itself. Empty: it was issued.",
    )
    scim_client_uuid = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        verbose_name="SCIM client",
        help_text="UUID of the SCIM client that calls by this token. Empty: it is none of a SCIM client.",
    )
    suspended_at = optional_timestamp(
        "suspended", "Set by a restore until an operator releases the token, in UTC.", editable=False
    )
    renewable_until = optional_timestamp(
        "renewable until",
        "Until when its bearer may prolong the token, in UTC. Empty: it ends when it expires.",
        editable=False,
    )
    lease_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="For how many seconds it is prolonged where its bearer names no time.",
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
        return self.name

    @property
    def networks(self) -> list[str]:
        """The networks to show; a forged row may hold anything there, and is listed all the same."""
        return [str(network) for network in self.cidrs] if isinstance(self.cidrs, list) else []

    @property
    def is_live(self) -> bool:
        """Whether it has begun, and is neither revoked nor suspended nor expired."""
        return is_token_live(self)


class TokenTimes(Protocol):
    """The times by which a token counts, of its row or of its columns."""

    @property
    def created_at(self) -> Any: ...
    @property
    def expires_at(self) -> Any: ...
    @property
    def revoked_at(self) -> Any: ...
    @property
    def suspended_at(self) -> Any: ...


def is_token_live(token: TokenTimes) -> bool:
    """Return whether a token has begun, and is neither revoked nor suspended nor expired."""
    expired = token.expires_at is not None and token.expires_at <= timezone.now()
    return token.revoked_at is None and token.suspended_at is None and not expired and has_token_begun(token)


def has_token_begun(token: TokenTimes) -> bool:
    """Return whether a token's time was not counted by a clock that was ahead; one without end has none."""
    return token.expires_at is None or has_begun(token.created_at)
