"""What is known of the platforms that sign tokens for their workloads. No Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from environments_app.trusts.jwt.rules import is_exact

OWNER_ID: Final = "repository_owner_id"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A platform: its defaults, and which of its claims a trust can rely on."""

    label: str
    issuer: str = ""
    algorithm: str = "RS256"
    max_age_minutes: int = 60
    single_use: bool = False
    # Whether a job or a pod can ask for a token for several audiences.
    lists_audiences: bool = False
    # At least one of them has an exact value in each trust; none named: any claim may be the one.
    identifying: frozenset[str] = frozenset()
    # The claims that may have a pattern.
    patterns: frozenset[str] = frozenset({"sub"})
    # The claims that events hold besides those that the trust names.
    recorded: tuple[str, ...] = ()
    # What a new trust shows as an example.
    example: Mapping[str, str] = field(default_factory=dict)
    # The claim whose first value is stored, and compared from then on.
    pinned: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    def identifies(self, claims: Mapping[str, str]) -> bool:
        """Return whether claims identify the workload exactly."""
        return any(
            is_exact(value) and (not self.identifying or name in self.identifying)
            for name, value in claims.items()
        )


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "github": Preset(
            label="GitHub Actions",
            issuer="https://token.actions.githubusercontent.com",
            max_age_minutes=15,
            single_use=True,
            identifying=frozenset(
                {"sub", "repository", "repository_id", "repository_owner", OWNER_ID, "job_workflow_ref"}
            ),
            patterns=frozenset({"sub", "ref", "environment", "workflow_ref", "job_workflow_ref"}),
            recorded=("repository", "ref", "event_name", "workflow_ref", "run_id", "actor", OWNER_ID),
            example={"repository": "example/shop", "ref": "refs/heads/main"},
            pinned=OWNER_ID,
            refused={"event_name": "pull_request_target"},
        ),
        "gitlab": Preset(
            label="GitLab CI",
            issuer="https://gitlab.com",
            lists_audiences=True,
            identifying=frozenset({"sub", "project_path", "project_id", "namespace_path", "namespace_id"}),
            patterns=frozenset({"sub", "ref", "project_path", "environment"}),
            recorded=("project_path", "ref", "pipeline_id", "job_id", "user_login"),
            example={"project_path": "example/shop", "ref": "main", "ref_protected": "true"},
        ),
        "kubernetes": Preset(
            label="Kubernetes",
            issuer="https://kubernetes.default.svc.cluster.local",
            max_age_minutes=24 * 60,
            lists_audiences=True,
            identifying=frozenset({"sub", "/kubernetes.io/namespace"}),
            patterns=frozenset({"sub"}),
            recorded=("/kubernetes.io/namespace", "/kubernetes.io/pod/name"),
            example={"sub": "system:serviceaccount:shop:default"},
        ),
        "oidc": Preset(label="OpenID Connect", example={"sub": "a-service"}),
    }
)  # fmt: skip
