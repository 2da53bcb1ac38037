"""The kinds of sources."""

from collections.abc import Mapping
from typing import Final

from sync_app.migration.sources.aws import ParameterStore, SecretsManager
from sync_app.migration.sources.base import Source
from sync_app.migration.sources.keeper_export import KeeperExport
from sync_app.migration.sources.keeper_live import KeeperLive
from sync_app.migration.sources.kubernetes import Kubernetes
from sync_app.migration.sources.vault import VaultSource

SOURCES: Final[Mapping[str, type[Source]]] = {
    source.kind: source
    for source in (VaultSource, SecretsManager, ParameterStore, Kubernetes, KeeperLive, KeeperExport)
}
