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
import functools
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

from nacl.public import PublicKey, SealedBox

from sync_app.backends.capabilities import Capabilities, FormField
from sync_app.backends.github.items import Limits, parse_secret
from sync_app.backends.github.place import CHANGED, GitHubPlace, fields_of_place
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.backends.rest_client import NotFound, RestAnswer
from sync_app.errors import (
    OVERWROTE,
    ChangedSinceRead,
    NameUnusable,
    Overwritten,
    RequestRefused,
    ValueUnusable,
)

_PAGE: Final = 100
_UNSEEN: Final = "GitHub shows no value of a secret: Keeper can only replace it"


class GitHubActions(GitHubPlace):
    """The secrets of one place whose names begin with one prefix."""

    label: ClassVar[str] = "GitHub Actions"
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
