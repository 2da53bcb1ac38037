"""What secrets and variables of GitHub Actions share: one place, limits, no labels, no compare-and-set.

The module says where they lie, how many there may be, and what is shown of them.
"""

import hmac
import re
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from sync_app.backends.answers import VendorAnswer
from sync_app.backends.capabilities import FormField, Grant, Need, Permission
from sync_app.backends.github.answers import ANSWERS
from sync_app.backends.github.connection import GitHubConnection
from sync_app.backends.observations import SecretMetadata
from sync_app.backends.rest import NotFound, RestAnswer
from sync_app.backends.timed import TimedBackend
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BadDestination,
    MountMissing,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetUnreachable,
)

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_DIGEST_DIGITS: Final = 32


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


# For so long a list that was answered proves that a 404 is of one item and not of the place.
_PROVED_SECONDS: Final = 10.0
_RESERVED: Final = "GITHUB_"
# "Limits for secrets" and "Limits for configuration variables".
LARGEST: Final = 48 * 1024


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


class GitHubPlace(TimedBackend):
    """The items of one kind in one place whose names begin with one prefix."""

    # As addresses and lists call them: secrets or variables.
    items: ClassVar[str]
    # The permission of a repository or organisation.
    area: ClassVar[str]
    summary_fields: ClassVar[tuple[str, ...]] = ("owner", "repository", "environment", "prefix")
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
        self._client = GitHubConnection(
            self.endpoint(self.destination), credentials=self._credentials, seconds=self.timeout_seconds
        )
        self._total: int | None = None
        self._proved_at = -_PROVED_SECONDS

    @property
    def max_value_bytes(self) -> int:
        return LARGEST

    @property
    def free_names(self) -> int | None:
        """How many more the place takes, also beside the prefix."""
        if self._total is None:
            return None
        return max(0, self.limits.of(self.destination) - self._total)

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

    # --- How ----------------------------------------------------------------------------------

    def _explain_name(self, variable: str) -> str:
        """Refuse names that GitHub does not take ("Naming your secrets")."""
        if not variable.startswith(_RESERVED):
            return ""
        return f"GitHub keeps names that begin with {_RESERVED} for itself: rename the secret"

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

    @abstractmethod
    def _send_refused(self, name: str) -> None:
        """Send a write of a reserved name, which GitHub refuses; raises as `_send` does."""

    def _ask_place(self, path: str, query: Mapping[str, str] | None = None) -> RestAnswer:
        """Ask for something that exists as long as the place does. Raises MountMissing where it does not."""
        try:
            return self._client.request("GET", path, query=query)
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
            found = self._client.request("GET", self._path(name))
        except NotFound:
            # GitHub answers the same for a place that the credentials may not see any more.
            if time.monotonic() - self._proved_at > _PROVED_SECONDS:
                self._require_place()
            return None, self._client.server_time
        return found.content, self._client.server_time

    def _require_size(self, value: str) -> None:
        """Raise QuotaExceeded for a value that GitHub does not take."""
        if len(value.encode()) > LARGEST:
            raise QuotaExceeded(f"the value has more than the {LARGEST:,} bytes that GitHub takes")
