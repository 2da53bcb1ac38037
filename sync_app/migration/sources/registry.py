"""The kinds of sources."""

from collections.abc import Mapping
from typing import Final

from sync_app.migration.sources.base import Source
from sync_app.migration.sources.vault import VaultSource

SOURCES: Final[Mapping[str, type[Source]]] = {source.kind: source for source in (VaultSource,)}
