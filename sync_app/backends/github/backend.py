"""GitHub Actions: the secrets of one repository, of one of its environments, or of an organisation.

Permissions of a fine-grained token or a GitHub App, each read and write: for a repository its *Secrets*, for
an environment the repository's *Environments*, for an organisation its *Secrets*. *Metadata* (read) comes
with them. A classic token needs the scope `repo`, for an organisation `admin:org`.

GitHub takes values and shows none, and a secret has no labels. Our own entry proves what is ours: the name
with the time of its creation; `updated_at` shows a later write of another client. Without compare-and-set
`update` and `delete` read before they act. A write within the same second as Keeper's is not noticed. What
another client wrote in the milliseconds between a read and a write is lost, because GitHub shows no value.
"""

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from nacl.public import PublicKey, SealedBox

from sync_app.backends.base import (
    Capabilities,
    FormField,
    Mark,
    SecretMetadata,
    SecretValue,
)
from sync_app.backends.github.connection import GitHubConnection
from sync_app.backends.github.secrets import parse_secret, place_of, version_seconds
from sync_app.backends.permissions import Grant, Need, Permission
from sync_app.backends.rest_backend import VariableBackend
from sync_app.backends.rest_client import NotFound, RestAnswer
from sync_app.errors import (
    OVERWROTE,
    ChangedSinceRead,
    MountMissing,
    NameUnusable,
    Overwritten,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)

# "Secrets", "Limits for secrets".
_LARGEST: Final = 48 * 1024
_MOST_OF_REPOSITORY: Final = 100
_MOST_OF_ORGANIZATION: Final = 1000
_PAGE: Final = 100
# For so long a list that was answered proves that a 404 is of one secret and not of the place.
_PROVED_SECONDS: Final = 10.0
# Seconds by which the clocks of GitHub's machines may differ.
_CLOCKS_DIFFER: Final = 2
_CHANGED: Final = "the secret changed in GitHub after it was read: refresh the plan"
_UNSEEN: Final = "GitHub shows no value of a secret: Keeper can only replace it"
_RESERVED: Final = "GITHUB_"


