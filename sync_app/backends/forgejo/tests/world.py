"""Secrets of a strict Forgejo and of a strict Gitea, whose store the other client changes directly."""

from collections.abc import Iterator

import pytest

from sync_app.backends.base import Backend
from sync_app.backends.forgejo.backend import ForgejoSecrets
from sync_app.backends.forgejo.tests.strict_server import OWNER, REPOSITORY, TOKEN, Forgejo
from sync_app.tests.strict_application import Refused, serving
from sync_app.tests.worlds import World, variable


class ForgejoWorld(World):
    """The secrets of a repository; tests read values that are shown to nobody but workflows."""

    kind = "forgejo_actions"
    fixture = "forgejo"
    absent = Refused
    largest = 65_000
    deletes_recoverably = False
    has_folders = False
    keeps_marks = False
    reads_values = False
    compares = False
    shows_writes = False
    alters = "\r"

    def __init__(self, url: str, forgejo: Forgejo) -> None:
        super().__init__()
        self.forgejo, self.secrets = forgejo, forgejo.repository
        self.destination = {
            "address": url,
            "owner": OWNER,
            "repository": REPOSITORY,
            "prefix": self.prefix,
        }
        self.credentials = {"token": TOKEN}

    def backend(self, **changes: str) -> Backend:
        return ForgejoSecrets(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.forgejo.put(self.secrets, variable(path), value)

    def value(self, path: str) -> str:
        return str(self.secrets[variable(path)]["value"])

    def remove(self, path: str) -> None:
        self.forgejo.remove(self.secrets, variable(path))

    def wait(self, seconds: int) -> None:
        self.forgejo.now += seconds

    def label(self, path: str, key: str, text: str) -> None:
        """Do nothing: there are no labels."""

    def labels(self, path: str) -> dict[str, str]:
        if variable(path) not in self.secrets:
            raise Refused(404, "The target couldn't be found.")
        return {}


class GiteaWorld(ForgejoWorld):
    """The same in a Gitea, which has a description beside each secret."""

    fixture = "gitea"


@pytest.fixture
def forgejo() -> Iterator[ForgejoWorld]:
    stand_in = Forgejo()
    with serving(stand_in) as url:
        yield ForgejoWorld(url, stand_in)


@pytest.fixture
def gitea() -> Iterator[GiteaWorld]:
    stand_in = Forgejo(is_gitea=True)
    with serving(stand_in) as url:
        yield GiteaWorld(url, stand_in)
