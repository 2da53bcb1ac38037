"""GitHub Actions: secrets and variables of one repository, one of its environments, or an organisation.

Permissions of a fine-grained token or a GitHub App, each read and write: for a repository its *Secrets* or
*Variables*, for an environment the repository's *Environments*, for an organisation its *Secrets* or
*Variables*. *Metadata* (read) comes with them. A classic token needs the scope `repo`, for an organisation
`admin:org`.

Secrets and variables have no labels. Our own entry proves what is ours: the name with the time of its
creation. Without compare-and-set `update` and `delete` read before they act. What another client wrote in
the milliseconds between a read and a write is lost, for secrets because GitHub shows no value.

GitHub takes values of secrets and shows none. `updated_at` shows a later write of another client. A write
within the same second as Keeper's is not noticed.

Variables are not secret: everyone with access to the repository reads them, and logs show them. A type
whose values are secret is refused, and so is what references fill in, since that may come from any type.
`create` fails if the name of a variable is taken, and a write is read again.
"""

import base64
import functools
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

from nacl.public import PublicKey, SealedBox

from audit_app.interfaces import Purpose, keyring
from secrets_app.types.registry import SecretType
from sync_app.backends.capabilities import Capabilities, FormField
from sync_app.backends.github.place import (
    GitHubPlace,
    Limits,
    digest,
    fields_of_place,
    parse_secret,
    parse_variable,
)
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.backends.rest import NotFound, RestAnswer
from sync_app.backends.timed import CHANGED, LATER
from sync_app.errors import (
    OVERWROTE,
    ChangedSinceRead,
    NameUnusable,
    Overwritten,
    RequestRefused,
    TargetUnreachable,
    ValueUnusable,
)

_PAGE: Final = 100
_UNSEEN: Final = "GitHub shows no value of a secret: Keeper can only replace it"


