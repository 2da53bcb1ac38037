"""Which adversary plays against which backend: a backend without a line here fails the suite."""

from typing import Final

from sync_app.tests.adversary.aws_world import AwsAdversary
from sync_app.tests.adversary.kubernetes_world import KubernetesAdversary
from sync_app.tests.adversary.vault_world import VaultAdversary
from sync_app.tests.adversary.worlds import AdversaryWorld

WORLDS: Final[dict[str, type[AdversaryWorld]]] = {
    world.kind: world
    for world in (
        AwsAdversary,
        KubernetesAdversary,
        VaultAdversary,
    )
}

# Systems without compare-and-set: another writer's last value can go in the milliseconds between a look and a
# write, so the adversary would always win. Their own tests hold what is promised instead.
NOT_PLAYED: Final[dict[str, str]] = {
    "github_actions": "sync_app/tests/backends/test_github.py",
    "github_variables": "sync_app/tests/backends/test_github_variables.py",
    "gitlab_ci": "sync_app/tests/backends/test_gitlab.py",
    "aws_parameter_store": "sync_app/tests/backends/test_parameter_store.py",
}
