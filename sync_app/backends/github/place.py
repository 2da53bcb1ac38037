"""What secrets and variables of GitHub Actions share: one place, limits, no labels, no compare-and-set.

The module says where they lie, how many there may be, and what is shown of them.
"""

import functools
import hmac
import re
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from sync_app.backends.answers import VendorAnswer
from sync_app.backends.capabilities import FormField, Grant, Need, Permission
from sync_app.backends.github.answers import ANSWERS
from sync_app.backends.github.connection import GitHubConnection
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.rest import NotFound, RestAnswer, VariableBackend
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    MountMissing,
    OutcomeUnknown,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_DIGEST_DIGITS: Final = 32
_WINDOW: Final = re.compile(r"(-?\d+)-(-?\d+)")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many items a place takes."""

    repository: int
    environment: int
    organization: int

    def of(self, destination: Mapping[str, str]) -> int:
        if destination["environment"]:
            return self.environment
        return self.repository if destination["repository"] else self.organization


@dataclass(frozen=True, kw_only=True)
class Window:
    """The seconds since 1970, by GitHub's clock, within which a write took place."""

    since: int
    until: int

    def __str__(self) -> str:
        return f"{self.since}-{self.until}"

    @classmethod
    def parse(cls, text: str) -> "Window | None":
        """Return the window of a text that `str` made; None for another text."""
        found = _WINDOW.fullmatch(text)
        return cls(since=int(found[1]), until=int(found[2])) if found else None

    def covers(self, version: str) -> bool:
        return bool(version) and self.since <= version_seconds(version) <= self.until

    def is_after(self, version: str) -> bool:
        return not version or version_seconds(version) < self.since


def place_of(destination: Mapping[str, str], items: str) -> str:
    """Return the path of the secrets or variables. Raises BadDestination."""
    for name in ("owner", "repository"):
        if destination[name] and not _PART.fullmatch(destination[name]):
            raise BadDestination("letters, digits and _.-", field=name)
    owner, repository, environment = (destination[name] for name in ("owner", "repository", "environment"))
    if environment and not repository:
        raise BadDestination("an environment belongs to a repository: enter that as well", field="repository")
    if environment:
        return f"/repos/{owner}/{repository}/environments/{quote(environment, safe='')}/{items}"
    return f"/repos/{owner}/{repository}/actions/{items}" if repository else f"/orgs/{owner}/actions/{items}"


def parse_secret(name: str, found: Mapping[str, Any]) -> SecretMetadata:
    """Return the metadata of a secret: another one of the same name has another time of creation."""
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=f"{found['name']} {found['created_at']}",
        version=found["updated_at"],
    )


def parse_variable(name: str, found: Mapping[str, Any], *, key: bytes) -> SecretMetadata:
    """Return the metadata of a variable. The version is the time and a keyed digest of the value."""
    version = f"{found['updated_at']} {digest(found['value'], key=key)}"
    return replace(parse_secret(name, found), version=version)


def digest(value: str, *, key: bytes) -> str:
    """Return a keyed digest: without the key it reveals nothing of the value."""
    return hmac.digest(key, value.encode(), sha256).hex()[:_DIGEST_DIGITS]


def version_seconds(version: str) -> int:
    """Return the time of the last write that a version begins with, in seconds since 1970."""
    return int(datetime.fromisoformat(version.partition(" ")[0]).astimezone(UTC).timestamp())


# For so long a list that was answered proves that a 404 is of one item and not of the place.
_PROVED_SECONDS: Final = 10.0
_RESERVED: Final = "GITHUB_"
# "Limits for secrets" and "Limits for configuration variables".
LARGEST: Final = 48 * 1024
# Seconds by which the clocks of GitHub's machines may differ.
_CLOCKS_DIFFER: Final = 2
_UNKNOWN: Final = "GitHub took the write, and does not show it yet: it is looked at again"
CHANGED: Final = "it changed in GitHub after it was read: refresh the plan"


def fields_of_place(items: str) -> tuple[FormField, ...]:
    """Return the fields that locate the secrets, or the variables, of one place."""
    return (
        FormField(name="owner", label="Owner", required=True, fixed=True, help="User or organisation."),
        FormField(
            name="repository",
            label="Repository",
            fixed=True,
            help=f"Leave blank for {items} of the organisation.",
        ),
        FormField(
            name="environment",
            label="GitHub environment",
            fixed=True,
            help=f"Leave blank for {items} of the repository.",
        ),
        FormField(
            name="prefix",
            label="Prefix",
            fixed=True,
            help="team: names in GitHub begin with TEAM_. app/db-password becomes APP_DB_PASSWORD.",
        ),
        FormField(
            name="visibility",
            label="Visible to",
            rule=True,
            default="private",
            choices=("private", "all"),
            choice_labels=("Private repositories of the organisation", "All its repositories"),
            help=f"Of new {items} of an organisation.",
        ),
        FormField(
            name="address",
            label="API address",
            default="https://api.github.com",
            help="For GitHub Enterprise Server: https://github.example/api/v3",
        ),
    )


