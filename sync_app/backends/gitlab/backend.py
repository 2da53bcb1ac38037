"""GitLab CI/CD variables of one project or group, in one environment scope.

Permissions: an access token of the project or group (or a personal one) with the scope `api`, and the role
Maintainer in the project, or Owner of the group.

Our mark is in a variable's description (GitLab 16.2). GitLab has no versions: a keyed digest of the value is
one. It has no compare-and-set and keeps nothing of what is replaced: `update` and `delete` read before they
act. What another client writes in the milliseconds between is lost. A `create` fails if the name is taken.
"""

import functools
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from audit_app.interfaces import Purpose, keyring
from sync_app.backends.answers import VendorAnswer, listed
from sync_app.backends.capabilities import Capabilities, FormField, Grant, Need, Permission
from sync_app.backends.gitlab.answers import ANSWERS
from sync_app.backends.gitlab.variables import (
    LARGEST,
    MAX_NAME_LENGTH,
    UNMASKABLE,
    WRITE_DIGITS,
    Masking,
    can_mask,
    describe,
    explain_unmaskable,
    is_masked,
    parse_mark,
    parse_metadata,
)
from sync_app.backends.observations import VERSION_SEPARATOR, Mark, SecretMetadata, SecretValue
from sync_app.backends.rest import NotFound, RestAnswer, RestClient, VariableBackend, refuse_unreadable
from sync_app.errors import (
    BadDestination,
    ChangedSinceRead,
    MountMissing,
    NameUnusable,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    ValueUnusable,
)

_API: Final = "/api/v4"
_PAGE: Final = 100
_CHANGED: Final = "the variable changed in GitLab after it was read: refresh the plan"
_ALTERED: Final = (
    "GitLab took the write and stored another value: look there for what changes it, then choose which value "
    "stays"
)
_VERSION_LABEL: Final = b"keeper/gitlab-version/v1"
# "Project-level CI/CD variables API" and "Group-level Variables API", history of `description`.
_DESCRIBES: Final = (16, 2)
_TOO_OLD: Final = (
    "GitLab before 16.2 keeps no description of a variable, and Keeper's mark is in it: upgrade GitLab"
)
_FILTER: Final = "filter[environment_scope]"
_EVERYWHERE: Final = "*"
# "Group-level Variables API": `environment_scope` is of Premium and Ultimate. Others take it, and store `*`.
_NO_SCOPES: Final = (
    "this GitLab gives variables of groups no environment scope (that is of Premium and Ultimate): the value "
    "would reach every environment. Choose the scope *, or a project"
)


