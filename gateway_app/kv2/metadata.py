"""What a secret has besides its values: `metadata`, `config`, and the names below a path."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, require
from environments_app.environments.service import update_environment
from environments_app.errors import Invisible
from environments_app.models import Environment
from gateway_app.kv2.answers import (
    TRUE,
    Kv2Error,
    envelope,
    given_flag,
    merged,
    missing,
    no_content,
    nothing,
    respond,
    time_text,
    whole_number,
)
from gateway_app.kv2.durations import duration_of, duration_text
from gateway_app.kv2.mounts import environment_of, folder_of, known_at, path_of, place_of
from gateway_app.kv2.views import Kv2View, body_of, patch_of, repeated
from secrets_app.errors import StaleVersion
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.models.version_rules import DELETED, NEVER
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import (
    can_in_any_scope,
    find_last_deleted,
    require_authentic,
    visible_secrets,
)
from secrets_app.services import versions as service
from secrets_app.services import write
from secrets_app.values.metadata import Metadata
from sync_app.migration.mounts import Mounted, old_paths

_DELETED: Final = (
    "The secret is deleted with all its versions: restore it, or write data first. Nothing was stored."
)
_CAS_DIFFERS: Final = "metadata check-and-set parameter does not match the current version"
_NO_CAS_REQUIRED: Final = "Keeper has no metadata_cas_required: leave it out. Nothing was stored."
_AFTER: Final = "delete_version_after"


class NamesView(Kv2View):
    """The names below a path."""

    def get(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Return the names that begin there, those in folders as well where `scan` is asked for."""
        return self._listed(request, mount, path, whole=request.GET.get("scan") in TRUE)

    def list(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Return the names that begin below a path: those of secrets, and with a slash those of folders.

        `after` is the last name that the caller has, `limit` how many more it takes.
        """
        return self._listed(request, mount, path, whole=False)

    def scan(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Return the names of all secrets below a path, in folders as well, as clients of OpenBao ask."""
        return self._listed(request, mount, path, whole=True)

    def _listed(self, request: HttpRequest, mount: str, path: str, *, whole: bool) -> HttpResponse:
        place, folder, old = folder_of(self.actor, mount, path.strip("/"))
        if not can_in_any_scope(self.actor, Action.SECRET_VIEW, place):
            raise Invisible
        after, limit = request.GET.get("after", ""), request.GET.get("limit", "")
        names = _names(self.actor, place, folder)
        found = _below(folder, names) if old is None else _old_below(old, mount, path.strip("/"), names)
        keys = sorted(name for name in ({*found} if whole else {*map(_first_part, found)}) if name > after)
        # Clients of OpenBao send -1 for all.
        count = 0 if limit in {"", "-1"} else max(0, whole_number(limit, "limit"))
        if not keys:
            if whole:
                return respond(envelope({}))
            raise missing()
        return respond(envelope({"keys": keys[: count or None]}))


class MetadataView(NamesView):
    """A secret's versions, or the names below a path."""

    def get(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Return the versions of a secret, or the names where `list` or `scan` is asked for."""
        if TRUE & {request.GET.get("list"), request.GET.get("scan")} or not path.strip("/"):
            return super().get(request, mount, path)
        place, name = place_of(self.actor, mount, path)
        secret = known_at(self.actor, place, name)
        deleted = None
        if secret is None:
            # One that was deleted as a whole: each of its versions is.
            secret = find_last_deleted(actor=self.actor, environment=place, name=name)
            if secret is None or secret.rules.hidden:
                raise missing()
            deleted = secret.deleted_at
        require_authentic(secret)
        return respond(envelope(_metadata(secret, place, deleted)))

    def post(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Set what a secret is described by and what its writers must do; what is left out stays."""
        return self._set(body_of(request), mount, path, merge=False)

    put = post

    def patch(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:
        """Change members of the description (RFC 7396), and what else is named."""
        return self._set(patch_of(request), mount, path, merge=True)

    def delete(self, request: HttpRequest, mount: str, path: str = "") -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Delete the secret with all its versions; Keeper's pages can restore it until it is purged."""
        place, name = place_of(self.actor, mount, path)

        def delete() -> None:
            secret = known_at(self.actor, place, name)
            require(actor=self.actor, action=Action.SECRET_DELETE, environment=place, name=name)
            if secret is not None:
                service.delete_all(actor=self.actor, secret=secret)

        repeated(delete)
        return no_content()

    def _set(self, body: Mapping[str, Any], mount: str, path: str, *, merge: bool) -> HttpResponse:
        place, name = place_of(self.actor, mount, path)
        cas = body.get("metadata_cas")
        seen = None if cas is None else whole_number(cas, "metadata_cas")

        def store() -> HttpResponse:
            secret = known_at(self.actor, place, name)
            require(actor=self.actor, action=Action.SECRET_UPDATE, environment=place, name=name)
            return self._stored(place, name, secret, _given(body, merge=merge), seen, merge=merge)

        if seen is None:
            return repeated(store)
        try:
            return store()
        except StaleVersion as error:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _CAS_DIFFERS) from error

    def _stored(
        self,
        place: Environment,
        name: str,
        secret: Secret | None,
        given: Metadata,
        seen: int | None,
        *,
        merge: bool,
    ) -> HttpResponse:
        """Store it, if the metadata are those that the writer has seen. Raises StaleVersion and Kv2Error."""
        if secret is None and merge:
            return nothing() if given else no_content()
        if given and seen not in {None, secret.metadata_version if secret else 0}:
            raise StaleVersion
        if secret is None:
            if not given:
                return no_content()
            last = find_last_deleted(actor=self.actor, environment=place, name=name)
            if last is not None and not last.rules.hidden:
                raise Kv2Error(HTTPStatus.BAD_REQUEST, _DELETED)
            given["metadata_version"] = 1
            write.describe(actor=self.actor, environment=place, name=name, **given)
            return no_content()
        if not given:
            return no_content()
        if merge and "custom_metadata" in given:
            given["custom_metadata"] = merged(secret.custom_metadata, given["custom_metadata"]) or None
        given["metadata_version"] = secret.metadata_version + 1
        # What is merged and counted on is what was read: after another write it is read again.
        write.update(actor=self.actor, secret=secret, anew=True, expected=secret.etag, **given)
        return no_content()


class ConfigView(Kv2View):
    """The rules of a mount, for secrets that have none of their own."""

    def get(self, request: HttpRequest, mount: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return them."""
        place = environment_of(self.actor, mount)
        return respond(
            envelope(
                {
                    "cas_required": bool(_default(place, "cas_required")),
                    _AFTER: duration_text(timedelta(seconds=place.delete_version_after)),
                    "max_versions": int(_default(place, "max_versions") or 0),
                    "metadata_cas_required": False,
                }
            )
        )

    def post(self, request: HttpRequest, mount: str) -> HttpResponse:
        """Set rules for all secrets of the environment; managers may."""
        place = environment_of(self.actor, mount)
        require(actor=self.actor, action=Action.ENVIRONMENT_UPDATE, environment=place)
        body = body_of(request)
        given = _given({**body, "custom_metadata": None, _AFTER: None}, merge=False)
        if (after := body.get(_AFTER)) is not None:
            # A negative one lets no version end, whatever its secret says.
            given[_AFTER] = max(NEVER, _seconds(after))
        update_environment(actor=self.actor, environment=place, version_rules=given)
        return no_content()

    put = post


def cas_required(secret: Secret | None, place: Environment) -> bool:
    """Return whether a writer must name the version that they have seen."""
    return bool(secret and secret.cas_required) or bool(_default(place, "cas_required"))


def oldest_seen(secret: Secret, place: Environment) -> int:
    """Return the number of the oldest version that clients see: `max_versions` hides the older ones."""
    count = int(_default(place, "max_versions") or 0)
    if secret.max_versions or not count:
        return secret.rules.oldest
    return max(secret.rules.oldest, secret.current_number - count + 1)


def _default(place: Environment, name: str) -> Any:
    return (place.version_defaults or {}).get(name)


def _given(body: Mapping[str, Any], *, merge: bool) -> Metadata:
    given: Metadata = {}
    if given_flag(body.get("metadata_cas_required") or False, "metadata_cas_required"):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_CAS_REQUIRED)
    if (after := body.get(_AFTER)) is not None and (seconds := _seconds(after)) >= 0:
        given[_AFTER] = seconds
    elif after is not None:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{_AFTER} cannot be negative")
    if (count := body.get("max_versions")) is not None:
        given["max_versions"] = whole_number(count, "max_versions")
        if not 0 <= given["max_versions"] < 2**31:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, "max_versions is 0 or more")
    if (required := body.get("cas_required")) is not None:
        given["cas_required"] = given_flag(required, "cas_required")
    custom = body.get("custom_metadata")
    if custom is not None:
        if not isinstance(custom, dict):
            raise Kv2Error(HTTPStatus.BAD_REQUEST, "custom_metadata is an object")
        given["custom_metadata"] = {name: _text(text, merge=merge) for name, text in custom.items()}
    return given


def _seconds(given: Any) -> int:
    return int(duration_of(0 if given == "" else given, _AFTER, signed=True).total_seconds())


def _text(given: Any, *, merge: bool) -> Any:
    if isinstance(given, str) or (given is None and merge):
        return given
    if isinstance(given, bool | int | float):
        return str(given).lower() if isinstance(given, bool) else str(given)
    raise Kv2Error(HTTPStatus.BAD_REQUEST, "a value of custom_metadata is a text")


def _names(actor: Principal, place: Environment, folder: str) -> Sequence[str]:
    secrets = visible_secrets(actor).filter(environment=place)
    withdrawn = visible_secrets(actor, deleted=True).filter(environment=place, version_rules__isnull=False)
    if folder:
        secrets, withdrawn = (each.filter(name__startswith=f"{folder}/") for each in (secrets, withdrawn))
    living = [each.name for each in genuine([*listed(secrets.order_by("name"))])]
    return [*living, *(each.name for each in withdrawn if each.is_withdrawn and each.is_authentic())]


def _first_part(path: str) -> str:
    return "".join(path.partition("/")[:2])


def _below(folder: str, names: Sequence[str]) -> Iterator[str]:
    start = len(folder) + 1 if folder else 0
    for name in names:
        yield "/".join(map(path_of, name[start:].split("/")))


def _old_below(old: Mounted, mount: str, path: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the names in a folder of an old mount as they were there, whatever they became here."""
    carried = old_paths(old.environment, mount, names)
    start, skipped = len(old.name) + 1 if old.name else 0, len(path) + 1 if path else 0
    for name in names:
        if name not in carried and old.is_there:
            yield name[start:]
        for there in carried.get(name, ()):
            if not path or there.startswith(f"{path}/"):
                yield there[skipped:]


def custom_of(secret: Secret) -> Json:
    """Return what clients described a secret with; if none did, what Keeper's users did."""
    if secret.custom_metadata:
        return dict(secret.custom_metadata)
    described = {"owner": secret.owner, "tags": ",".join(secret.tags)}
    return {name: text for name, text in described.items() if text} or None


def was_deleted_there(row: SecretVersion) -> bool:
    """Return whether a version was carried from a system that had deleted it, and gave no value."""
    return VersionOrigin.objects.filter(version=row, state=DELETED).exists()


def _metadata(secret: Secret, place: Environment, deleted: datetime | None) -> dict[str, Json]:
    rules, oldest = secret.rules, oldest_seen(secret, place)
    rows = SecretVersion.objects.filter(secret=secret, number__gte=oldest).order_by("number")
    versions: dict[str, Json] = {
        str(number): {
            "created_time": time_text(written or created),
            "deletion_time": time_text(rules.deleted.get(number) or deleted),
            "destroyed": number in rules.destroyed and there != DELETED,
        }
        for number, created, written, there in rows.values_list(
            "number", "created_at", "written_at", "origin__state"
        )
    }
    return {
        "cas_required": rules.cas_required,
        "created_time": time_text(secret.created_at),
        "current_metadata_version": rules.metadata_version,
        "current_version": secret.current_number,
        "custom_metadata": custom_of(secret),
        _AFTER: duration_text(timedelta(seconds=rules.delete_version_after)),
        "max_versions": rules.max_versions,
        "metadata_cas_required": False,
        "oldest_version": max(oldest, 0),
        "updated_time": time_text(secret.updated_at),
        "versions": versions,
    }