class GitHubPlace(VariableBackend):
    """The items of one kind in one place whose names begin with one prefix."""

    # As addresses and lists call them: secrets or variables.
    items: ClassVar[str]
    # The permission of a repository or organisation.
    area: ClassVar[str]
    limits: ClassVar[Limits]
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", sensitive=True, way="Token", help="Fine-grained or classic."),
        FormField(name="app_id", label="App ID", sensitive=True, way="GitHub App"),
        FormField(name="installation_id", label="Installation ID", sensitive=True, way="GitHub App"),
        FormField(
            name="private_key", label="Private key", sensitive=True, lines=True, way="GitHub App", help="PEM."
        ),
    )
    answers: ClassVar[tuple[VendorAnswer, ...]] = ANSWERS
    # "Best practices for using the REST API": a second between requests that change something.
    writes_per_second: ClassVar[float] = 1

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._place = place_of(self.destination, self.items)
        self._github = GitHubConnection(
            self.endpoint(self.destination), credentials=self._credentials, seconds=self.timeout_seconds
        )
        self._total: int | None = None
        self._proved_at = -_PROVED_SECONDS
        self._lock = threading.Lock()

    @property
    def max_value_bytes(self) -> int:
        return LARGEST

    @property
    def free_names(self) -> int | None:
        """How many more the place takes, also beside the prefix."""
        if self._total is None:
            return None
        return max(0, self.limits.of(self.destination) - self._total)

    @property
    def busy_seconds(self) -> float:
        return self._github.busy_seconds

    def identify_system(self) -> str:
        """Return the id of the repository or organisation, which stays when it is renamed."""
        owner, repository = self.destination["owner"], self.destination["repository"]
        found = self._ask_place(f"/repos/{owner}/{repository}" if repository else f"/orgs/{owner}").content
        host = (
            urlsplit(found.get("html_url") or "").hostname or urlsplit(self.destination["address"]).hostname
        )
        kind = "repositories" if repository else "organizations"
        place = f"github/{host}/{kind}/{int(found['id'])}"
        environment = self.destination["environment"]
        return f"{place}/environments/{quote(environment, safe='')}" if environment else place

    def close(self) -> None:
        self._github.close()

    def check_connection(self) -> None:
        self._list_page(1, size=1)

    def probe_permissions(self) -> Iterator[Permission]:
        """List, and send a write that GitHub takes from nobody: it asks for the permission first."""
        self._list_page(1, size=1)
        yield Permission(name=f"{self._area}: read", need=Need.READ, grant=Grant.GRANTED)
        name = f"{_RESERVED}KEEPER_CONNECTION_TEST_{uuid4().hex.upper()}"
        try:
            self._send_refused(name)
        except RequestRefused:
            grant = Grant.GRANTED
        except PermissionMissing:
            grant = Grant.MISSING
        else:
            self._send("DELETE", f"{self._place}/{name}")
            grant = Grant.GRANTED
        for need in (Need.WRITE, Need.DELETE):
            yield Permission(name=f"{self._area}: write", need=need, grant=grant)

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield what is shown of the items with the prefix, a page at a time."""
        number, seen = 1, 0
        while True:
            page = self._list_page(number, size=self.page_size)
            for found in page[self.items]:
                if (name := self._names.name(found["name"])) is not None:
                    yield self._parse(name, found)
            seen += len(page[self.items])
            if seen >= page["total_count"]:
                self._total = int(page["total_count"])
                return
            if not page[self.items]:
                raise TargetUnreachable("GitHub's list changed while it was read: try again")
            number += 1

    def predict_version(self, version: str, *, token: str) -> str:
        """Return nothing: the time of a write is GitHub's."""
        return ""

    @classmethod
    def is_write_of(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a version is of the time in which a write of unknown outcome took place."""
        window = Window.parse(intended)
        return seen.version == intended if window is None else window.covers(seen.version)

    @classmethod
    def is_older(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a look is of a time before the write, or shows nothing."""
        window = Window.parse(intended)
        return seen.presence is not Presence.PRESENT or (window is not None and window.is_after(seen.version))

    def delete(self, seen: SecretMetadata) -> None:
        """Delete it if it is as it was seen. GitHub keeps nothing of it."""
        self._require_unchanged(seen)
        self._send("DELETE", self._path(seen.name), of=seen.name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Do nothing: there are no labels, and Keeper's entry is its mark."""

    def unmark(self, seen: SecretMetadata) -> None:
        """Do nothing, as `mark`."""

    # --- How ----------------------------------------------------------------------------------

    def _explain_name(self, variable: str) -> str:
        """Refuse names that GitHub does not take ("Naming your secrets")."""
        if not variable.startswith(_RESERVED):
            return ""
        return f"GitHub keeps names that begin with {_RESERVED} for itself: rename the secret"

    def _find(self, name: str) -> SecretMetadata | None:
        return self._look(name)[0]

    def _path(self, name: str) -> str:
        return f"{self._place}/{quote(self._names.checked_variable(name), safe='')}"

    @property
    def _area(self) -> str:
        """The permission that a fine-grained token or an App needs here."""
        return "Environments" if self.destination["environment"] else self.area

    @property
    def _lacking(self) -> str:
        scope = "repo" if self.destination["repository"] else "admin:org"
        return (
            f"GitHub permits no write of {self.items} here: give the token or App the permission "
            f"{self._area}, read and write, and its user write access (a classic token: the scope {scope})"
        )

    def _require_place(self) -> None:
        self._list_page(1, size=1)

    def _send(
        self, method: str, path: str, *, of: str = "", body: Mapping[str, Any] | None = None
    ) -> RestAnswer:
        """Send a write; raises as `_change` does, and TargetBusy where a limit has no room for it."""
        self._github.require_room()
        return self._change(functools.partial(self._github.request, method, path, body=body), of=of)

    def _write_and_look(
        self, name: str, send: Callable[[], RestAnswer], *, before: SecretMetadata | None, at: int
    ) -> tuple[SecretMetadata, RestAnswer | None]:
        """Send a write and return the item that it made, and the answer; None for one that was lost.

        `before` is the item of the look just before, `at` the server's time of that look: a write of this
        time is this one. Raises OutcomeUnknown if a write was answered and the look after it does not show
        it, the error of a write that was not answered if the look does not show it either, and
        ChangedSinceRead if another client's came after it.
        """
        answer, lost = None, None
        try:
            answer = send()
        except (TargetUnreachable, TargetBusy) as error:
            if isinstance(error, TargetBusy) and error.retry_after:
                raise
            lost = error
        until = (answer.at if answer else 0) or self._github.server_now
        window = Window(since=at - _CLOCKS_DIFFER, until=until + _CLOCKS_DIFFER)
        if lost is not None:
            lost.made = str(window)
        try:
            made, _ = self._look(name)
        except BackendError as error:
            asked = getattr(error, "retry_after", 0.0)
            raise lost or OutcomeUnknown(_UNKNOWN, made=str(window), retry_after=asked) from error
        if made is None or window.is_after(made.version) or (lost is not None and made == before):
            raise lost or OutcomeUnknown(_UNKNOWN, made=str(window))
        if not window.covers(made.version):
            raise ChangedSinceRead("another client wrote it in GitHub just after Keeper: refresh the plan")
        return made, answer

    @abstractmethod
    def _send_refused(self, name: str) -> None:
        """Send a write of a reserved name, which GitHub refuses; raises as `_send` does."""

    def _ask_place(self, path: str, query: Mapping[str, str] | None = None) -> RestAnswer:
        """Ask for something that exists as long as the place does. Raises MountMissing where it does not."""
        try:
            return self._github.request("GET", path, query=query)
        except NotFound:
            raise MountMissing(
                "GitHub shows no such repository, environment or organisation to these credentials"
            ) from None

    def _list_page(self, number: int, *, size: int) -> dict[str, Any]:
        found = self._ask_place(self._place, {"per_page": str(size), "page": str(number)})
        self._proved_at = time.monotonic()
        page: dict[str, Any] = found.content
        return page

    @abstractmethod
    def _parse(self, name: str, found: Mapping[str, Any]) -> SecretMetadata:
        """Return the metadata of what GitHub shows of an item."""

    def _look(self, name: str) -> tuple[SecretMetadata | None, int]:
        """Return an item, None if it is not there, and the server's time of the look."""
        found, at = self._read(name)
        return (self._parse(name, found) if found else None), at

    def _read(self, name: str) -> tuple[dict[str, Any] | None, int]:
        """Return what GitHub shows of an item, None if it is not there, and the server's time."""
        try:
            found = self._github.request("GET", self._path(name))
        except NotFound:
            # GitHub answers the same for a place that the credentials may not see any more.
            if time.monotonic() - self._proved_at > _PROVED_SECONDS:
                self._require_place()
            return None, self._github.server_time
        return found.content, self._github.server_time

    def _require_unchanged(self, seen: SecretMetadata) -> tuple[SecretMetadata, int]:
        """Return an item and the server's time of the look. Raises ChangedSinceRead unless it is as seen."""
        now, at = self._look(seen.name)
        if now is None or (now.remote_id, now.version) != (seen.remote_id, seen.version):
            raise ChangedSinceRead(CHANGED)
        return now, at

    def _require_size(self, value: str) -> None:
        """Raise QuotaExceeded for a value that GitHub does not take."""
        if len(value.encode()) > LARGEST:
            raise QuotaExceeded(f"the value has more than the {LARGEST:,} bytes that GitHub takes")
