"""Values and their versions: `data`, `metadata`, `subkeys`, `delete` and `undelete`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app.errors import Invisible
from environments_app.models import Environment
from gateway_app.kv2.answers import (
    CAS_DIFFERS,
    PROTOCOL,
    Kv2Error,
    envelope,
    fields_of,
    given_cas,
    given_fields,
    members_of,
    merged,
    missing,
    no_content,
    respond,
    stored_form,
    time_text,
    version_facts,
    whole_number,
)
from gateway_app.kv2.mounts import environment_of, secret_at
from gateway_app.kv2.views import Kv2View, body_of
from secrets_app.errors import NameTaken, NoSuchVersion, StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import (
    can_in_any_scope,
    find_deleted_version,
    find_last_deleted,
    require_authentic,
    visible_secrets,
)
from secrets_app.services import lifecycle, write
from secrets_app.services.read import RevealedValue, reveal
from secrets_app.values.versions import first_number

_INVALID_PATH: Final = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to "
    "use. If using the Vault CLI, use 'vault kv get' for this operation."
)
_ALL_VERSIONS: Final = (
    "Keeper deletes and restores a secret with all its versions: name its current version, or use a "
    "rollback. Nothing was done."
)
_NO_DESTRUCTION: Final = (
    "Keeper keeps every version until its secret is purged: delete the secret, and purge it on its page. "
    "Nothing was destroyed."
)


class DataView(Kv2View):
    """The value at a path."""

    def get(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Return a version's value, recorded; that of a deleted secret is absent, with its facts."""
        place, name = environment_of(self.actor, mount), path.rstrip("/")
        asked = request.GET.get("version", "")
        number = whole_number(asked, "version") if asked else 0
        try:
            secret = secret_at(self.actor, place, name)
            shown = self._revealed(secret, number)
        except Kv2Error:
            if deleted := find_deleted_version(actor=self.actor, environment=place, name=name, number=number):
                facts = version_facts(deleted.number, deleted.created_at, deleted=deleted.secret.deleted_at)
                body = envelope({"data": None, "metadata": facts})
                return respond(body, status=HTTPStatus.NOT_FOUND)
            raise
        facts = version_facts(shown.version.number, shown.version.created_at)
        return respond(envelope({"data": fields_of(secret.secret_type, shown.value), "metadata": facts}))

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Write a new version, if the current one is the one that the writer has seen."""
        body = body_of(request)
        return self._write(
            environment_of(self.actor, mount), path.rstrip("/"), given_fields(body), given_cas(body)
        )

    put = post

    def patch(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Change members of the current value (RFC 7396); it is read for that, recorded."""
        body = body_of(request)
        place, name = environment_of(self.actor, mount), path.rstrip("/")
        change, cas = given_fields(body), given_cas(body)
        secret = secret_at(self.actor, place, name)
        shown = self._revealed(secret, 0)
        fields = merged(members_of(secret.secret_type, shown.value), change)
        return self._write(place, name, fields, shown.version.number if cas is None else cas)

    def delete(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Delete the secret; it can be restored until it is purged."""
        secret = secret_at(self.actor, environment_of(self.actor, mount), path.rstrip("/"))
        lifecycle.delete(actor=self.actor, secret=secret)
        return no_content()

    def _revealed(self, secret: Secret, number: int) -> RevealedValue:
        try:
            return reveal(actor=self.actor, secret=secret, number=number or None, details=PROTOCOL)
        except NoSuchVersion as error:
            raise missing() from error

    def _write(self, place: Environment, name: str, fields: dict[str, Any], cas: int | None) -> HttpResponse:
        secret = self._seen(place, name)
        # After a deletion the number of the deleted version is asked for (KV v2), and 0 only of a new name.
        last = secret.current_number if secret else first_number(place, name) - 1
        if cas is not None and cas != last:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS)
        value, kind = stored_form(fields, secret)
        try:
            written = self._stored(place, name, secret, value, kind, cas)
        except (NameTaken, StaleVersion) as error:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS) from error
        return respond(envelope(version_facts(written.current_number, _created(written))))

    def _seen(self, place: Environment, name: str) -> Secret | None:
        try:
            return secret_at(self.actor, place, name)
        except Kv2Error:
            return None

    def _stored(
        self, place: Environment, name: str, secret: Secret | None, value: str, kind: Any, cas: int | None
    ) -> Secret:
        if secret is None and cas is not None:
            return write.create(
                actor=self.actor, environment=place, name=name, secret_type=kind, value=value, number=cas + 1
            )
        expected = secret.etag if secret and cas is not None else None
        written, _ = write.put(
            actor=self.actor, environment=place, name=name, secret_type=kind, value=value, expected=expected
        )
        return written


class MetadataView(Kv2View):
    """A secret's versions, or the names below a path."""

    def get(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Return the versions of a secret, or the names where `list` is asked for."""
        if request.GET.get("list") == "true" or not path.strip("/"):
            return self.list(request, mount, path)
        secret = secret_at(self.actor, environment_of(self.actor, mount), path.rstrip("/"))
        require_authentic(secret)
        return respond(envelope(_metadata(secret)))

    def list(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return the names that begin below a path: those of secrets, and with a slash those of folders."""
        place, folder = environment_of(self.actor, mount), path.strip("/")
        if not can_in_any_scope(self.actor, Action.SECRET_VIEW, place):
            raise Invisible
        start = len(folder) + 1 if folder else 0
        found = set()
        for name in self._names(place, folder):
            first, slash, _ = name[start:].partition("/")
            found.add(first + slash)
        keys = sorted(found)
        if not keys:
            raise missing()
        return respond(envelope({"keys": [*keys]}))

    def _names(self, place: Environment, folder: str) -> Sequence[str]:
        secrets = visible_secrets(self.actor).filter(environment=place)
        if folder:
            secrets = secrets.filter(name__startswith=f"{folder}/")
        return [each.name for each in genuine([*listed(secrets.order_by("name"))])]


class SubkeysView(Kv2View):
    """The names of a value's members."""

    def get(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return the members, each without its value; it is a recorded read."""
        secret = secret_at(self.actor, environment_of(self.actor, mount), path.rstrip("/"))
        shown = reveal(actor=self.actor, secret=secret, details=PROTOCOL)
        facts = version_facts(shown.version.number, shown.version.created_at)
        return respond(
            envelope({"subkeys": _subkeys(members_of(secret.secret_type, shown.value)), "metadata": facts})
        )


class DeleteView(Kv2View):
    """The deletion of versions, which here is that of the secret."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Delete the secret, if its current version is among those named."""
        secret = secret_at(self.actor, environment_of(self.actor, mount), path.rstrip("/"))
        _require_current(secret, body_of(request))
        lifecycle.delete(actor=self.actor, secret=secret)
        return no_content()

    put = post


class UndeleteView(Kv2View):
    """The restoring of versions, which here is that of the secret."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Restore the secret that was deleted last, if its current version is among those named."""
        place, name = environment_of(self.actor, mount), path.rstrip("/")
        try:
            # Undeleting what is not deleted does nothing.
            secret_at(self.actor, place, name)
        except Kv2Error:
            return self._undelete(request, place, name)
        return no_content()

    put = post

    def _undelete(self, request: HttpRequest, place: Environment, name: str) -> HttpResponse:
        secret = find_last_deleted(actor=self.actor, environment=place, name=name)
        if secret is None:
            raise missing()
        _require_current(secret, body_of(request))
        lifecycle.restore(actor=self.actor, secret=secret)
        return no_content()


class DestroyView(Kv2View):
    """The destruction of versions."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Refuse it."""
        secret_at(self.actor, environment_of(self.actor, mount), path.rstrip("/"))
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_DESTRUCTION)

    put = post


class OtherPathView(Kv2View):
    """Any other path: the token is judged first."""

    def get(self, request: HttpRequest, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Answer as for a path of version 1 where a mount is meant, else that there is no such route."""
        try:
            environment_of(self.actor, path.partition("/")[0])
        except Invisible as error:
            raise Kv2Error(
                HTTPStatus.NOT_FOUND, "no handler for this route. route entry not found."
            ) from error
        raise Kv2Error(HTTPStatus.NOT_FOUND, warnings=[_INVALID_PATH], data=None)

    post = put = patch = delete = list = get


def _require_current(secret: Secret, body: Mapping[str, Any]) -> None:
    versions = body.get("versions")
    numbers = [whole_number(each, "versions") for each in versions] if isinstance(versions, list) else []
    if secret.current_number not in numbers:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _ALL_VERSIONS)


def _created(secret: Secret) -> datetime:
    return SecretVersion.objects.get(secret=secret, number=secret.current_number).created_at


def _metadata(secret: Secret) -> dict[str, Json]:
    rows = SecretVersion.objects.filter(secret=secret).order_by("number").values_list("number", "created_at")
    versions: dict[str, Json] = {
        str(number): {"created_time": time_text(created), "deletion_time": "", "destroyed": False}
        for number, created in rows
    }
    custom = {"type": secret.secret_type, "owner": secret.owner, "tags": ",".join(secret.tags)}
    return {
        "cas_required": False,
        "created_time": time_text(secret.created_at),
        "current_version": secret.current_number,
        "custom_metadata": {name: text for name, text in custom.items() if text},
        "delete_version_after": "0s",
        "max_versions": 0,
        "oldest_version": int(next(iter(versions), "0")),
        "updated_time": time_text(secret.updated_at),
        "versions": versions,
    }


def _subkeys(fields: Any) -> Json:
    return {name: _subkeys(each) for name, each in fields.items()} if isinstance(fields, dict) else None
