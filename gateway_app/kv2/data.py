"""Values: `data` and `subkeys`."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.http import HttpRequest, HttpResponse

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from core.canonical_json import Json
from environments_app.authorization.policy import require
from environments_app.errors import Invisible
from environments_app.models import Environment
from gateway_app.kv2.answers import (
    CAS_DIFFERS,
    CAS_MISSING,
    PROTOCOL,
    Kv2Error,
    envelope,
    facts_of,
    given_cas,
    given_fields,
    members_of,
    merged,
    missing,
    no_content,
    nothing,
    respond,
    revealed,
    stored_form,
    version_facts,
    whole_number,
)
from gateway_app.kv2.metadata import cas_required, oldest_seen, was_deleted_there
from gateway_app.kv2.mounts import environment_of, known_at, place_of
from gateway_app.kv2.versions import delete_at
from gateway_app.kv2.views import Kv2View, body_of, patch_of, repeated
from gateway_app.kv2.wrapping import requested, wrap_lifetime, wrapped
from secrets_app.errors import NameTaken, NoSuchVersion, StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_deleted_version, find_last_deleted
from secrets_app.services import write
from secrets_app.services.read import RevealedValue, reveal
from secrets_app.values.versions import first_number

Taken = TypeVar("Taken")
_INVALID_PATH: Final = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to "
    "use. If using the Vault CLI, use 'vault kv get' for this operation."
)


class _ValueView(Kv2View):
    """Reads one version of a secret."""

    def read(
        self, request: HttpRequest, place: Environment, name: str, take: Callable[[Secret, int], Taken]
    ) -> Taken:
        """Return what `take` returns of the secret and version that a request names; 0 is the current one.

        Raises Kv2Error, with the facts of a version that is gone.
        """
        asked = request.GET.get("version", "")
        number = whole_number(asked, "version") if asked else 0
        secret = known_at(self.actor, place, name)
        if secret is None:
            raise self._gone(place, name, number)
        if number and number < oldest_seen(secret, place):
            raise missing()
        try:
            return take(secret, number)
        except NoSuchVersion as error:
            raise self._gone(place, name, number, secret) from error

    def revealed(self, secret: Secret, number: int) -> RevealedValue:
        """Return a version's value, its read recorded. Raises as `reveal` does."""
        return reveal(actor=self.actor, secret=secret, number=_named(secret, number), details=PROTOCOL)

    def _gone(self, place: Environment, name: str, number: int, secret: Secret | None = None) -> Kv2Error:
        """Return how a version is answered that is deleted or destroyed, or never was."""
        if secret is not None and secret.rules.state(number or secret.current_number):
            found = SecretVersion.objects.filter(secret=secret, number=number or secret.current_number)
            row = found.defer("value").first()
        else:
            row = find_deleted_version(actor=self.actor, environment=place, name=name, number=number)
            secret = row.secret if row else None
        if row is None or secret is None:
            return missing()
        return Kv2Error(
            HTTPStatus.NOT_FOUND, **envelope({self.member: None, "metadata": _facts_of_gone(secret, row)})
        )

    member = "data"


