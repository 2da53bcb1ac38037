"""What single sign-on keeps: the identity provider, used assertions, and what its groups grant."""

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from environments_app.models.access import Role
from environments_app.models.columns import path_prefix
from environments_app.models.environment import Environment
from environments_app.models.provisioning import OIDC_ISSUER


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


class ClientAuth(models.TextChoices):
    """How Keeper proves itself to the token endpoint of a provider."""

    BASIC = "client_secret_basic", "Secret in the header (client_secret_basic)"
    POST = "client_secret_post", "Secret in the form (client_secret_post)"
    PRIVATE_KEY_JWT = "private_key_jwt", "Signed by Keeper's key, without a secret (private_key_jwt)"


class OidcAlgorithm(models.TextChoices):
    """The algorithm that a provider signs ID tokens and logout tokens by."""

    RS256 = "RS256", "RS256"
    PS256 = "PS256", "PS256"
    ES256 = "ES256", "ES256"
    ES384 = "ES384", "ES384"
    EDDSA = "EdDSA", "EdDSA"


class OidcProvider(AuthenticatedRow):
    """An identity provider that people sign in through by OpenID Connect."""

    MAC_LABEL: ClassVar[str] = "oidc-provider"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "slug", "label", "issuer", "client_id", "client_auth", "secret", "algorithm", "scopes",
        "username_claim", "email_claim", "name_claim", "groups_claim", "required_claims", "allows_guests",
        "creates_accounts", "session_hours", "document", "enabled",
    )  # fmt: skip

    slug = ExactCharField(
        max_length=32,
        unique=True,
        verbose_name="name in addresses",
        help_text="Letters, digits and hyphens, such as okta. It is in the addresses and never changes.",
    )
    label = models.CharField(
        max_length=60, help_text="What the button on the sign-in page says, such as Okta."
    )
    issuer = ExactCharField(
        max_length=255,
        help_text="Exactly as the provider's discovery document names it. It never changes.",
    )
    client_id = ExactCharField(
        max_length=255, verbose_name="client ID", help_text="Keeper's name at the provider."
    )
    client_auth = models.CharField(
        max_length=24,
        choices=ClientAuth.choices,
        default=ClientAuth.BASIC,
        verbose_name="client authentication",
        help_text="How Keeper proves itself to the provider.",
    )
    # Under the system key of second factors: signing in works while the provider of keys is away.
    secret = models.BinaryField(editable=False, help_text="Encrypted client secret. Never shown.")
    algorithm = models.CharField(
        max_length=8,
        choices=OidcAlgorithm.choices,
        default=OidcAlgorithm.RS256,
        help_text="Tokens that are signed by any other algorithm are refused.",
    )
    scopes = models.CharField(
        max_length=200,
        default="openid profile email",
        help_text="What Keeper asks the provider for, with spaces between.",
    )
    username_claim = ExactCharField(
        max_length=200,
        default="preferred_username",
        help_text="Claim with the username of a new account. It never matches an existing one.",
    )
    email_claim = ExactCharField(
        max_length=200,
        default="email",
        blank=True,
        verbose_name="email claim",
        help_text="Claim with the address for notifications, which the provider states as verified.",
    )
    name_claim = ExactCharField(
        max_length=200, default="name", blank=True, help_text="Claim with the name on pages."
    )
    groups_claim = ExactCharField(
        max_length=200,
        default="",
        blank=True,
        help_text="Claim with the groups, such as groups. Empty: groups grant nothing.",
    )
    # Claim to the values of which it has to have one.
    required_claims = models.JSONField(
        default=dict,
        blank=True,
        help_text="Who may sign in: one claim=value a line. Of several lines of one claim, one has to fit.",
    )
    allows_guests = models.BooleanField(
        default=False,
        help_text="Lets guests of a Microsoft Entra tenant in, who sign in at another tenant.",
    )
    creates_accounts = models.BooleanField(
        default=True,
        help_text="Creates an account at the first sign-in. It has no rights until access is granted.",
    )
    session_hours = models.PositiveSmallIntegerField(
        default=8, help_text="Sessions of its people end after this time at the latest, 1 to 24."
    )
    enabled = models.BooleanField(
        default=True, help_text="Clear this to end the sessions of its people and let none sign in."
    )
    document = models.TextField(
        editable=False,
        verbose_name="discovery",
        help_text="Addresses and abilities of the provider, as last fetched from its issuer.",
    )
    fetched_at = models.DateTimeField(
        editable=False,
        verbose_name="fetched",
        help_text="When the discovery document was last fetched, in UTC.",
    )
    last_refused_at = optional_timestamp(
        "last refused", "When a sign-in was refused last, in UTC. Empty: never.", editable=False
    )
    last_refusal = optional_text(
        help_text="Why a sign-in was refused last. Empty: none was.", max_length=40, editable=False
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the provider was added, in UTC."
    )

    class Meta:
        verbose_name = "OpenID Connect provider"
        verbose_name_plural = "OpenID Connect providers"
        ordering = ["slug"]

    def __str__(self) -> str:
        return str(self.label)

    @property
    def subject_issuer(self) -> str:
        """The issuer of the accounts that it vouches for."""
        return f"{OIDC_ISSUER}{self.slug}"


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
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at", "provider.uuid")

    provider = models.ForeignKey(
        OidcProvider,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="mappings",
        help_text="The OpenID Connect provider that sends the group. Empty: the SAML identity provider.",
    )

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


class OidcClientKey(AuthenticatedRow):
    """A key of Keeper's own, by which it proves itself to providers that take no secret."""

    MAC_LABEL: ClassVar[str] = "oidc-client-key"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("public_jwk", "private", "created_at")

    public_jwk = models.JSONField(editable=False, help_text="Public half, which providers fetch.")
    private = models.BinaryField(editable=False, help_text="Encrypted private half. Never shown.")
    created_at = timestamp("made", "When Keeper made the key, in UTC. It signs a day later.")

    class Meta:
        verbose_name = "OpenID Connect key"

    def __str__(self) -> str:
        return f"key of {self.created_at:%Y-%m-%d}"
