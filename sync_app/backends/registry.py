"""The kinds of systems that Keeper syncs with; adding one is a class and a line here."""

from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Capabilities
from sync_app.backends.forgejo.backend import ForgejoSecrets
from sync_app.backends.github.backend import GitHubActions, GitHubVariables
from sync_app.backends.gitlab.backend import GitLabVariables
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.vault.backend import VaultKv2

BACKENDS: dict[str, type[Backend]] = {
    "aws_secrets_manager": AwsSecretsManager,
    "aws_parameter_store": AwsParameterStore,
    "forgejo_actions": ForgejoSecrets,
    "github_actions": GitHubActions,
    "github_variables": GitHubVariables,
    "gitlab_ci": GitLabVariables,
    "kubernetes": KubernetesSecrets,
    "vault_kv2": VaultKv2,
}


def backend_of(kind: str) -> type[Backend]:
    """Return the class of a kind of system; that of all of them for one that this Keeper does not know."""
    return BACKENDS.get(kind, Backend)


def plan_notice_of(kind: str) -> str:
    """Return what a plan states about every secret of a kind of system; empty for one without a notice."""
    return backend_of(kind).plan_notice


def capabilities_of(kind: str) -> Capabilities:
    """Return what a kind of system guarantees; the defaults for one that this Keeper does not know."""
    return backend_of(kind).capabilities
