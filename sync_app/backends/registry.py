"""The kinds of systems that Keeper syncs with; adding one is a class and a line here."""

from sync_app.backends.aws.backend import AwsSecretsManager
from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.base import Backend
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.vault.backend import VaultKv2

BACKENDS: dict[str, type[Backend]] = {
    "aws_secrets_manager": AwsSecretsManager,
    "aws_parameter_store": AwsParameterStore,
    "kubernetes": KubernetesSecrets,
    "vault_kv2": VaultKv2,
}
