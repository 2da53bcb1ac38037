"""Secrets and variables of a strict GitHub, whose store the other client changes directly."""

from collections.abc import Iterator
from random import Random

import pytest

from core.network.outbound import Reply
from sync_app.backends.base import Backend
from sync_app.backends.github.backend import GitHubActions, GitHubVariables
from sync_app.backends.github.tests.strict_server import OWNER, REPOSITORY, TOKEN, GitHub, Items
from sync_app.tests.strict_application import Refused, serving
from sync_app.tests.worlds import World, variable


class GitHubWorld(World):
    """The secrets of a repository; tests read values that GitHub shows to nobody but workflows."""

    kind = "github_actions"
    fixture = "github"
    compares = False
    absent = Refused
    largest = 48 * 1024
    deletes_recoverably = False
    has_folders = False
    keeps_marks = False
    reads_values = False

    def __init__(self, url: str, github: GitHub) -> None:
        super().__init__()
        self.github, self.place = github, github.repository
        self.items: Items = self.place
        self.destination = {
            "address": url,
            "owner": OWNER,
            "repository": REPOSITORY,
            "prefix": self.prefix,
        }
        self.credentials = {"token": TOKEN}

    def backend(self, **changes: str) -> Backend:
        return GitHubActions(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.github.put(self.items, variable(path), value)

    def value(self, path: str) -> str:
        return str(self.items.secrets[variable(path)]["value"])

    def wait(self, seconds: int) -> None:
        self.github.now += seconds

    def remove(self, path: str) -> None:
        self.github.remove(self.items, variable(path))

    def label(self, path: str, key: str, text: str) -> None:
        """Do nothing: there are no labels."""

    def labels(self, path: str) -> dict[str, str]:
        if variable(path) not in self.items.secrets:
            raise Refused(404, "Not Found")
        return {}

    def limited(self, random: Random) -> Reply:
        message = b'{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
        return random.choice(
            [
                Reply(403, {}, message),
                Reply(429, {"Retry-After": "60"}, message),
                Reply(403, {"Retry-After": "60"}, b"{}"),
            ]
        )


class GitHubVariablesWorld(GitHubWorld):
    """The variables of a repository."""

    kind = "github_variables"
    fixture = "github_variables"
    absent = Refused
    reads_values = True

    def __init__(self, url: str, github: GitHub) -> None:
        super().__init__(url, github)
        self.items = github.repository.variables

    def backend(self, **changes: str) -> Backend:
        return GitHubVariables(destination=self.destination | changes, credentials=self.credentials)


@pytest.fixture
def github() -> Iterator[GitHubWorld]:
    stand_in = GitHub()
    with serving(stand_in) as url:
        yield GitHubWorld(url, stand_in)


@pytest.fixture
def github_variables(db: None) -> Iterator[GitHubVariablesWorld]:
    """The variables of a GitHub, with the database that holds the key of their versions."""
    stand_in = GitHub()
    with serving(stand_in) as url:
        yield GitHubVariablesWorld(url, stand_in)
