"""Role by state by credential: what an account may by a session or a personal token, in each of its states."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Final

import pytest
from django.test import Client
from django.utils import timezone

from environments_app.models import Membership, PersonalToken, Role, User, UserRole
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tokens.peppers import give_secret
from secrets_app.models import Secret
from secrets_app.tests.kept import VALUE, keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
_BACKEND: Final = "environments_app.users.password_backend.LocalBackend"
Probe = Callable[[Client, Secret], bool]


def names(client: Client, secret: Secret) -> bool:
    answer = client.get("/api/secrets")
    return answer.status_code == 200 and secret.name in answer.content.decode()


def value(client: Client, secret: Secret) -> bool:
    return VALUE in client.get(f"/api/secrets/{secret.pk}").content.decode()


def write(client: Client, secret: Secret) -> bool:
    body = json.dumps({"description": "written"})
    answer = client.patch(f"/api/secrets/{secret.pk}", body, content_type="application/json")
    return answer.status_code == 200


def members(client: Client, secret: Secret) -> bool:
    return client.get(f"/api/environments/{secret.environment.name}/members").status_code == 200


def people(client: Client, secret: Secret) -> bool:
    return client.get("/api/users/bob/offboarding").status_code == 200


def trail(client: Client, secret: Secret) -> bool:
    """Read an event that is not about the caller."""
    answer = client.get("/api/events", {"action": "secret.create"})
    return answer.status_code == 200 and '"secret.create"' in answer.content.decode()


PROBES: Final[tuple[Probe, ...]] = (names, value, write, members, people, trail)
_LOOKS: Final = frozenset({"names", "members", "people", "trail"})
_NOTHING: Final = frozenset[str]()
# What each role may in the state *active*, by a session.
ROLES: Final[dict[str, frozenset[str]]] = {
    "none": _NOTHING,
    "viewer": frozenset({"names"}),
    "reader": frozenset({"names", "value"}),
    "editor": frozenset({"names", "value", "write"}),
    "manager": frozenset({"names", "value", "write", "members", "trail"}),
    "admin": _LOOKS,
    "auditor": _LOOKS,
    # Memberships of an auditor count for nothing; those of an administrator do.
    "auditor and manager": _LOOKS,
    "admin and reader": _LOOKS | {"value"},
}
STATES: Final = ("active", "disabled", "suspended", "temporary password")
CREDENTIALS: Final = (
    "session",
    "personal token",
    "of the environment",
    "of another environment",
    "of a path",
)
_BY_TOKEN: Final = frozenset({"names", "value", "write"})


def expected(role: str, state: str, credential: str) -> frozenset[str]:
    """Return what is allowed, from the rules in the documents and not from the code."""
    if state in {"disabled", "temporary password"}:
        return _NOTHING
    found = ROLES[role]
    personal = credential != "session"
    if personal:
        # An editor at most, and neither an administrator nor an auditor.
        found = _NOTHING if "auditor" in role or role == "admin" else found & _BY_TOKEN
        if credential in {"of another environment", "of a path"}:
            found = _NOTHING
    if state == "suspended":
        # Roles in environments show names; administering and auditing go on, by a session.
        holds = role not in {"none", "admin"} and "auditor" not in role
        shown = frozenset({"names"}) if holds and found else _NOTHING
        found = shown | (_LOOKS if not personal and ("admin" in role or "auditor" in role) else _NOTHING)
    return found


def _account(cast: Cast, role: str) -> User:
    installation = next((each for each in ("admin", "auditor") if each in role), UserRole.USER)
    user = user_with_password("subject", role=str(installation))
    inside = role.rpartition(" ")[2]
    if inside in Role.values:
        Membership.objects.create(environment=cast.development, user=user, role=inside)
    return user


def _set(user: User, state: str) -> None:
    user.is_active = state != "disabled"
    user.suspended_at = timezone.now() if state == "suspended" else None
    user.temporary_since = timezone.now() if state == "temporary password" else None
    user.save()


def _client(cast: Cast, user: User, credential: str) -> Client:
    if credential == "session":
        client = Client()
        client.force_login(user, backend=_BACKEND)
        return client
    # Stored as it is: some accounts could not issue it.
    place = {"of the environment": cast.development, "of another environment": cast.production}
    token = PersonalToken(
        user=user,
        environment=place.get(credential, cast.development if credential == "of a path" else None),
        prefix="elsewhere" if credential == "of a path" else "",
        name="kpr",
        expires_at=timezone.now() + timedelta(hours=1),
    )
    secret = give_secret(token)
    token.save()
    return Client(headers={"authorization": f"Bearer kpu_{token.public_id}_{secret}"})


@pytest.mark.parametrize(("role", "state"), list(product(ROLES, STATES)))
def test_each_cell(cast: Cast, role: str, state: str) -> None:
    secret = keep(cast)
    user = _account(cast, role)
    clients = {credential: _client(cast, user, credential) for credential in CREDENTIALS}
    _set(user, state)
    found = {
        credential: {probe.__name__ for probe in PROBES if probe(client, secret)}
        for credential, client in clients.items()
    }
    assert found == {each: expected(role, state, each) for each in CREDENTIALS}
