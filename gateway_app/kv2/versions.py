"""Single versions: `delete`, `undelete` and `destroy`."""

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from gateway_app.kv2.answers import Kv2Error, no_content, whole_number
from gateway_app.kv2.mounts import known_at, place_of
from gateway_app.kv2.views import Kv2View, body_of, repeated
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_last_deleted, find_with_versions
from secrets_app.services import versions as service

_NO_VERSIONS: Final = "No version number provided"
_NO_VERSION: Final = 2**31


class DeleteView(Kv2View):
    """The deletion of versions."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Delete the versions that are named; they can be restored."""
        numbers = versions_of(body_of(request))
        place, name = place_of(self.actor, mount, path)
        delete_at(self.actor, place, name, lambda _: numbers)
        return no_content()

    put = post


class UndeleteView(Kv2View):
    """The restoring of versions."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Restore the versions that are named; with the current one also of a secret deleted as a whole."""
        numbers = versions_of(body_of(request))
        place, name = place_of(self.actor, mount, path)

        def restore() -> None:
            secret = _asked(self.actor, Action.SECRET_RESTORE, place, name)
            if secret is None:
                last = find_last_deleted(actor=self.actor, environment=place, name=name)
                if last is None or last.rules.hidden or last.current_number not in numbers:
                    return
                secret = last
            service.restore_versions(actor=self.actor, secret=secret, numbers=numbers)

        repeated(restore)
        return no_content()

    put = post


class DestroyView(Kv2View):
    """The destruction of versions."""

    def post(self, request: HttpRequest, mount: str, path: str) -> HttpResponse:
        """Destroy the values of the versions that are named, for ever; managers may."""
        numbers = versions_of(body_of(request))
        place, name = place_of(self.actor, mount, path)
        repeated(lambda: self._destroy(place, name, numbers))
        return no_content()

    put = post

    def _destroy(self, place: Environment, name: str, numbers: Collection[int]) -> None:
        _asked(self.actor, Action.SECRET_DESTROY, place, name)
        # Numbers go on when a name is used again, and what can be restored is not gone: a number that the
        # living secret does not have is that of a deleted one.
        for secret in find_with_versions(actor=self.actor, environment=place, name=name, numbers=numbers):
            held = {*secret.versions.filter(number__in=numbers).values_list("number", flat=True)}
            service.destroy_versions(actor=self.actor, secret=secret, numbers=held)
            numbers = {*numbers} - held


def delete_at(actor: Principal, place: Environment, name: str, chosen: Callable[[Secret], list[int]]) -> None:
    """Delete versions of the secret at a path, if there is one; a write meanwhile makes it look again."""

    def delete() -> None:
        if secret := _asked(actor, Action.SECRET_DELETE, place, name):
            service.delete_versions(actor=actor, secret=secret, numbers=chosen(secret))

    repeated(delete)


def _asked(actor: Principal, action: Action, place: Environment, name: str) -> Secret | None:
    """Return the secret at a path, None for none, to who has the right there. Raises Forbidden."""
    secret = known_at(actor, place, name)
    require(actor=actor, action=action, environment=place, name=name)
    return secret


def versions_of(body: Mapping[str, Any]) -> list[int]:
    """Return the numbers that a request names. Raises Kv2Error."""
    given = body.get("versions")
    if isinstance(given, str):
        given = [each.strip() for each in given.split(",") if each.strip()]
    listed = given if isinstance(given, list) else [] if given is None else [given]
    numbers = [whole_number(each, "versions") for each in listed]
    if not numbers:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_VERSIONS)
    # What no version can have is not looked for: not every database takes it.
    return [number for number in numbers if 0 < number < _NO_VERSION]
