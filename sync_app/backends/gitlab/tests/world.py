"""Variables of a strict GitLab, whose store the other client changes directly."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync_app.backends.base import Backend
from sync_app.backends.gitlab.backend import GitLabVariables
from sync_app.backends.gitlab.tests.strict_server import PROJECT, SCOPE, TOKEN, GitLab
from sync_app.tests.strict_application import Refused, serving
from sync_app.tests.worlds import World, variable


class GitLabWorld(World):
    """The variables of a project."""

    kind = "gitlab_ci"
    fixture = "gitlab"
    compares = False
    absent = Refused
    largest = 10_000
    deletes_recoverably = False
    has_folders = False

    def __init__(self, url: str, gitlab: GitLab) -> None:
        super().__init__()
        self.gitlab, self.owner = gitlab, gitlab.project
        self.destination = {"address": url, "project": PROJECT, "prefix": self.prefix}
        self.credentials = {"token": TOKEN}

    def backend(self, **changes: str) -> Backend:
        return GitLabVariables(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.gitlab.put(self.owner, variable(path), value=value, masked=False)

    def value(self, path: str) -> str:
        return str(self.found(path)["value"])

    def found(self, path: str) -> dict[str, Any]:
        """Return a variable with all its attributes."""
        try:
            return self.owner.variables[variable(path), SCOPE]
        except KeyError:
            raise Refused(404, "404 Variable Not Found") from None

    def wait(self, seconds: int) -> None:
        self.gitlab.now += seconds

    def remove(self, path: str) -> None:
        self.gitlab.remove(self.owner, variable(path))

    def label(self, path: str, key: str, text: str) -> None:
        described = f"{key}={text} {self.found(path)['description'] or ''}".strip()
        self.gitlab.put(self.owner, variable(path), description=described)

    def labels(self, path: str) -> dict[str, str]:
        described = self.found(path)["description"]
        return {"description": described} if described else {}


@pytest.fixture
def gitlab(db: None) -> Iterator[GitLabWorld]:
    """A GitLab, with the database that holds the key of its versions."""
    stand_in = GitLab()
    with serving(stand_in) as url:
        yield GitLabWorld(url, stand_in)
