"""Which adversary plays against which backend: a backend without a line here fails the suite."""

from typing import Final

from sync_app.tests.adversary.aws_world import AwsAdversary
from sync_app.tests.adversary.vault_world import VaultAdversary
from sync_app.tests.adversary.worlds import AdversaryWorld

WORLDS: Final[dict[str, type[AdversaryWorld]]] = {
    world.kind: world
    for world in (
        AwsAdversary,
        VaultAdversary,
    )
}
