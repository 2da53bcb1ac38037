"""Fixtures of the migrations' tests."""

import pytest

from sync_app.migration import credentials, mounts, passes, service
from sync_app.migration.sources import registry
from sync_app.tests.migration.memory import CANARY, Memory


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    monkeypatch.setattr(registry, "SOURCES", {**registry.SOURCES, "memory": Memory})
    for user in (credentials, mounts, service):
        monkeypatch.setattr(user, "SOURCES", registry.SOURCES)
    monkeypatch.setattr(passes, "_BATCH", 3)
    monkeypatch.setattr(
        Memory, "secrets", {f"s{each}": [f"{CANARY} {each} {n}" for n in (1, 2)] for each in range(10)}
    )
    monkeypatch.setattr(Memory, "before", staticmethod(lambda _path: None))
    return Memory
