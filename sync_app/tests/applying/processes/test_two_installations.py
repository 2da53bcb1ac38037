"""Two installations at one place: a restored copy beside its original, and two that know nothing of each other."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.state.contests import AT_ONCE
from sync_app.tests.applying.processes.pushes import installation
from sync_app.tests.worlds import World
from tests.processes import Process

# For the schema that is copied.
pytestmark = pytest.mark.django_db(transaction=True)

MODULE = "sync_app.tests.applying.processes.installations"
LEFT_ALONE = "not managed by Keeper"
NAMES = ("app/one", "app/two", "app/three")


class Installation:
    """One installation in a folder of its own."""

    def __init__(self, folder: Path, lease: Path | None = None) -> None:
        self.folder = folder
        environment = installation(folder, f"sqlite:///{folder / 'keeper.db'}")
        environment["KEEPER_LEASE_FILE"] = str(lease) if lease else ""
        self._process = Process(MODULE, environment)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        return self._process.ask(do, **request)

    def end(self) -> None:
        self._process.end()

    def copied(self, lease: Path | None = None) -> "Installation":
        """Return a copy: database, keys and all; nobody works while it is made."""
        copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, copy)
        return Installation(copy, lease)


@pytest.fixture
def original(tmp_path: Path, database: str) -> Path:
    folder = tmp_path / "original"
    folder.mkdir()
    shutil.move(database.removeprefix("sqlite:///"), folder / "keeper.db")
    return folder


@pytest.fixture
def started() -> Iterator[list[Installation]]:
    """Collect what ends with the test."""
    found: list[Installation] = []
    yield found
    for each in found:
        each.end()


def target_in(made: Installation, world: World, **rules: Any) -> None:
    made.ask(
        "target",
        interval_seconds=0,
        name="shared",
        backend=world.kind,
        destination=world.destination,
        credentials=world.credentials,
        **rules,
    )


def versions(world: World, name: str) -> int:
    path = f"{world.prefix}/{name}"
    if isinstance(world, AwsWorld):
        reply = world.client.list_secret_version_ids(SecretId=path, IncludeDeprecated=True)
        return len(reply["Versions"])
    assert isinstance(world, VaultWorld)
    return int(world.kv.read_secret_metadata(path, mount_point="secret")["data"]["current_version"])


@pytest.mark.torture
def test_of_a_deployment_one_installation_acts_and_two_come_to_rest(
    world: World, original: Path, tmp_path: Path, started: list[Installation]
) -> None:
    lease = tmp_path / "lease"
    first = Installation(original, lease)
    started.append(first)
    first.ask("prepare")
    first.ask("act")
    target_in(first, world, conflict="keeper_wins")
    first.ask("keep", values=dict.fromkeys(NAMES, "first"))
    assert first.ask("sync")["counts"] == {"create": 3}
    copy = first.copied(lease)
    started.append(copy)
    # A copy does nothing.
    first.ask("keep", values={"app/one": "second"})
    copied = copy.ask("sync")
    assert (copied["state"], "installation is not active" in copied["error"]) == ("failed", True)
    assert copy.ask("scheduled") == {"active": False, "due": 0}
    assert first.ask("sync")["counts"] == {"unchanged": 2, "update": 1}
    # Once it is activated, the original stands still.
    copy.ask("act")
    refused = first.ask("sync")
    assert (refused["state"], "installation is not active" in refused["error"]) == ("failed", True)
    assert first.ask("scheduled") == {"active": False, "due": 0}
    # Where the two see no common file, both act: they disagree, and that is a fight like any other.
    lease.unlink()
    reasons = []
    for number in range(2 * AT_ONCE):
        first.ask("keep", values={"app/one": f"of the original {number}"})
        reasons += [str(each.ask("sync")["items"].get("app/one")) for each in (first, copy)]
    assert any("there again each time" in reason for reason in reasons)
    assert versions(world, "app/one") <= 2 + 4 * AT_ONCE
    assert [versions(world, name) for name in NAMES[1:]] == [1, 1]


@pytest.mark.torture
def test_two_that_know_nothing_of_each_other_write_over_nothing(
    world: World, original: Path, started: list[Installation]
) -> None:
    other_folder = original.with_name("other")
    other_folder.mkdir()
    shutil.copy(original / "keeper.db", other_folder / "keeper.db")
    both = first, second = Installation(original), Installation(other_folder)
    started.extend(both)
    for each, names in ((first, NAMES[:2]), (second, NAMES[1:])):
        each.ask("found")
        each.ask("prepare")
        target_in(each, world, conflict="keeper_wins", deletion="recoverable", budget_percent=100)
        each.ask("keep", values=dict.fromkeys(names, f"of {each.folder.name}"))
    # At the same time, so that both want the name that they share.
    threads = [threading.Thread(target=each.ask, args=("sync",)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = {name: world.value(f"{world.prefix}/{name}") for name in NAMES}
    assert (values["app/one"], values["app/three"]) == ("of original", "of other")
    assert versions(world, "app/two") == 1
    winner, loser = both if values["app/two"] == "of original" else (second, first)
    for each in both:
        each.ask("keep", values={"app/two": f"again of {each.folder.name}"})
    # The loser leaves alone what is the other's, and gives the reason.
    left = {"app/two": LEFT_ALONE, "app/three" if loser is first else "app/one": LEFT_ALONE}
    for _ in range(2):
        told = loser.ask("sync")
        assert told["counts"] == {"unchanged": 1, "unmanaged": 2}
        assert {name: item[2] for name, item in told["items"].items()} == left
    told = winner.ask("sync")
    # In Vault the loser's mark may have come over the winner's, in the moment between its look and its write.
    writes = told["counts"] == {"unchanged": 1, "unmanaged": 1, "update": 1}
    assert writes or told["counts"] == {"ownership_lost": 1, "unchanged": 1, "unmanaged": 1}
    values["app/two"] = f"again of {winner.folder.name}" if writes else values["app/two"]
    # What the loser deletes in Keeper stays there.
    loser.ask("drop", name="app/two")
    loser.ask("sync")
    assert {name: world.value(f"{world.prefix}/{name}") for name in NAMES} == values
    assert [versions(world, name) for name in NAMES] == [1, 2 if writes else 1, 1]
