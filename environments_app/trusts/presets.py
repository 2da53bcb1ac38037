"""What is known of the platforms that sign tokens for their workloads. No Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from environments_app.trusts.jwt.rules import is_exact

OWNER_ID: Final = "repository_owner_id"
_AWS: Final = "/https:~1~1sts.amazonaws.com~1/"
_GOOGLE: Final = "/google/compute_engine/"
_CIRCLE: Final = "oidc.circleci.com/"


class Asked(NamedTuple):
    """A claim that a new trust is asked for by its label; `before` is what each value begins with."""

    label: str
    claim: str
    help: str
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A platform: its defaults, and which of its claims a trust can rely on."""

    label: str
    # Of the sprite: our own mark of the kind of platform.
    icon: str = "pipeline"
    issuer: str = ""
    algorithm: str = "RS256"
    max_age_minutes: int = 60
    single_use: bool = False
    # Whether a job or a pod can ask for a token for several audiences.
    lists_audiences: bool = False
    # At least one of them has an exact value in each trust; none named: any claim may be the one.
    identifying: frozenset[str] = frozenset()
    # Of each of these sets one claim is exact: many customers of the platform share its issuer.
    required: tuple[frozenset[str], ...] = ()
    # A claim, and one that counts with it: an address that the issuer has verified.
    implied: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    # The claims that may have a pattern.
    patterns: frozenset[str] = frozenset({"sub"})
    # The claims that events hold besides those that the trust names.
    recorded: tuple[str, ...] = ()
    # What a new trust shows as an example.
    example: Mapping[str, str] = field(default_factory=dict)
    # The claim whose first value is stored, and compared from then on.
    pinned: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    # What the form of a trust asks for, in place of the names of claims.
    asks: tuple[Asked, ...] = ()
    # What the issuer of a customer looks like, where there is none of the whole platform.
    issuer_example: str = ""
    # Where the lines to copy belong, and the shell's word that holds the token, with {audience}.
    place: str = ""
    fetch: str = ""

    def identifies(self, claims: Mapping[str, str]) -> bool:
        """Return whether claims identify the workload exactly."""
        exact = {name for name, value in claims.items() if is_exact(value)}
        is_named = bool(exact & self.identifying if self.identifying else exact)
        return is_named and all(exact & one_of for one_of in self.required)


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "github": Preset(
            label="GitHub Actions",
            icon="branch",
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
            asks=(
                Asked("Repository", "repository", "Such as example/shop."),
                Asked("Branch", "ref", "Such as main. Leave blank for any.", "refs/heads/"),
                Asked("Environment", "environment", "The job's environment at GitHub. Leave blank for any."),
            ),
            place="Add this to a file in .github/workflows.",
        ),
        "gitlab": Preset(
            label="GitLab CI",
            icon="merge",
            issuer="https://gitlab.com",
            lists_audiences=True,
            identifying=frozenset({"sub", "project_path", "project_id", "namespace_path", "namespace_id"}),
            patterns=frozenset({"sub", "ref", "project_path", "environment"}),
            recorded=("project_path", "ref", "pipeline_id", "job_id", "user_login"),
            example={"project_path": "example/shop", "ref": "main", "ref_protected": "true"},
            asks=(
                Asked("Project", "project_path", "With its groups, such as example/shop."),
                Asked("Branch", "ref", "Such as main. Leave blank for any."),
                Asked("Environment", "environment", "The job's environment at GitLab. Leave blank for any."),
            ),
            place="Add this to .gitlab-ci.yml. The job needs the bao command (OpenBao).",
        ),
        "kubernetes": Preset(
            label="Kubernetes",
            icon="wheel",
            issuer="https://kubernetes.default.svc.cluster.local",
            max_age_minutes=24 * 60,
            lists_audiences=True,
            identifying=frozenset({"sub", "/kubernetes.io/namespace"}),
            patterns=frozenset({"sub"}),
            recorded=("/kubernetes.io/namespace", "/kubernetes.io/pod/name"),
            example={"sub": "system:serviceaccount:shop:default"},
            asks=(
                Asked(
                    "Service account", "sub", "Such as shop:default.", "system:serviceaccount:"
                ),
            ),
        ),
        "aws": Preset(
            label="AWS",
            icon="cloud",
            single_use=True,
            identifying=frozenset({"sub", f"{_AWS}aws_account"}),
            recorded=(f"{_AWS}aws_account", f"{_AWS}source_region", f"{_AWS}org_id"),
            example={"sub": "arn:aws:iam::111122223333:role/shop"},
            asks=(
                Asked("Role", "sub", "Its ARN, such as arn:aws:iam::111122223333:role/shop."),
                Asked("Account", f"{_AWS}aws_account", "12 digits. Leave blank where the role is named."),
            ),
            issuer_example="https://ID.tokens.sts.global.api.aws, as "
            "get-outbound-web-identity-federation-info "
            "of aws iam shows it.",
            place="Run this where the role's credentials are. Switch the account's federation on "
            "once, by aws iam "
            "enable-outbound-web-identity-federation. The role needs sts:GetWebIdentityToken; only regional "
            "endpoints of STS answer.",
            fetch="$(aws sts get-web-identity-token --audience {audience} --signing-algorithm RS256 "
            "--duration-seconds 300 --query WebIdentityToken --output text)",
        ),
        "gcp": Preset(
            label="Google Cloud",
            icon="cloud",
            issuer="https://accounts.google.com",
            identifying=frozenset({"sub", "email"}),
            implied={"email": ("email_verified", "true")},
            patterns=frozenset(),
            recorded=("email", "azp", f"{_GOOGLE}project_id", f"{_GOOGLE}instance_name"),
            example={"email": "shop@example.iam.gserviceaccount.com"},
            asks=(
                Asked("Service account", "email", "Such as shop@example.iam.gserviceaccount.com."),
                Asked("Project", f"{_GOOGLE}project_id", "Of a virtual machine. Leave blank for any."),
            ),
            place="Run this on a virtual machine, in Cloud Run or GKE. These tokens have no id of "
            "their own: a trust "
            "cannot accept each once.",
            fetch="$(curl -sSf -G -H 'Metadata-Flavor: Google' --data-urlencode audience={audience} "
            "-d format=full "
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity)",
        ),
        "azure": Preset(
            label="Azure",
            icon="cloud",
            max_age_minutes=24 * 60,
            identifying=frozenset({"oid"}),
            patterns=frozenset(),
            recorded=("oid", "xms_mirid", "appid", "azp", "tid"),
            example={"oid": "00000000-0000-0000-0000-000000000000"},
            asks=(Asked("Managed identity", "oid", "Its object (principal) ID."),),
            issuer_example="https://sts.windows.net/TENANT/ for tokens of version 1, "
            "https://login.microsoftonline.com/TENANT/v2.0 for version 2.",
            place="Run this where the managed identity is. The audience is the App ID URI of a "
            "registration for "
            "Keeper (version 1), or the ID of that registration (version 2).",
            fetch="$(curl -sSf -G -H 'Metadata: true' --data-urlencode resource={audience} -d "
            "api-version=2018-02-01 "
            "http://169.254.169.254/metadata/identity/oauth2/token | jq -r .access_token)",
        ),
        "circleci": Preset(
            label="CircleCI",
            identifying=frozenset({f"{_CIRCLE}project-id"}),
            patterns=frozenset({f"{_CIRCLE}vcs-ref", f"{_CIRCLE}vcs-origin"}),
            recorded=(f"{_CIRCLE}project-id", f"{_CIRCLE}vcs-origin", f"{_CIRCLE}vcs-ref"),
            example={f"{_CIRCLE}project-id": "00000000-0000-0000-0000-000000000000"},
            refused={f"{_CIRCLE}ssh-rerun": "true"},
            asks=(
                Asked("Project", f"{_CIRCLE}project-id", "Its ID, in the project's settings."),
                Asked("Repository", f"{_CIRCLE}vcs-origin", "Such as github.com/a/shop: keeps forks out."),
                Asked("Branch", f"{_CIRCLE}vcs-ref", "Such as main. Leave blank for any.", "refs/heads/"),
            ),
            issuer_example="https://oidc.circleci.com/org/ORGANISATION-ID.",
            place="Add this to a run step of .circleci/config.yml. Reruns with SSH are refused.",
            fetch="$(circleci run oidc get --claims \"$(jq -nc --arg aud {audience} '{{aud: $aud}}')\")",
        ),
        "buildkite": Preset(
            label="Buildkite",
            issuer="https://agent.buildkite.com",
            max_age_minutes=15,
            required=(
                frozenset({"organization_id", "organization_slug"}),
                frozenset({"pipeline_id", "pipeline_slug"}),
            ),
            patterns=frozenset({"sub", "build_branch"}),
            recorded=("organization_slug", "pipeline_slug", "build_branch", "build_commit", "job_id"),
            example={"organization_slug": "example", "pipeline_slug": "shop", "build_branch": "main"},
            asks=(
                Asked("Organisation", "organization_slug", "As in its address at Buildkite."),
                Asked("Pipeline", "pipeline_slug", "As in its address at Buildkite."),
                Asked("Branch", "build_branch", "Such as main. Leave blank for any."),
            ),
            place="Add this to a command of the pipeline.",
            fetch="$(buildkite-agent oidc request-token --audience {audience})",
        ),
        "terraform": Preset(
            label="Terraform Cloud",
            issuer="https://app.terraform.io",
            max_age_minutes=24 * 60,
            required=(
                frozenset({"terraform_organization_id", "terraform_organization_name"}),
                frozenset({"terraform_workspace_id", "terraform_workspace_name", "terraform_project_id"}),
            ),
            recorded=("terraform_full_workspace", "terraform_run_id", "terraform_run_phase"),
            example={
                "terraform_organization_name": "example",
                "terraform_workspace_name": "shop",
                "terraform_run_phase": "apply",
            },
            asks=(
                Asked("Organisation", "terraform_organization_name", "Its name at Terraform Cloud."),
                Asked("Workspace", "terraform_workspace_name", "Its name at Terraform Cloud."),
                Asked("Run phase", "terraform_run_phase", "plan or apply. Leave blank for both."),
            ),
            place="Set TFC_WORKLOAD_IDENTITY_AUDIENCE of the workspace to the trust's audience. "
            "These tokens have no "
            "id of their own: a trust cannot accept each once.",
            fetch='"$TFC_WORKLOAD_IDENTITY_TOKEN"',
        ),
        "bitbucket": Preset(
            label="Bitbucket",
            identifying=frozenset({"repositoryUuid"}),
            patterns=frozenset(),
            recorded=("repositoryUuid", "pipelineUuid", "deploymentEnvironmentUuid", "branchName"),
            example={"repositoryUuid": "{00000000-0000-0000-0000-000000000000}"},
            asks=(
                Asked("Repository", "repositoryUuid", "Its UUID with braces, in its settings."),
                Asked(
                    "Environment",
                    "deploymentEnvironmentUuid",
                    "The deployment environment's UUID with braces. Leave blank for any.",
                ),
                Asked("Branch", "branchName", "Any writer chooses its name: prefer an environment."),
            ),
            issuer_example=""
            "https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc.",
            place="Add this to a script of bitbucket-pipelines.yml, in a step with oidc: true. The "
            "audience is that of "
            "the workspace (ari:cloud:bitbucket::workspace/UUID), or the step's own.",
            fetch='"$BITBUCKET_STEP_OIDC_TOKEN"',
        ),
        "oidc": Preset(label="OpenID Connect", icon="shield", example={"sub": "a-service"}),
    }
)  # fmt: skip
