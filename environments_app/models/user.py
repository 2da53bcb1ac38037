"""People: who may sign in, which groups they belong to, and what they prefer."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import Group
from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedQuerySet, AuthenticatedRow, verified_rows
from audit_app.recording.drafts import AuditObject
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models.provisioning import OIDC_ISSUER, SAML_ISSUER, ScimClient, ScimPreset
from environments_app.names import MAX_USERNAME, normalise_username


class UserRole(models.TextChoices):
    """What a person is to the installation as a whole."""

    ADMIN = "admin", "Administrator"
    AUDITOR = "auditor", "Auditor"
    USER = "user", "User"


class UserManager(BaseUserManager["User"]):
    """Makes users whose names have one spelling."""

    def get_queryset(self) -> AuthenticatedQuerySet["User"]:
        """Return people as rows that are not deleted without a word of it."""
        return AuthenticatedQuerySet(self.model, using=self._db)

    def bound_to(self, issuer: str, subject: str) -> "User | None":
        """Return the account that a provider's subject opens, genuine or not.

        That is the account which its first sign-in made, or else one to which its person connected it. A
        connection opens nothing while a SCIM client decides who signs in through the provider.
        """
        user = self.filter(saml_issuer=issuer, saml_name_id=subject).first()
        if user is not None:
            return user
        if ScimClient.linked_to(issuer) is not None:
            return None
        rows = ConnectedSignIn.objects.select_related("user").filter(issuer=issuer, subject=subject)
        return next((row.user for row in verified_rows(rows)), None)

    def of_sign_in(self, issuer: str) -> models.QuerySet["User"]:
        """Return the accounts of the sign-in that a SCIM client is linked to."""
        if issuer == SAML_ISSUER:
            return self.exclude(saml_issuer=None).exclude(saml_issuer__startswith=OIDC_ISSUER)
        return self.filter(saml_issuer=issuer)

    def named_by(self, client: ScimClient, external_id: str | None) -> "User | None":
        """Return the account that signs in by the subject that an external ID of a client is."""
        if client.issuer is None or client.preset == ScimPreset.ENTRA:
            # Entra's subject is another one for each application: an external ID never equals it.
            return None
        return self.of_sign_in(client.issuer).filter(saml_name_id=external_id).first()

    def create_user(
        self, username: str, email: str = "", password: str | None = None, **fields: Any
    ) -> "User":
        """Store a user; without a password a local sign-in is impossible."""
        user = self.model(username=normalise_username(username), email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, username: str, email: str = "", password: str | None = None, **fields: Any
    ) -> "User":
        """Store an administrator (the name is Django's)."""
        return self.create_user(username, email, password, **{**fields, "role": UserRole.ADMIN})


class User(AbstractBaseUser, AuthenticatedRow):
    """A person. What decides about access is authenticated and counts only if it is genuine."""

    MAC_LABEL: ClassVar[str] = "user"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "username",
        "role",
        "is_active",
        "password",
        "saml_issuer",
        "saml_name_id",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = (
        "role_source",
        "suspended_at",
        "second_factor",
        "reset_email",
        "temporary_since",
    )
    EMAIL_FIELD = "email"
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    password = models.CharField(max_length=128, help_text="Salted hash of the local password. Never shown.")
    temporary_since = optional_timestamp(
        "temporary password",
        "When another person set the password, in UTC. It must be replaced at the next sign-in.",
        editable=False,
    )
    last_login = optional_timestamp("last sign-in", "When the person last signed in, in UTC. Empty: never.")
    username = ExactCharField(
        max_length=MAX_USERNAME,
        unique=True,
        help_text="Name for signing in and in the audit log. It cannot be changed later.",
    )
    email = models.EmailField(
        blank=True, verbose_name="email address", help_text="Where Keeper sends notifications and digests."
    )
    # Apart from `email`, which administrators change: a person who reads this mailbox could sign in.
    reset_email = models.EmailField(
        blank=True,
        default="",
        db_default="",
        editable=False,
        verbose_name="address for password resets",
        help_text="Confirmed by its person: a link to reset the password is sent there. Empty: none is.",
    )
    display_name = models.CharField(
        max_length=150, blank=True, help_text="The person's name on pages. Empty: the username is shown."
    )
    role = models.CharField(
        max_length=16,
        choices=UserRole.choices,
        default=UserRole.USER,
        help_text="Administrators operate the installation. Access to values comes from memberships only.",
    )
    role_source = optional_text(
        "source of the role",
        '"saml" if single sign-on set the role. Single sign-on then also takes it away.',
        max_length=8,
        editable=False,
    )
    is_active = models.BooleanField(
        default=True,
        verbose_name="active",
        help_text="Clear this to disable the account: its sessions end and it cannot sign in.",
    )
    # When an administrator last replaced what the person signs in with. From then on the account
    # reads values only where a manager has confirmed it (AccessConfirmation).
    suspended_at = optional_timestamp(
        "suspended",
        "When an administrator replaced its credentials, in UTC. Managers then confirm it.",
        editable=False,
    )
    # The SecondFactor required at each local sign-in. It is referenced here, so deleting that row does not
    # make the password alone sufficient.
    second_factor = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="Identifier of the authenticator that local sign-ins require. Empty: none is set up.",
    )
    date_joined = timestamp("created", "When the account was created, in UTC.")
    # NULL, not empty, for local users: a unique pair must hold on MariaDB, which has no
    # conditional unique constraints.
    saml_issuer = ExactCharField(
        max_length=255,
        null=True,
        blank=True,
        editable=False,
        verbose_name="SAML issuer",
        help_text="Identity provider of an account that signs in by single sign-on.",
    )
    saml_name_id = ExactCharField(
        max_length=255,
        null=True,
        blank=True,
        editable=False,
        verbose_name="SAML name ID",
        help_text="Name of the person at the identity provider.",
    )
    groups = models.ManyToManyField(
        Group, through="environments_app.GroupMember", related_name="members", blank=True
    )

    objects = UserManager()  # type: ignore[assignment, misc]  # it makes people, beside what the other one does

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering = ["username"]
        constraints = [
            models.UniqueConstraint(fields=["saml_issuer", "saml_name_id"], name="one_user_per_saml_subject")
        ]

    def __str__(self) -> str:
        return str(self.username)

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return the one spelling of a username (Django's forms ask for it here)."""
        return normalise_username(username)

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether this is the password; unlike Django's, never store a newer hash of it.

        A row that changes at a sign-in, without an event of its own, would contradict the audit log.
        """
        return check_password(raw_password, self.password)

    def get_session_auth_hash(self) -> str:
        """Return what a session of this person has to have been started with: password and second factor.

        So a session that began before there was a second factor is none of theirs, also one whose
        password was being checked while it was enrolled.
        """
        return self._with_factor(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """Return the same under the keys of SECRET_KEY_FALLBACKS."""
        return map(self._with_factor, super().get_session_auth_fallback_hash())

    def _with_factor(self, password_hash: str) -> str:
        return f"{password_hash}.{self.second_factor.hex}" if self.second_factor else password_hash

    @property
    def is_admin(self) -> bool:
        """Whether this person operates the installation now."""
        return self.is_active and self.role == UserRole.ADMIN

    @property
    def is_auditor(self) -> bool:
        """Whether this person audits the installation now."""
        return self.is_active and self.role == UserRole.AUDITOR

    @property
    def is_staff(self) -> bool:
        """Whether the Django admin may be opened."""
        return self.is_admin or self.is_auditor

    def has_perm(self, perm: str, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Answer Django's admin: administrators may open everything it shows, auditors look at it."""
        return self.is_admin or (self.is_auditor and perm.partition(".")[2].startswith("view_"))

    def has_perms(self, perm_list: list[str], obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        return all(self.has_perm(perm) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002 - Django's signature
        return self.is_staff


class ConnectedSignIn(AuthenticatedRow):
    """A sign-in at an identity provider that a person connected to an account which had another one."""

    MAC_LABEL: ClassVar[str] = "connected-sign-in"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("user.uuid", "issuer", "subject", "name", "connected_at")

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="connected_sign_ins",
        help_text="The person who connected the sign-in.",
    )
    issuer = ExactCharField(max_length=255, editable=False, help_text="Identity provider that vouches.")
    subject = ExactCharField(
        max_length=255, editable=False, help_text="Name of the person at the identity provider."
    )
    name = models.CharField(
        max_length=255,
        editable=False,
        help_text="What the provider called the person when the sign-in was connected. It decides nothing.",
    )
    connected_at = timestamp("connected", "When the person connected it, in UTC.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="one_user_per_connected")]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class GroupMember(AuthenticatedRow):
    """A person's place in a group; memberships of the group hold for its genuine members."""

    MAC_LABEL: ClassVar[str] = "group-member"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("user.uuid", "group_id", "group.name")

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="group_memberships",
        help_text="The person who belongs to the group.",
    )
    group = models.ForeignKey(
        Group,
        on_delete=models.PROTECT,
        related_name="group_members",
        help_text="The group. Its memberships apply to each of its members.",
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "group"], name="one_place_in_a_group")]

    def __str__(self) -> str:
        return f"{self.user} in {self.group}"


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
    notices_seen_at = optional_timestamp(
        "notifications seen", "When the person last opened their notifications, in UTC."
    )
    digest = models.BooleanField(
        default=True, verbose_name="daily digest", help_text="Whether the person gets a daily email."
    )
    muted = models.JSONField(
        default=list,
        blank=True,
        verbose_name="muted kinds",
        help_text="Kinds of notifications that the digest leaves out.",
    )
    digest_at = optional_timestamp("last digest", "When the last digest was prepared, in UTC.")
    time_zone = optional_text(
        help_text="IANA name of the zone of pages and forms. Blank: the browser's, and UTC in forms.",
        max_length=64,
        db_default="",
    )
    first_steps_hidden = models.BooleanField(
        default=False, help_text="Whether the person hid the list of first steps."
    )
    # NULL in rows that are older than the column.
    matrix_environments = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Names of the environments that the person compares in the matrix. Empty: the first ones.",
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
        return [kind for kind in NoticeKind if self.digest and kind not in self.muted]