class GitHubActions(VariableBackend):
    """The secrets of one place whose names begin with one prefix."""

    label: ClassVar[str] = "GitHub Actions"
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="owner", label="Owner", required=True, fixed=True, help="User or organisation."),
        FormField(
            name="repository",
            label="Repository",
            fixed=True,
            help="Leave blank for secrets of the organisation.",
        ),
        FormField(
            name="environment",
            label="GitHub environment",
            fixed=True,
            help="Leave blank for secrets of the repository.",
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
            help="Of new secrets of an organisation.",
        ),
        FormField(
            name="address",
            label="API address",
            default="https://api.github.com",
            help="For GitHub Enterprise Server: https://github.example/api/v3",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", sensitive=True, way="Token", help="Fine-grained or classic."),
        FormField(name="app_id", label="App ID", sensitive=True, way="GitHub App"),
        FormField(name="installation_id", label="Installation ID", sensitive=True, way="GitHub App"),
        FormField(
            name="private_key", label="Private key", sensitive=True, lines=True, way="GitHub App", help="PEM."
        ),
    )
    # "Best practices for using the REST API": a second between requests that change something.
    writes_per_second: ClassVar[float] = 1
    page_size: ClassVar[int] = _PAGE
    capabilities: ClassVar[Capabilities] = Capabilities(
        deletes_recoverably=False, keeps_marks=False, reads_values=False
    )
    plan_notice: ClassVar[str] = (
        "GitHub shows no values. Keeper's own record proves which secrets it manages, and the time of the "
        "last change shows whether another client wrote one."
    )

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._place = place_of(self.destination)
        self._github = GitHubConnection(
            self.endpoint(self.destination), credentials=self._credentials, seconds=self.timeout_seconds
        )
        self._key: tuple[str, SealedBox[PublicKey]] | None = None
        self._total: int | None = None
        self._proved_at = -_PROVED_SECONDS
        self._lock = threading.Lock()

    @property
    def max_value_bytes(self) -> int:
        """How many bytes a secret may have."""
        return _LARGEST

    @property
    def free_names(self) -> int | None:
        """How many secrets the place still takes, also beside the prefix."""
        if self._total is None:
            return None
        return max(0, self._most - self._total)

    @property
    def busy_seconds(self) -> float:
        """For how many seconds GitHub asked for no request."""
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
        """Give back what was borrowed, and close the connections."""
        self._github.close()

    def check_connection(self) -> None:
        """List one secret."""
        self._list_page(1, size=1)

    def probe_permissions(self) -> Iterator[Permission]:
        """List, and delete a secret that does not exist: GitHub asks for the permission first."""
        area = "Environments" if self.destination["environment"] else "Secrets"
        self._list_page(1, size=1)
        yield Permission(name=f"{area}: read", need=Need.READ, grant=Grant.GRANTED)
        try:
            self._github.request("DELETE", f"{self._place}/KEEPER_CONNECTION_TEST_{uuid4().hex.upper()}")
        except NotFound:
            grant = Grant.GRANTED
        except PermissionMissing:
            grant = Grant.MISSING
        for need in (Need.WRITE, Need.DELETE):
            yield Permission(name=f"{area}: write", need=need, grant=grant)

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield the names and times of the secrets with the prefix, 100 a page."""
        number, seen = 1, 0
        while True:
            page = self._list_page(number, size=self.page_size)
            for found in page["secrets"]:
                if (name := self._names.name(found["name"])) is not None:
                    yield parse_secret(name, found)
            seen += len(page["secrets"])
            if seen >= page["total_count"]:
                self._total = int(page["total_count"])
                return
            if not page["secrets"]:
                raise TargetUnreachable("GitHub's list changed while it was read: try again")
            number += 1

    def read_value(self, name: str) -> SecretValue | None:
        """Raise ValueUnusable for an existing secret: no value is shown."""
        if self._look(name)[0] is None:
            return None
        raise ValueUnusable(_UNSEEN)

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:  # noqa: ARG002 - every backend's signature
        """Create a secret, only if there is none of the name.

        Raises Overwritten if another client created it in the milliseconds between: GitHub answers that it
        replaced one.
        """
        if problem := self.explain_refusal("create", name):
            raise NameUnusable(problem)
        seen, at = self._look(name)
        if seen is not None:
            raise ChangedSinceRead(_CHANGED)
        made, is_new = self._put(name, value, before="", at=at)
        if not is_new:
            raise Overwritten(f"{OVERWROTE}; GitHub keeps nothing of it, so that it could not be restored")
        return made

    def update(
        self,
        seen: SecretMetadata,
        value: str,
        *,
        token: str,  # noqa: ARG002 - every backend's signature
        known: bool = False,  # noqa: ARG002 - every backend's signature
        repeated: bool = False,  # noqa: ARG002 - every backend's signature
    ) -> SecretMetadata:
        """Read, write if the secret is as it was seen, and look at the time of the write."""
        now, at = self._look(seen.name)
        if now is None or (now.remote_id, now.version) != (seen.remote_id, seen.version):
            raise ChangedSinceRead(_CHANGED)
        return self._put(seen.name, value, before=now.version, at=at)[0]

    def predict_version(self, version: str, *, token: str) -> str:  # noqa: ARG002 - every backend's signature
        """Return nothing: the time of a write is GitHub's."""
        return ""

    def delete(self, seen: SecretMetadata) -> None:
        """Delete the secret if it is as it was seen. GitHub keeps nothing of it."""
        now, _ = self._look(seen.name)
        if now is None or (now.remote_id, now.version) != (seen.remote_id, seen.version):
            raise ChangedSinceRead(_CHANGED)
        self._github.request("DELETE", self._path(seen.name))

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Do nothing: a secret has no labels, and Keeper's entry is its mark."""

    def unmark(self, seen: SecretMetadata) -> None:
        """Do nothing, as `mark`."""

    # --- How ----------------------------------------------------------------------------------

    def _explain_name(self, variable: str) -> str:
        """Refuse names that GitHub does not take ("Secrets", "Naming your secrets")."""
        if not variable.startswith(_RESERVED):
            return ""
        return f"GitHub keeps names that begin with {_RESERVED} for itself: rename the secret"

    def _find(self, name: str) -> SecretMetadata | None:
        return self._look(name)[0]

    @property
    def _most(self) -> int:
        return _MOST_OF_REPOSITORY if self.destination["repository"] else _MOST_OF_ORGANIZATION

    def _path(self, name: str) -> str:
        return f"{self._place}/{quote(self._names.checked_variable(name), safe='')}"

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

    def _look(self, name: str) -> tuple[SecretMetadata | None, int]:
        """Return a secret, None if it is not there, and the server's time of the look."""
        try:
            found = self._github.request("GET", self._path(name))
        except NotFound:
            # GitHub answers the same for a place that the credentials may not see any more.
            if time.monotonic() - self._proved_at > _PROVED_SECONDS:
                self._list_page(1, size=1)
            return None, self._github.server_time
        return parse_secret(name, found.content), found.at

    def _put(self, name: str, value: str, *, before: str, at: int) -> tuple[SecretMetadata, bool]:
        """Write a value and return the secret, and whether GitHub made a new one.

        `before` is the version of the look, `at` the server's time of that look. If the answer is lost, a
        write since then is taken for this one, as it is where the answer comes.
        """
        until, is_new, lost = 0, not before, None
        try:
            answer = self._send(name, value)
            is_new, until = answer.status == HTTPStatus.CREATED, answer.at
        except (TargetUnreachable, TargetBusy) as error:
            if isinstance(error, TargetBusy) and error.retry_after:
                raise
            lost = error
        made, _ = self._look(name)
        if made is None:
            raise lost or ChangedSinceRead(_CHANGED)
        written = version_seconds(made.version)
        if lost is not None and (made.version == before or written < at - _CLOCKS_DIFFER):
            raise lost
        if until and written > until + _CLOCKS_DIFFER:
            raise ChangedSinceRead("another client wrote the secret just after Keeper: refresh the plan")
        return made, is_new

    def _send(self, name: str, value: str) -> RestAnswer:
        if len(value.encode()) > _LARGEST:
            raise QuotaExceeded(f"the value has more than the {_LARGEST:,} bytes of a secret in GitHub")
        extra = {} if self.destination["repository"] else self._visibility(name)
        try:
            return self._github.request("PUT", self._path(name), body=self._sealed(value) | extra)
        except RequestRefused:
            # The key may have been replaced since it was read.
            self._key = None
            return self._github.request("PUT", self._path(name), body=self._sealed(value) | extra)

    def _sealed(self, value: str) -> dict[str, Any]:
        """Return a value, sealed for the place's public key (libsodium's sealed box)."""
        with self._lock:
            if self._key is None:
                found = self._ask_place(f"{self._place}/public-key").content
                self._key = (str(found["key_id"]), SealedBox(PublicKey(base64.b64decode(found["key"]))))
            key_id, box = self._key
        return {"encrypted_value": base64.b64encode(box.encrypt(value.encode())).decode(), "key_id": key_id}

    def _visibility(self, name: str) -> dict[str, Any]:
        """Return who sees a secret of the organisation: as it is, or by the rule for a new one."""
        try:
            found = self._github.request("GET", self._path(name)).content
        except NotFound:
            return {"visibility": self.destination["visibility"]}
        if found["visibility"] != "selected":
            return {"visibility": found["visibility"]}
        chosen: list[int] = []
        while True:
            query = {"per_page": str(_PAGE), "page": str(len(chosen) // _PAGE + 1)}
            page = self._github.request("GET", f"{self._path(name)}/repositories", query=query).content
            chosen += [int(each["id"]) for each in page["repositories"]]
            if len(chosen) >= page["total_count"] or not page["repositories"]:
                return {"visibility": "selected", "selected_repository_ids": chosen}