class DataView(_ValueView):
    """The value at a path."""

    wraps = True

    def get(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Return a version's value, recorded; a deleted one is absent, with its facts.

        With the header `X-Vault-Wrap-TTL`: a token that opens it once, instead of the value. A guarded
        value is requested by a person, whose token opens it once a second person has agreed.
        """
        place, name = place_of(self.actor, mount, path)
        lifetime, where = wrap_lifetime(request), f"{mount}/data/{path.rstrip('/')}"

        def take(secret: Secret, number: int) -> HttpResponse:
            version = _named(secret, number)
            if secret.guarded and self.actor.kind is ActorKind.USER:
                return requested(actor=self.actor, secret=secret, number=version, path=where)
            if not lifetime:
                return respond(envelope(revealed(self.revealed(secret, number))))
            return wrapped(actor=self.actor, secret=secret, number=version, path=where, lifetime=lifetime)

        return self.read(request, place, name, take)

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Write a new version, if the current one is the one that the writer has seen."""
        body = body_of(request)
        place, name = place_of(self.actor, mount, path)
        fields, cas = given_fields(body), given_cas(body)
        return repeated(lambda: self._write(place, name, fields, cas))

    put = post

    def patch(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Change members of the current value (RFC 7396); it is read for that, recorded."""
        body = patch_of(request)
        place, name = place_of(self.actor, mount, path)
        change, cas = given_fields(body), given_cas(body)
        return repeated(lambda: self._patched(place, name, change, cas))

    def _patched(
        self, place: Environment, name: str, change: dict[str, Any], cas: int | None
    ) -> HttpResponse:
        secret = known_at(self.actor, place, name)
        if secret is None or secret.rules.state(secret.current_number):
            require(actor=self.actor, action=Action.SECRET_UPDATE, environment=place, name=name)
            return self._nothing_to_patch(place, secret, cas)
        _require_cas(secret, place, cas)
        shown = self.revealed(secret, 0)
        fields = merged(members_of(shown.secret_type, shown.value), change)
        return self._write(place, name, fields, cas, merged_with=shown.version.number)

    def delete(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Delete the current version; it can be restored."""
        place, name = place_of(self.actor, mount, path)
        delete_at(self.actor, place, name, lambda secret: [secret.current_number])
        return no_content()

    def _write(
        self,
        place: Environment,
        name: str,
        fields: dict[str, Any],
        cas: int | None,
        *,
        merged_with: int | None = None,
    ) -> HttpResponse:
        """Write a version. Without `cas` it raises NameTaken or StaleVersion where another was first."""
        secret = self._seen(place, name)
        _require_cas(secret, place, cas)
        number = secret.current_number + 1 if secret else first_number(place, name)
        if cas is not None and cas != (number - 1 if secret or self._was_deleted(place, name) else 0):
            raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS)
        if merged_with not in {None, number - 1}:
            if cas is not None:
                raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS)
            raise StaleVersion("The secret changes all the time. Nothing was stored. Try again.")
        value, kind = stored_form(fields, secret)
        try:
            written = self._stored(place, name, secret, value, kind, number)
        except (NameTaken, StaleVersion) as error:
            if cas is None:
                raise
            raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS) from error
        row = SecretVersion.objects.only("number", "created_at").get(
            secret=written, number=written.current_number
        )
        ends, custom = written.rules.deleted.get(row.number), written.custom_metadata
        return respond(envelope(version_facts(row.number, row.created_at, deleted=ends, custom=custom)))

    def _nothing_to_patch(self, place: Environment, secret: Secret | None, cas: int | None) -> HttpResponse:
        if secret is None:
            return nothing()
        if cas not in {None, secret.current_number}:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_DIFFERS)
        _require_cas(secret, place, cas)
        if not secret.current_number:
            return nothing()
        row = SecretVersion.objects.defer("value").get(secret=secret, number=secret.current_number)
        return respond(envelope(_facts_of_gone(secret, row)), status=HTTPStatus.NOT_FOUND)

    def _was_deleted(self, place: Environment, name: str) -> bool:
        """Return whether `cas` names the last version of a secret that was deleted as a whole."""
        last = find_last_deleted(actor=self.actor, environment=place, name=name)
        return last is not None and not last.rules.hidden

    def _seen(self, place: Environment, name: str) -> Secret | None:
        return known_at(self.actor, place, name)

    def _stored(
        self, place: Environment, name: str, secret: Secret | None, value: str, kind: Any, number: int
    ) -> Secret:
        """Store a value in the form of the secret that was seen. Raises NameTaken or StaleVersion."""
        if secret is None:
            return write.create(
                actor=self.actor, environment=place, name=name, secret_type=kind, value=value, number=number
            )
        return write.update(
            actor=self.actor, secret=secret, secret_type=kind, value=value, expected=secret.etag, anew=True
        )


class SubkeysView(_ValueView):
    """The names of a value's members."""

    member = "subkeys"

    def get(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Return the members, each without its value, to a `depth`; it is a recorded read."""
        depth = request.GET.get("depth", "")
        levels = whole_number(depth, "depth") if depth else 0
        shown = self.read(request, *place_of(self.actor, mount, path), self.revealed)
        members = _subkeys(members_of(shown.secret_type, shown.value), levels or -1)
        return respond(envelope({"subkeys": members, "metadata": facts_of(shown)}))


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

    post = put = patch = delete = list = scan = get


def _require_cas(secret: Secret | None, place: Environment, cas: int | None) -> None:
    if cas is None and cas_required(secret, place):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, CAS_MISSING)


def _named(secret: Secret, number: int) -> int | None:
    """Return a version by its number, the current one by None; but a deleted one by its number.

    Without its current version a secret is damaged.
    """
    current = number or secret.current_number
    return current if number or secret.rules.state(current) else None


def _facts_of_gone(secret: Secret, row: SecretVersion) -> dict[str, Json]:
    """Return the facts of a version that was deleted or destroyed, or whose secret was deleted as a whole."""
    rules = secret.rules
    return version_facts(
        row.number,
        row.written_at or row.created_at,
        deleted=rules.deleted.get(row.number) or (None if rules.state(row.number) else secret.deleted_at),
        destroyed=row.number in rules.destroyed and not was_deleted_there(row),
        custom=secret.custom_metadata,
    )


def _subkeys(fields: Any, levels: int) -> Json:
    if not isinstance(fields, dict) or not levels:
        return None
    return {name: _subkeys(each, levels - 1) for name, each in fields.items()}
