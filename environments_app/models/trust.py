"""Trusts in the tokens that platforms give their workloads, and the tokens that were used up."""

import hashlib
from typing import Any, ClassVar, Final

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.canonical_json import canonical_json
from core.clock import has_begun
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from environments_app.models.columns import path_prefix
from environments_app.models.environment import Environment
from environments_app.models.user import User

# Not when it ends, and how long its tokens last.
_DEFINED_BY: Final = (
    "preset", "issuer", "jwks_url", "jwks", "audience", "algorithm", "claims", "role", "prefix", "cidrs",
    "max_age_minutes", "single_use", "allows_pull_request_target",
)  # fmt: skip


class TrustPreset(models.TextChoices):
    """A platform whose tokens a trust accepts."""

    GITHUB = "github", "GitHub Actions"
    GITLAB = "gitlab", "GitLab CI"
    KUBERNETES = "kubernetes", "Kubernetes"
    AWS = "aws", "AWS"
    GCP = "gcp", "Google Cloud"
    AZURE = "azure", "Azure"
    CIRCLECI = "circleci", "CircleCI"
    BUILDKITE = "buildkite", "Buildkite"
    TERRAFORM = "terraform", "Terraform Cloud"
    BITBUCKET = "bitbucket", "Bitbucket"
    OIDC = "oidc", "OpenID Connect"


class TrustAlgorithm(models.TextChoices):
    """The algorithm that the tokens of a trust are signed by."""

    RS256 = "RS256", "RS256"
    RS384 = "RS384", "RS384"
    RS512 = "RS512", "RS512"
    PS256 = "PS256", "PS256"
    ES256 = "ES256", "ES256"
    ES384 = "ES384", "ES384"
    ES512 = "ES512", "ES512"
    EDDSA = "EdDSA", "EdDSA"


class TrustRole(models.TextChoices):
    """What a workload or a child of a token may be: no role that issues tokens, which would outlive it."""

    VIEWER = "viewer", "Viewer"
    READER = "reader", "Reader"
    EDITOR = "editor", "Editor"


