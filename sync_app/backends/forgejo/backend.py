"""Forgejo and Gitea: Actions secrets of one repository, or of an organisation.

The token has the scope `write:repository`, and its user owns or administers the repository. For an
organisation it has `write:organization`, and its user is one of the owners.

There are no labels, no values to read, and no compare-and-set. The list shows a name and the time of its
creation: our own entry with both proves what is ours. `update` and `delete` read before they act.

An update leaves that time as it is. What another client writes over a secret is therefore not noticed, and
an update without an answer is repeated. A secret that was deleted and created again is another one.

Gitea has a description beside a secret, which an update without it would empty: it is sent again.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit
from uuid import uuid4

from sync_app.backends.answers import VendorAnswer
from sync_app.backends.capabilities import Capabilities, FormField, Grant, Need, Permission
from sync_app.backends.forgejo.answers import ANSWERS
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.backends.rest import NotFound, RestAnswer, RestClient, refuse_unreadable
from sync_app.backends.timed import CHANGED, TimedBackend
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    OVERWROTE,
    BadDestination,
    ChangedSinceRead,
    MountMissing,
    NameUnusable,
    Overwritten,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetUnreachable,
    ValueUnusable,
)

_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# What a column of MariaDB holds where Forgejo uses it (64 KiB), with what the encryption adds.
LARGEST: Final = 65_000
# "Secrets", Naming your secrets; Forgejo keeps its own prefix as well.
_RESERVED: Final = ("FORGEJO_", "GITEA_", "GITHUB_")
# What no version takes.
_REFUSED_NAME: Final = "GITHUB_KEEPER_CONNECTION_TEST"


class ForgejoSecrets(TimedBackend):
    """The secrets of one place whose names begin with one prefix."""

    label: ClassVar[str] = "Forgejo or Gitea Actions"
    icon: ClassVar[str] = "hammer"
    summary_label: ClassVar[str] = "Forgejo"
    summary_fields: ClassVar[tuple[str, ...]] = ("owner", "repository", "prefix")
    answers: ClassVar[tuple[VendorAnswer, ...]] = ANSWERS
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="Address", required=True, help="https://forgejo.example"),
        FormField(name="owner", label="Owner", required=True, fixed=True, help="User or organisation."),
        FormField(
            name="repository",
            label="Repository",
            fixed=True,
            help="Leave blank for secrets of the organisation.",
        ),
        FormField(
            name="prefix",
            label="Prefix",
            fixed=True,
            help="team: names in Forgejo begin with TEAM_. app/db-password becomes APP_DB_PASSWORD.",
        ),
        FormField(
            name="ca_certificate",
            label="CA certificate",
            lines=True,
            help="PEM. Leave blank for public certificate authorities.",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(
            name="token",
            label="Access token",
            sensitive=True,
            required=True,
            help="Scope write:repository, or write:organization.",
        ),
    )
    writes_per_second: ClassVar[float] = 10
    # The most that an instance lists by default (MAX_RESPONSE_ITEMS).
    page_size: ClassVar[int] = 50
    capabilities: ClassVar[Capabilities] = Capabilities(
        deletes_recoverably=False, keeps_marks=False, reads_values=False
    )
    plan_notice: ClassVar[str] = (
        "Forgejo and Gitea show no values and no time of a change. Keeper's own record proves which secrets "
        "it manages. What another client writes over one of them is not noticed: the next change in Keeper "
        "replaces it."
    )

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        owner, repository = self.destination["owner"], self.destination["repository"]
        for name in ("owner", "repository"):
            if self.destination[name] and not _PART.fullmatch(self.destination[name]):
                raise BadDestination("letters, digits and _.-", field=name)
        self._place = f"/api/v1/repos/{owner}/{repository}" if repository else f"/api/v1/orgs/{owner}"
        refuse_unreadable(self.destination["ca_certificate"])
        self._client = RestClient(
            self.endpoint(self.destination),
            label="Forgejo",
            ca=self.destination["ca_certificate"],
            seconds=self.timeout_seconds,
            headers={"Authorization": f"token {self._credentials['token']}", "Accept": "application/json"},
        )

    @property
    def max_value_bytes(self) -> int:
        return LARGEST

    @property
    def checks_content(self) -> bool:
        return True

    def explain_content_refusal(self, value: str) -> str:
        """Refuse what Forgejo does not keep as it is; no read would show that it was altered."""
        if not value:
            return "Forgejo takes no empty value"
        return "Forgejo alters carriage returns: encode the value, such as in Base64" if "\r" in value else ""

    def identify_system(self) -> str:
        """Return the id of the repository or organisation, which stays when it is renamed."""
        found = self._ask_place("").content
        host = urlsplit(found.get("html_url") or self.destination["address"]).hostname
        kind = "repositories" if self.destination["repository"] else "organizations"
        return f"forgejo/{host}/{kind}/{int(found['id'])}"

    def check_connection(self) -> None:
        self._require_place()

    def probe_permissions(self) -> Iterator[Permission]:
        """List, and send a write of a name that is refused: the permission is asked for first."""
        self._require_place()
        yield Permission(name=f"{self._scope}: list secrets", need=Need.READ, grant=Grant.GRANTED)
        path = f"{self._place}/actions/secrets/{_REFUSED_NAME}_{uuid4().hex.upper()}"
        try:
            self._send("PUT", path, body={"data": "-"})
        except RequestRefused:
            grant = Grant.GRANTED
        except PermissionMissing:
            grant = Grant.MISSING
        else:
            self._send("DELETE", path)
            grant = Grant.GRANTED
        for need in (Need.WRITE, Need.DELETE):
            yield Permission(name=f"{self._scope}: change secrets", need=need, grant=grant)

    def list_secrets(self) -> Iterator[SecretMetadata]:
        for found in self._list():
            if (name := self._names.name(found["name"])) is not None:
                yield _parse(name, found)

    def read_value(self, name: str) -> SecretValue | None:
        """Raise ValueUnusable for an existing secret: no value is shown."""
        if self._find(name) is None:
            return None
        raise ValueUnusable("Forgejo shows no value of a secret: Keeper can only replace it")

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a secret, only if there is none of the name.

        Raises Overwritten if another client created it in the milliseconds between: the answer says so.
        """
        if problem := self.explain_refusal("create", name):
            raise NameUnusable(problem)
        seen, at = self._look(name)
        if seen is not None:
            raise ChangedSinceRead(CHANGED)
        made, answer = self._write_and_look(
            name, functools.partial(self._put, name, value), before=None, at=at
        )
        if answer is not None and answer.status != HTTPStatus.CREATED:
            raise Overwritten(f"{OVERWROTE}; Forgejo keeps nothing of it, so that it could not be restored")
        return made

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Read, and write if it is the secret that was seen: the answer proves it, and no look shows it."""
        found, at = self._read(seen.name)
        if found is None or _parse(seen.name, found).remote_id != seen.remote_id:
            raise ChangedSinceRead(CHANGED)
        answer = self._put(seen.name, value, description=found.get("description"))
        if answer.status != HTTPStatus.CREATED:
            return _parse(seen.name, found)
        # It was deleted just before: what was created in its place is ours.
        return self._write_and_look(seen.name, lambda: answer, before=None, at=at)[0]

    # --- How ----------------------------------------------------------------------------------

    @property
    def _scope(self) -> str:
        return "write:repository" if self.destination["repository"] else "write:organization"

    @property
    def _lacking(self) -> str:
        role = "an administrator of the repository" if self.destination["repository"] else "an owner of it"
        return f"Forgejo permits no write of secrets here: give the token the scope {self._scope}, of {role}"

    def _explain_name(self, variable: str) -> str:
        """Refuse names that the server does not take ("Naming your secrets")."""
        if reserved := next((each for each in _RESERVED if variable.startswith(each)), None):
            return f"Forgejo keeps names that begin with {reserved} for itself: rename the secret"
        return ""

    def _path(self, name: str) -> str:
        return f"{self._place}/actions/secrets/{self._names.checked_variable(name)}"

    def _require_place(self) -> None:
        self._ask_place("/actions/secrets", {"page": "1", "limit": "1"})

    def _ask_place(self, path: str, query: Mapping[str, str] | None = None) -> RestAnswer:
        """Ask for something that exists as long as the place does. Raises MountMissing where it does not."""
        try:
            return self._client.request("GET", f"{self._place}{path}", query=query)
        except NotFound:
            raise MountMissing(
                "Forgejo shows no such repository or organisation to this token, or Actions are off there"
            ) from None

    def _list(self) -> Iterator[Mapping[str, Any]]:
        """Yield what is listed of each secret of the place, a page at a time; there is no other look.

        Gitea, and Forgejo before it sorted, list in no order: a name that comes twice has another's place.
        """
        number, total, seen = 1, None, set[str]()
        while total is None or len(seen) < total:
            query = {"page": str(number), "limit": str(self.page_size)}
            answer = self._ask_place("/actions/secrets", query)
            page, listed = answer.content, int(answer.headers["X-Total-Count"])
            names = [each["name"] for each in page]
            is_repeated = len(seen.union(names)) < len(seen) + len(names)
            if total not in {None, listed} or is_repeated or (not page and len(seen) < listed):
                raise TargetUnreachable("Forgejo's list changed while it was read: try again")
            number, total = number + 1, listed
            seen.update(names)
            yield from page

    def _read(self, name: str) -> tuple[Mapping[str, Any] | None, int]:
        """Return what the list shows of a secret, None if it is not there, and the server's time."""
        variable = self._names.checked_variable(name)
        found = next((each for each in self._list() if each["name"] == variable), None)
        return found, self._client.server_time

    def _look(self, name: str) -> tuple[SecretMetadata | None, int]:
        found, at = self._read(name)
        return (_parse(name, found) if found else None), at

    def _put(self, name: str, value: str, *, description: str | None = None) -> RestAnswer:
        if len(value.encode()) > LARGEST:
            raise QuotaExceeded(f"the value has more than {LARGEST:,} bytes, which not each Forgejo holds")
        if refusal := self.explain_content_refusal(value):
            raise ValueUnusable(refusal)
        body = {"data": value} | ({"description": description} if description else {})
        return self._send("PUT", self._path(name), body=body)


def _parse(name: str, found: Mapping[str, Any]) -> SecretMetadata:
    """Return the metadata of a secret. The time is shown in the server's zone, which may change."""
    created = datetime.fromisoformat(found["created_at"]).astimezone(UTC).isoformat()
    return SecretMetadata(
        name=name, presence=Presence.PRESENT, remote_id=f"{found['name']} {created}", version=created
    )