class GitHubActions(GitHubPlace):
    """The secrets of one place whose names begin with one prefix."""

    label: ClassVar[str] = "GitHub Actions"
    icon: ClassVar[str] = "branch"
    summary_label: ClassVar[str] = "GitHub"
    destination_fields: ClassVar[tuple[FormField, ...]] = fields_of_place("secrets")
    items: ClassVar[str] = "secrets"
    area: ClassVar[str] = "Secrets"
    # "Secrets", "Limits for secrets".
    limits: ClassVar[Limits] = Limits(repository=100, environment=100, organization=1000)
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
        self._key: tuple[str, SealedBox[PublicKey]] | None = None

    def read_value(self, name: str) -> SecretValue | None:
        """Raise ValueUnusable for an existing secret: no value is shown."""
        if self._look(name)[0] is None:
            return None
        raise ValueUnusable(_UNSEEN)

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a secret, only if there is none of the name.

        Raises Overwritten if another client created it in the milliseconds between: GitHub answers that it
        replaced one.
        """
        if problem := self.explain_refusal("create", name):
            raise NameUnusable(problem)
        seen, at = self._look(name)
        if seen is not None:
            raise ChangedSinceRead(CHANGED)
        send = functools.partial(self._put, name, value)
        made, answer = self._write_and_look(name, send, before=None, at=at)
        if answer is not None and answer.status != HTTPStatus.CREATED:
            raise Overwritten(f"{OVERWROTE}; GitHub keeps nothing of it, so that it could not be restored")
        return made

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Read, write if the secret is as it was seen, and look at the time of the write."""
        before, at = self._require_unchanged(seen)
        send = functools.partial(self._put, seen.name, value)
        return self._write_and_look(seen.name, send, before=before, at=at)[0]

    # --- How ----------------------------------------------------------------------------------

    def _parse(self, name: str, found: Mapping[str, Any]) -> SecretMetadata:
        return parse_secret(name, found)

    def _put(self, name: str, value: str) -> RestAnswer:
        self._require_size(value)
        extra = {} if self.destination["repository"] else self._visibility(name)
        try:
            return self._send("PUT", self._path(name), body=self._sealed(value) | extra)
        except RequestRefused:
            # The key may have been replaced since it was read.
            self._key = None
            return self._send("PUT", self._path(name), body=self._sealed(value) | extra)

    def _send_refused(self, name: str) -> None:
        self._send("PUT", f"{self._place}/{name}", body={"encrypted_value": "", "key_id": ""})

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
            found = self._client.request("GET", self._path(name)).content
        except NotFound:
            return {"visibility": self.destination["visibility"]}
        if found["visibility"] != "selected":
            return {"visibility": found["visibility"]}
        chosen: list[int] = []
        while True:
            query = {"per_page": str(_PAGE), "page": str(len(chosen) // _PAGE + 1)}
            page = self._client.request("GET", f"{self._path(name)}/repositories", query=query).content
            chosen += [int(each["id"]) for each in page["repositories"]]
            if len(chosen) >= page["total_count"] or not page["repositories"]:
                break
        if len(set(chosen)) != page["total_count"]:
            # What it leaves out would lose the secret.
            raise TargetUnreachable("GitHub's list of the repositories that see it is not whole: try again")
        return {"visibility": "selected", "selected_repository_ids": chosen}


_VERSION_LABEL: Final = b"keeper/github-version/v1"
# Whose values need not be secret. A certificate may hold its private key.
_READABLE: Final = frozenset({SecretType.TEXT, SecretType.JSON, SecretType.YAML})


class GitHubVariables(GitHubPlace):
    """The variables of one place whose names begin with one prefix."""

    label: ClassVar[str] = "GitHub Actions variables (not secret)"
    icon: ClassVar[str] = "braces"
    summary_label: ClassVar[str] = "GitHub variables"
    destination_fields: ClassVar[tuple[FormField, ...]] = fields_of_place("variables")
    items: ClassVar[str] = "variables"
    area: ClassVar[str] = "Variables"
    # "Limits for configuration variables".
    limits: ClassVar[Limits] = Limits(repository=500, environment=100, organization=1000)
    # REST API "Variables": 30 at most.
    page_size: ClassVar[int] = 30
    capabilities: ClassVar[Capabilities] = Capabilities(deletes_recoverably=False, keeps_marks=False)
    plan_notice: ClassVar[str] = (
        "Variables of GitHub are not secret: everyone with access to the repository can read them, and "
        "workflow logs show them. Sync only what may be public there."
    )
    form_notice: ClassVar[str] = plan_notice

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        # Threads ask for versions, and never the database.
        self._key = keyring().mac(Purpose.AUDIT_MAC, _VERSION_LABEL)[-32:]

    def identify_system(self) -> str:
        """Return the identity of the place; its secrets are another one, with names of their own."""
        return f"{super().identify_system()}/variables"

    def explain_type_refusal(self, secret_type: str, *, has_references: bool) -> str:
        """Refuse types whose values are secret, and what references fill in."""
        if has_references:
            return "its references may fill in secret values, and variables of GitHub are readable"
        if secret_type in _READABLE:
            return ""
        label = SecretType(secret_type).label
        return f"variables of GitHub are readable, and its type is {label}: sync it to GitHub Actions secrets"

    def read_value(self, name: str) -> SecretValue | None:
        found, _ = self._read(name)
        if found is None:
            return None
        return SecretValue(metadata=self._parse(name, found), value=found["value"])

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        if problem := self.explain_refusal("create", name):
            raise NameUnusable(problem)
        seen, at = self._look(name)
        if seen is not None:
            raise ChangedSinceRead(CHANGED)
        is_shared = not self.destination["repository"]
        extra = {"visibility": self.destination["visibility"]} if is_shared else {}
        send = functools.partial(self._put, "POST", self._place, name, value, **extra)
        try:
            return self._written(name, value, send, before=None, at=at)
        except RequestRefused:
            if self._find(name) is not None:
                raise ChangedSinceRead(CHANGED) from None
            raise

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Read, write if the variable is as it was seen, and read it again. Who sees it stays as it is."""
        before, at = self._require_unchanged(seen)
        send = functools.partial(self._put, "PATCH", self._path(seen.name), seen.name, value, of=seen.name)
        return self._written(seen.name, value, send, before=before, at=at)

    # --- How ----------------------------------------------------------------------------------

    def _parse(self, name: str, found: Mapping[str, Any]) -> SecretMetadata:
        return parse_variable(name, found, key=self._key)

    def _put(
        self, method: str, path: str, name: str, value: str, *, of: str = "", **extra: str
    ) -> RestAnswer:
        self._require_size(value)
        body = {"name": self._names.checked_variable(name), "value": value, **extra}
        return self._send(method, path, of=of, body=body)

    def _send_refused(self, name: str) -> None:
        self._send("POST", self._place, body={"name": name, "value": "-"})

    def _written(
        self,
        name: str,
        value: str,
        send: Callable[[], RestAnswer],
        *,
        before: SecretMetadata | None,
        at: int,
    ) -> SecretMetadata:
        """Send a value, and return the variable that has it."""
        made, _ = self._write_and_look(name, send, before=before, at=at)
        if not self._holds(made, value) or (before is not None and made.remote_id != before.remote_id):
            raise ChangedSinceRead(LATER)
        return made

    def _holds(self, made: SecretMetadata, value: str) -> bool:
        """Return whether the digest of a value is in a version."""
        return made.version.endswith(f" {digest(value, key=self._key)}")