class Trust(AuthenticatedRow):
    """What lets a workload sign in: whose signed tokens are accepted, and what they are exchanged for."""

    MAC_LABEL: ClassVar[str] = "trust"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "name", "preset", "issuer", "jwks_url", "jwks", "audience", "algorithm",
        "claims", "role", "prefix", "cidrs", "lifetime_minutes", "max_age_minutes", "single_use",
        "allows_pull_request_target", "pinned", "expires_at", "disabled_at", "valid_from",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at", "keys_from")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="trusts",
        help_text="Environment whose secrets the workloads use.",
    )
    name = ExactCharField(
        max_length=100, unique=True, help_text="Name by which workloads sign in; unique in the installation."
    )
    preset = models.CharField(
        max_length=16,
        choices=TrustPreset.choices,
        verbose_name="platform",
        help_text="Platform that signs the tokens of the workloads.",
    )
    issuer = ExactCharField(max_length=500, help_text="The iss claim that a token must have exactly.")
    jwks_url = ExactCharField(
        max_length=500,
        blank=True,
        default="",
        verbose_name="address of the keys",
        help_text="Where the issuer's public keys are. Empty: its discovery document names them.",
    )
    jwks = models.TextField(
        blank=True,
        default="",
        verbose_name="pasted keys",
        help_text="The issuer's public keys as a JSON Web Key Set. Empty: they are fetched.",
    )
    audience = ExactCharField(max_length=500, help_text="The aud claim that a token must have exactly.")
    algorithm = models.CharField(
        max_length=8,
        choices=TrustAlgorithm.choices,
        default=TrustAlgorithm.RS256,
        help_text="The one algorithm by which tokens are signed.",
    )
    claims = models.JSONField(
        default=dict, help_text="Claims of a token with the value or pattern that each must have."
    )
    role = models.CharField(
        max_length=16, choices=TrustRole.choices, help_text="Role of the workloads in the environment."
    )
    prefix = path_prefix(
        "Workloads reach only secrets below this path. Empty: all secrets.", verbose_name="path"
    )
    cidrs = models.JSONField(
        default=list,
        blank=True,
        verbose_name="allowed networks",
        help_text="Networks from which workloads may sign in and use their tokens. Empty: any.",
    )
    lifetime_minutes = models.PositiveSmallIntegerField(
        default=15,
        verbose_name="lifetime of tokens",
        help_text="Minutes for which a workload's service token is valid, 15 to 60.",
    )
    max_age_minutes = models.PositiveSmallIntegerField(
        default=60,
        verbose_name="age of accepted tokens",
        help_text="Minutes within which the platform must have issued a token that is accepted.",
    )
    single_use = models.BooleanField(
        default=False, help_text="Whether each token of the platform is accepted once."
    )
    allows_pull_request_target = models.BooleanField(
        default=False, help_text="Whether GitHub workflows that run for pull_request_target may sign in."
    )
    pinned = ExactCharField(
        max_length=200,
        blank=True,
        default="",
        editable=False,
        help_text="Owner of the GitHub repository at the first sign-in; tokens of another are refused.",
    )
    expires_at = optional_timestamp(
        "expires", "When the trust ends, in UTC. Empty: it does not end by itself."
    )
    disabled_at = optional_timestamp(
        "disabled", "When the trust was disabled, in UTC. Empty: it is enabled.", editable=False
    )
    valid_from = timestamp(
        help_text="Tokens that were issued before this time in UTC no longer work; a change sets it."
    )
    suspended_at = optional_timestamp(
        "suspended", "Set by a restore until an operator releases the trust, in UTC.", editable=False
    )
    keys_from = optional_timestamp(
        "keys fetched",
        "Keys that were fetched before this time in UTC count no longer. Empty: no such time was set.",
        editable=False,
    )
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="Person who created the trust. Empty: a service token or a command.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the trust was created, in UTC."
    )
    last_used_at = optional_timestamp(
        "last sign-in", "When a workload signed in last, in UTC, to the minute. Empty: never.", editable=False
    )
    last_refused_at = optional_timestamp(
        "last refused",
        "When a token of the issuer was refused last, in UTC, to the minute. Empty: never.",
        editable=False,
    )
    last_refusal = optional_text(
        help_text="Why a token of the issuer was refused last. Empty: none was.",
        max_length=32,
        editable=False,
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def is_live(self) -> bool:
        """Whether it lets workloads sign in: begun, and neither disabled nor suspended nor expired."""
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        begun = self.expires_at is None or has_begun(self.valid_from)
        return self.disabled_at is None and self.suspended_at is None and not expired and begun

    @property
    def definition(self) -> str:
        """What stands for whom it lets in and what they may do: 64 characters, others after a change."""
        told = {name: getattr(self, name) for name in _DEFINED_BY}
        return hashlib.sha256(canonical_json(told)).hexdigest()

    @property
    def networks(self) -> list[str]:
        """The networks to show; a forged row may hold anything there, and is listed all the same."""
        return [str(network) for network in self.cidrs] if isinstance(self.cidrs, list) else []

    @property
    def demands(self) -> list[tuple[str, str]]:
        """The claims to show with what is demanded of them, in the order of their names."""
        claims: Any = self.claims
        return (
            sorted((str(name), str(value)) for name, value in claims.items())
            if isinstance(claims, dict)
            else []
        )


class UsedJwt(models.Model):
    """A signed token that was used to sign in, where a trust accepts each once."""

    digest = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the issuer and the id of the token, in hexadecimal."
    )
    until = models.DateTimeField(
        db_index=True, help_text="When the token has expired anyway, in UTC; the row is removed then."
    )

    class Meta:
        verbose_name = "used token"

    def __str__(self) -> str:
        return f"used token {self.pk}"
