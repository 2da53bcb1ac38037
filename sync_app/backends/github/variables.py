"""GitHub Actions: the variables of one repository, of one of its environments, or of an organisation.

Permissions of a fine-grained token or a GitHub App, each read and write: for a repository its *Variables*,
for an environment the repository's *Environments*, for an organisation its *Variables*. *Metadata* (read)
comes with them. A classic token needs the scope `repo`, for an organisation `admin:org`.

Variables are not secret: everyone with access to the repository reads them, and logs show them. A type whose
values are secret is refused, and so is what references fill in, since that may come from any type.

A variable has no labels. Our own entry proves what is ours: the name with the time of its creation. `create`
fails if the name is taken. Without compare-and-set `update` and `delete` read before they act, and a write is
read again. What another client wrote in the milliseconds between a read and a write is lost.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from audit_app.interfaces.keyring import Purpose, keyring
from secrets_app.secret_types.registry import SecretType
from sync_app.backends.capabilities import Capabilities, FormField
from sync_app.backends.github.items import Limits, digest, parse_variable
from sync_app.backends.github.place import CHANGED, GitHubPlace, fields_of_place
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.backends.rest_client import RestAnswer
from sync_app.errors import ChangedSinceRead, NameUnusable, RequestRefused

_VERSION_LABEL: Final = b"keeper/github-version/v1"
# Whose values need not be secret. A certificate may hold its private key.
_READABLE: Final = frozenset({SecretType.TEXT, SecretType.JSON, SecretType.YAML})


class GitHubVariables(GitHubPlace):
    """The variables of one place whose names begin with one prefix."""

    label: ClassVar[str] = "GitHub Actions variables (not secret)"
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
            raise ChangedSinceRead("another client wrote it just after Keeper: refresh the plan")
        return made

    def _holds(self, made: SecretMetadata, value: str) -> bool:
        """Return whether the digest of a value is in a version."""
        return made.version.endswith(f" {digest(value, key=self._key)}")
