"""Logins that a rotation policy answers for, as the database engine of the protocol gives static ones."""

from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from audit_app.events.actions import Action
from core.canonical_json import Json
from gateway_app.kv2.answers import PROTOCOL, Kv2Error, envelope, members_of, respond, time_text
from gateway_app.kv2.mounts import OWN, environment_of, name_of, secret_at
from gateway_app.kv2.views import Kv2View
from secrets_app.services.read import reveal
from sync_app.models import RotationPolicy
from sync_app.rotation.lookup import policy_of, require_authentic, require_policy_access

# Clients read again after `ttl`: of a policy without a schedule, and not sooner than this where one is late.
_UNSCHEDULED_SECONDS: Final = 300
_LATE_SECONDS: Final = 5
_NO_LOGIN: Final = "Keeper: the value has no username and password. Read it by its name under data/."


class StaticCredentialsView(Kv2View):
    """The login of a secret that a rotation policy rotates; the name is that of the secret."""

    def get(self, request: HttpRequest, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return the login that is served, recorded, and in how many seconds it is rotated."""
        name = name_of(path)
        try:
            secret = secret_at(self.actor, environment_of(self.actor, OWN), name)
        except Kv2Error as error:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, f"unknown role: {name}") from error
        policy = policy_of(secret)
        if policy is None:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, f"unknown role: {name}")
        require_policy_access(actor=self.actor, action=Action.ROTATION_VIEW, policy=policy)
        require_authentic(policy)
        shown = reveal(actor=self.actor, secret=secret, details=PROTOCOL)
        members = members_of(shown.secret_type, shown.value)
        username, password = members.get("username"), members.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_LOGIN)
        login: dict[str, Json] = {"username": username, "password": password}
        return respond(envelope({**login, **_times(policy, time_text(shown.version.created_at))}))


def _times(policy: RotationPolicy, written: str) -> dict[str, Json]:
    ttl = _UNSCHEDULED_SECONDS
    if policy.due_at is not None and policy.suspended_at is None:
        ttl = max(_LATE_SECONDS, int((policy.due_at - timezone.now()).total_seconds()))
    times: dict[str, Json] = {"ttl": ttl, "last_vault_rotation": written}
    if policy.cron:
        return {**times, "rotation_schedule": policy.cron}
    return {**times, "rotation_period": policy.interval_seconds}
