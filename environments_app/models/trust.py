"""Trusts in the tokens that platforms give their workloads, and the tokens that were used up."""

from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.clock import has_begun
from environments_app.fields import ExactCharField
from environments_app.models.environment import Environment
from environments_app.models.user import User
from environments_app.names import MAX_PREFIX


class TrustPreset(models.TextChoices):
    """A platform whose tokens a trust accepts."""

    GITHUB = "github", "GitHub Actions"
    GITLAB = "gitlab", "GitLab CI"
    KUBERNETES = "kubernetes", "Kubernetes"
    OIDC = "oidc", "OpenID Connect"


class TrustAlgorithm(models.TextChoices):
    """The algorithm that the tokens of a trust are signed by."""

    RS256 = "RS256", "RS256"
    ES256 = "ES256", "ES256"
    EDDSA = "EdDSA", "EdDSA"


class TrustRole(models.TextChoices):
    """What a workload may be: no role that issues tokens, which would outlive the trust."""

    VIEWER = "viewer", "Viewer"
    READER = "reader", "Reader"
    EDITOR = "editor", "Editor"


class Trust(AuthenticatedRow):
    """What lets a workload sign in: whose signed tokens are accepted, and what they are exchanged for."""

    MAC_LABEL: ClassVar[str] = "trust"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid",
        "name",
        "preset",
        "issuer",
        "jwks_url",
        "jwks",
        "audience",
        "algorithm",
        "claims",
        "role",
        "prefix",
        "cidrs",
        "lifetime_minutes",
        "max_age_minutes",
        "single_use",
        "allows_pull_request_target",
        "pinned",
        "expires_at",
        "disabled_at",
        "valid_from",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at",)

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="trusts")
    # What a workload asks for; it names no environment.
    name = ExactCharField(max_length=100, unique=True)
    preset = models.CharField(max_length=16, choices=TrustPreset.choices)
    issuer = ExactCharField(max_length=500)
    # Where the keys are: one of these, or what the issuer's discovery document says.
    jwks_url = ExactCharField(max_length=500, blank=True, default="")
    jwks = models.TextField(blank=True, default="")
    audience = ExactCharField(max_length=500)
    algorithm = models.CharField(max_length=8, choices=TrustAlgorithm.choices, default=TrustAlgorithm.RS256)
    # Claim to the value or pattern that it has to fit.
    claims = models.JSONField(default=dict)
    role = models.CharField(max_length=16, choices=TrustRole.choices)
    prefix = ExactCharField(max_length=MAX_PREFIX, blank=True, default="")
    cidrs = models.JSONField(default=list, blank=True)
    lifetime_minutes = models.PositiveSmallIntegerField(default=15)
    max_age_minutes = models.PositiveSmallIntegerField(default=60)
    single_use = models.BooleanField(default=False)
    allows_pull_request_target = models.BooleanField(default=False)
    # Of the claim that the preset pins: its value at the first sign-in.
    pinned = ExactCharField(max_length=200, blank=True, default="", editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Tokens that were issued before it open nothing.
    valid_from = models.DateTimeField(default=timezone.now, editable=False)
    # Set by a restore until it is released.
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_refused_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Which rule a token of the issuer failed last: a fixed word.
    last_refusal = models.CharField(max_length=32, blank=True, default="", editable=False)

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

    # SHA-256 of issuer and token id, in hexadecimal.
    digest = models.CharField(max_length=64, unique=True)
    # From then on the token has expired anyway.
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"used token {self.pk}"