class GitLabVariables(VariableBackend):
    """The variables of one project or group whose names begin with one prefix."""

    label: ClassVar[str] = "GitLab CI/CD variables"
    icon: ClassVar[str] = "merge"
    summary_label: ClassVar[str] = "GitLab"
    summary_fields: ClassVar[tuple[str, ...]] = ("group", "project", "prefix")
    answers: ClassVar[tuple[VendorAnswer, ...]] = ANSWERS
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="Address", default="https://gitlab.com"),
        FormField(name="project", label="Project", fixed=True, help="Its path or ID, such as team/app."),
        FormField(name="group", label="Group", fixed=True, help="In place of a project."),
        FormField(
            name="environment_scope",
            label="Environment scope",
            default="*",
            fixed=True,
            help="Which environments of GitLab see the variables.",
        ),
        FormField(
            name="prefix",
            label="Prefix",
            fixed=True,
            help="team: names in GitLab begin with TEAM_. app/db-password becomes APP_DB_PASSWORD.",
        ),
        FormField(
            name="masking",
            label="Masked in logs",
            rule=True,
            default=Masking.POSSIBLE,
            choices=tuple(Masking),
            choice_labels=("Where GitLab can mask the value", "Always: refuse other values", "Never"),
            help="Of what is written from now on.",
        ),
        FormField(
            name="protected",
            label="Protected",
            rule=True,
            default="yes",
            choices=("yes", "no"),
            choice_labels=("Only for protected branches and tags", "For every branch and tag"),
            help="Of what is written from now on.",
        ),
        FormField(
            name="ca_certificate",
            label="CA certificate",
            lines=True,
            help="PEM. Leave blank for public certificate authorities.",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Access token", sensitive=True, required=True, help="Scope api."),
    )
    writes_per_second: ClassVar[float] = 10
    page_size: ClassVar[int] = _PAGE
    capabilities: ClassVar[Capabilities] = Capabilities(deletes_recoverably=False)

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._scope = self.destination["environment_scope"]
        self._owner = _owner_of(self.destination)
        # Why Keeper can own nothing there, empty if it can; None until that is known.
        self._too_old: str | None = None
        # Whether variables have scopes there; None until that is known.
        self._has_scopes = True if self.destination["project"] or self._scope == _EVERYWHERE else None
        refuse_unreadable(self.destination["ca_certificate"])
        # Threads ask for versions, and never the database.
        self._key = keyring().mac(Purpose.AUDIT_MAC, _VERSION_LABEL)[-32:]
        self._rest = RestClient(
            self.endpoint(self.destination),
            label="GitLab",
            ca=self.destination["ca_certificate"],
            seconds=self.timeout_seconds,
            headers={"PRIVATE-TOKEN": self._credentials["token"], "Accept": "application/json"},
        )

    @property
    def max_value_bytes(self) -> int:
        """How many bytes a value may have; GitLab counts characters."""
        return LARGEST

    def explain_value_refusal(self, size: int, secret_type: str) -> str:
        """Refuse also what has to be masked and cannot be, as length or type show it."""
        if refusal := super().explain_value_refusal(size, secret_type):
            return refusal
        always = self.destination["masking"] == Masking.ALWAYS
        return explain_unmaskable(size, secret_type) if always else ""

    @property
    def checks_content(self) -> bool:
        return self.destination["masking"] == Masking.ALWAYS

    def explain_content_refusal(self, value: str) -> str:
        """Refuse what has to be masked and cannot be."""
        return UNMASKABLE if self.checks_content and not can_mask(value) else ""

    @property
    def busy_seconds(self) -> float:
        return self._rest.busy_seconds

    def identify_system(self) -> str:
        """Return the id of the project or group, which stays when it is renamed, and the scope."""
        found = self._ask_place("").content
        host = urlsplit(found.get("web_url") or "").hostname or urlsplit(self.destination["address"]).hostname
        kind = self._owner.partition("/")[0]
        return f"gitlab/{host}/{kind}/{int(found['id'])}/{quote(self._scope, safe='')}"

    def close(self) -> None:
        self._rest.close()

    def check_connection(self) -> None:
        """Raise RequestRefused as well for a GitLab that has no place for our mark."""
        found = self._ask_place("/variables", {"per_page": "1"}).content
        self._note_version(found)
        if self._too_old:
            raise RequestRefused(self._too_old)

    def probe_permissions(self) -> Iterator[Permission]:
        """List, and delete a variable that does not exist: GitLab asks for the permission first."""
        self._require_place()
        yield Permission(name="api: list variables", need=Need.READ, grant=Grant.GRANTED)
        try:
            self._ask("DELETE", f"KEEPER_CONNECTION_TEST_{uuid4().hex.upper()}")
        except NotFound:
            grant = Grant.GRANTED
        except PermissionMissing:
            grant = Grant.MISSING
        for need in (Need.WRITE, Need.DELETE):
            yield Permission(name="api: change variables", need=need, grant=grant)

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield the variables with the scope and the prefix, 100 a page; GitLab lists values, too."""

        def ask(number: str) -> tuple[Any, str | None]:
            query = {"per_page": str(self.page_size), "page": number or "1"}
            answer = self._ask_place("/variables", query)
            self._note_version(answer.content)
            if any(found["environment_scope"] != _EVERYWHERE for found in answer.content):
                self._has_scopes = True
            return answer.content, answer.headers["X-Next-Page"]

        for found in listed(ask):
            name = self._names.name(found["key"])
            if name is not None and found["environment_scope"] == self._scope:
                yield self._parse(name, found)

    def read_value(self, name: str) -> SecretValue | None:
        """Return the value of a variable, unless it is a hidden one."""
        found = self._read(name)
        if found is None:
            return None
        if found["value"] is None:
            raise ValueUnusable("the variable is hidden in GitLab, which shows its value to nobody")
        return SecretValue(metadata=self._parse(name, found), value=found["value"])

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a variable with its mark, only if there is none of the name in the scope."""
        variable = self._variable(name)
        if problem := self.explain_refusal("create", name):
            raise NameUnusable(problem)
        self._require_scopes()
        body = self._content(value, describe(None, mark, token[:WRITE_DIGITS]))
        body |= {"key": variable, "environment_scope": self._scope, "variable_type": "env_var"}
        try:
            path = f"{_API}/{self._owner}/variables"
            post = functools.partial(self._rest.request, "POST", path, body=body)
            answer = self._change(post).content
            made = self._parse(name, answer)
        except RequestRefused:
            if self._read(name) is not None:
                raise ChangedSinceRead(_CHANGED) from None
            raise
        if made.mark != mark:
            # It is as old as no list could show: what was just created must not stay without its owner.
            self._write("DELETE", name)
            raise RequestRefused(_TOO_OLD)
        _require_stored(answer, value)
        return made

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Read, and write if the variable is as it was seen.

        If it holds this very write already, an earlier attempt got through.
        """
        found = self._read(seen.name)
        now = self._parse(seen.name, found) if found else None
        if found is None or now is None or now.mark != seen.mark:
            raise ChangedSinceRead(_CHANGED)
        if now.version == seen.version:
            description = describe(found.get("description"), seen.mark, token[:WRITE_DIGITS])
            return self._put(seen.name, self._content(value, description))
        if parse_mark(found.get("description"))[1] == token[:WRITE_DIGITS] and found["value"] == value:
            return now
        raise ChangedSinceRead(_CHANGED)

    def predict_version(self, version: str, *, token: str) -> str:
        """Return the name of the write; the digest of its value follows."""
        return token[:WRITE_DIGITS]

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:
        """Return whether a look shows another write of Keeper's than the last synced: it came before.

        Whoever changes the value in GitLab leaves the name of our write in the description.
        """
        write, last = (text.partition(VERSION_SEPARATOR)[0] for text in (seen.version, synced))
        return seen.mark is not None and bool(last) and write != last

    def delete(self, seen: SecretMetadata) -> None:
        """Delete the variable if it is as it was seen. GitLab keeps nothing of it."""
        self._require_unchanged(seen)
        self._write("DELETE", seen.name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        found = self._require_unchanged(seen)
        write = parse_mark(found.get("description"))[1]
        made = self._put(seen.name, {"description": describe(found.get("description"), mark, write)})
        if made.mark != mark:
            raise RequestRefused(_TOO_OLD)

    def unmark(self, seen: SecretMetadata) -> None:
        found = self._require_unchanged(seen)
        self._put(seen.name, {"description": describe(found.get("description"), None)})

    def explain_refusal(self, act: str, name: str) -> str:
        """Refuse as well what needs a mark, in a GitLab that the list has shown to have no place for it."""
        refusal = super().explain_refusal(act, name)
        if not refusal and act == "create" and self._has_scopes is False:
            return _NO_SCOPES
        return refusal or (self._too_old or "" if act in {"create", "adopt"} else "")

    def _require_scopes(self) -> None:
        """Try, with a variable that is no secret, whether the scope is kept. Raises RequestRefused."""
        if self._has_scopes is None:
            variable = f"KEEPER_SCOPE_TEST_{uuid4().hex.upper()}"
            body = {"key": variable, "value": "keeper", "environment_scope": self._scope}
            path = f"{_API}/{self._owner}/variables"
            made = self._change(functools.partial(self._rest.request, "POST", path, body=body)).content
            scope = made["environment_scope"]
            self._rest.request("DELETE", f"{path}/{variable}", query={_FILTER: scope})
            self._has_scopes = scope == self._scope
        if not self._has_scopes:
            raise RequestRefused(_NO_SCOPES)

    # --- How ----------------------------------------------------------------------------------

    @property
    def _lacking(self) -> str:
        role = (
            "the role Maintainer in the project"
            if self.destination["project"]
            else "the role Owner of the group"
        )
        return f"GitLab permits no write of variables here: give the token the scope api, and {role}"

    def _require_place(self) -> None:
        self._ask_place("/variables", {"per_page": "1"})

    def _note_version(self, variables: Sequence[Mapping[str, Any]]) -> None:
        """Note whether variables have descriptions, which show that; without a variable the version does."""
        if self._too_old is not None:
            return
        keeps = "description" in variables[0] if variables else self._read_version() >= _DESCRIBES
        self._too_old = "" if keeps else _TOO_OLD

    def _read_version(self) -> tuple[int, ...]:
        """Return the version of GitLab; where it is not told, one that has descriptions."""
        try:
            found = self._rest.request("GET", f"{_API}/version").content["version"]
        except (NotFound, PermissionMissing):
            return _DESCRIBES
        return tuple(int(part) for part in str(found).split(".")[:2])

    def _explain_name(self, variable: str) -> str:
        if len(variable) <= MAX_NAME_LENGTH:
            return ""
        return f"name and prefix are longer than the {MAX_NAME_LENGTH} characters of GitLab"

    def _find(self, name: str) -> SecretMetadata | None:
        found = self._read(name)
        return self._parse(name, found) if found else None

    def _variable(self, name: str) -> str:
        return quote(self._names.checked_variable(name), safe="")

    def _parse(self, name: str, found: Mapping[str, Any]) -> SecretMetadata:
        return parse_metadata(name, found, place=self._scope, key=self._key)

    def _ask_place(self, path: str, query: Mapping[str, str] | None = None) -> RestAnswer:
        """Ask for something that exists as long as the project or group does. Raises MountMissing."""
        try:
            return self._rest.request("GET", f"{_API}/{self._owner}{path}", query=query)
        except NotFound:
            raise MountMissing("GitLab shows no such project or group to these credentials") from None

    def _ask(self, method: str, variable: str, body: Mapping[str, Any] | None = None) -> RestAnswer:
        path = f"{_API}/{self._owner}/variables/{variable}"
        return self._rest.request(method, path, query={_FILTER: self._scope}, body=body)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._ask("GET", self._variable(name)).content
        except NotFound:
            # GitLab answers the same for a project that the credentials may not see any more.
            self._require_place()
            return None
        return found

    def _require_unchanged(self, seen: SecretMetadata) -> dict[str, Any]:
        """Return a variable as it is, if it is as it was seen. Raises ChangedSinceRead."""
        found = self._read(seen.name)
        if found is None:
            raise ChangedSinceRead(_CHANGED)
        now = self._parse(seen.name, found)
        if (now.version, now.mark) != (seen.version, seen.mark):
            raise ChangedSinceRead(_CHANGED)
        return found

    def _content(self, value: str, description: str) -> dict[str, Any]:
        if len(value.encode()) > LARGEST:
            raise QuotaExceeded(f"the value has more than the {LARGEST:,} bytes of a variable in GitLab")
        return {
            "value": value,
            # Without it GitLab would replace what looks like a reference to another variable.
            "raw": True,
            "masked": is_masked(value, Masking(self.destination["masking"])),
            "protected": self.destination["protected"] == "yes",
            "description": description,
        }

    def _write(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> RestAnswer:
        return self._change(functools.partial(self._ask, method, self._variable(name), body), of=name)

    def _put(self, name: str, body: Mapping[str, Any]) -> SecretMetadata:
        answer = self._write("PUT", name, body).content
        if "value" in body:
            _require_stored(answer, body["value"])
        return self._parse(name, answer)


def _owner_of(destination: Mapping[str, str]) -> str:
    """Return the path of the project or group. Raises BadDestination."""
    project, group = (destination[name].strip("/") for name in ("project", "group"))
    if bool(project) == bool(group):
        raise BadDestination("enter a project or a group", field="project")
    return f"projects/{quote(project, safe='')}" if project else f"groups/{quote(group, safe='')}"


def _require_stored(answer: Mapping[str, Any], value: str) -> None:
    """Raise ValueUnusable where the answer to a write shows another value; a hidden one is not shown."""
    if answer["value"] is not None and not hmac.compare_digest(answer["value"].encode(), value.encode()):
        raise ValueUnusable(_ALTERED)
