"""Systems whose secrets are variables, each a strict stand-in whose store the other client changes directly."""

from typing import Any

from sync_app.backends.base import Backend
from sync_app.backends.github.backend import GitHubActions, GitHubVariables
from sync_app.backends.gitlab.backend import GitLabVariables
from sync_app.tests.worlds import World
from tests.rest_strict import gitlab as gitlab_strict
from tests.rest_strict.application import Refused
from tests.rest_strict.github import OWNER, REPOSITORY, TOKEN, GitHub, Items


def variable(path: str) -> str:
    """Return the variable that a path becomes."""
    return path.upper().replace("/", "_").replace("-", "_").replace(".", "_")


class GitHubWorld(World):
    """The secrets of a repository; tests read values that GitHub shows to nobody but workflows."""

    kind = "github_actions"
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

    def remove(self, path: str) -> None:
        self.github.remove(self.items, variable(path))

    def label(self, path: str, key: str, text: str) -> None:
        """Do nothing: there are no labels."""

    def labels(self, path: str) -> dict[str, str]:
        if variable(path) not in self.items.secrets:
            raise Refused(404, "Not Found")
        return {}


class GitHubVariablesWorld(GitHubWorld):
    """The variables of a repository."""

    kind = "github_variables"
    reads_values = True

    def __init__(self, url: str, github: GitHub) -> None:
        super().__init__(url, github)
        self.items = github.repository.variables

    def backend(self, **changes: str) -> Backend:
        return GitHubVariables(destination=self.destination | changes, credentials=self.credentials)


class GitLabWorld(World):
    """The variables of a project."""

    kind = "gitlab_ci"
    largest = 10_000
    deletes_recoverably = False
    has_folders = False

    def __init__(self, url: str, gitlab: gitlab_strict.GitLab) -> None:
        super().__init__()
        self.gitlab, self.owner = gitlab, gitlab.project
        self.destination = {"address": url, "project": gitlab_strict.PROJECT, "prefix": self.prefix}
        self.credentials = {"token": gitlab_strict.TOKEN}

    def backend(self, **changes: str) -> Backend:
        return GitLabVariables(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.gitlab.put(self.owner, variable(path), value=value, masked=False)

    def value(self, path: str) -> str:
        return str(self.found(path)["value"])

    def found(self, path: str) -> dict[str, Any]:
        """Return a variable with all its attributes."""
        try:
            return self.owner.variables[variable(path), gitlab_strict.SCOPE]
        except KeyError:
            raise Refused(404, "404 Variable Not Found") from None

    def remove(self, path: str) -> None:
        self.gitlab.remove(self.owner, variable(path))

    def label(self, path: str, key: str, text: str) -> None:
        described = f"{key}={text} {self.found(path)['description'] or ''}".strip()
        self.gitlab.put(self.owner, variable(path), description=described)

    def labels(self, path: str) -> dict[str, str]:
        described = self.found(path)["description"]
        return {"description": described} if described else {}
