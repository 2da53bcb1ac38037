"""One person and the second hats that they can make themselves: accounts, tokens and trusts.

mallory administers the installation and manages production, as alice and erin do. What is made here is made before
production is protected, so that each hat has its role without an approval.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from django.contrib.auth.models import Group
from django.core import mail
from django.test import Client

from environments_app.authentication import second_factor
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.models import Environment, Membership, Role, ScimClient, ServiceToken, User, UserRole
from environments_app.single_sign_on.account_binding import Vouched, subject_user
from environments_app.tests.cast import OWN_PASSWORD, Cast, choose_password, user_with_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tokens import device, loopback, scim_clients
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens import service as tokens
from environments_app.tokens.personal import issue_personal
from environments_app.trusts import service as trusts
from environments_app.trusts.sign_in import sign_in
from environments_app.users import accounts, password_links
from environments_app.users.handing_over import hand_over
from environments_app.users.password_mail import send_due

TEMPORARY: Final = "a-temporary-passphrase"
HERE: Final = "192.0.2.7"
_BACKEND: Final = "environments_app.users.password_backend.LocalBackend"


def browser(user: User) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=user.pk), backend=_BACKEND)
    return client


def program(text: str) -> Client:
    return Client(headers={"authorization": f"Bearer {text}"})


def text_of(client: Client) -> str:
    return str(client.defaults["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


@dataclass
class World:
    """The people of the cast, and mallory."""

    cast: Cast
    mallory: User
    issuer: Issuer = field(default_factory=Issuer)
    made: int = 0

    @property
    def place(self) -> Environment:
        return Environment.objects.get(pk=self.cast.production.pk)

    def as_(self, user: User) -> Principal:
        return self.cast.principal(user)

    @property
    def actor(self) -> Principal:
        return self.as_(self.mallory)

    def protect(self) -> None:
        environments.update_environment(
            actor=self.as_(self.cast.alice), environment=self.place, protected=True
        )

    def manages(self, user: User) -> User:
        """Let an account manage production; another person does so, which proves nothing about its hands."""
        alice = self.as_(self.cast.alice)
        memberships.grant(actor=alice, environment=self.place, user=user, role=Role.MANAGER)
        return User.objects.get(pk=user.pk)

    def name(self) -> str:
        self.made += 1
        return f"puppet-{self.made}"


def make_world(cast: Cast) -> World:
    mallory = user_with_password("mallory", role=UserRole.ADMIN, email="mallory@example.com")
    for user in (mallory, cast.erin):
        Membership.objects.create(environment=cast.production, user=user, role=Role.MANAGER)
    return World(cast, mallory)


# Accounts that mallory can sign in as.


def by_the_page(world: World) -> User:
    name = world.name()
    form = {"username": name, "role": "user", "sign_in": "password"}
    answer = browser(world.mallory).post("/new-person", form)
    return _signed_in_first(world, name, answer.context["password"])


def by_the_admin(world: World) -> User:
    name = world.name()
    form = {
        "username": name,
        "role": "user",
        "is_active": "on",
        "new_password": TEMPORARY,
        "email": "",
        "display_name": "",
    }
    assert browser(world.mallory).post("/admin/environments_app/user/add/", form).status_code == 302
    return _signed_in_first(world, name, TEMPORARY)


def by_the_use_case(world: World) -> User:
    made = accounts.create_user(actor=world.actor, username=world.name(), password=TEMPORARY)
    return _signed_in_first(world, made.username, TEMPORARY)


def as_an_administrator(world: World) -> User:
    made = accounts.create_user(actor=world.actor, username=world.name(), role="admin", password=TEMPORARY)
    return _signed_in_first(world, made.username, TEMPORARY)


def by_a_puppet(world: World) -> User:
    puppet = as_an_administrator(world)
    made = accounts.create_user(actor=world.as_(puppet), username=world.name(), password=TEMPORARY)
    return _signed_in_first(world, made.username, TEMPORARY)


def invited(world: World) -> User:
    made = password_links.invite_new(
        actor=world.actor, username=world.name(), email="mallory+1@example.com", role="user"
    )
    return world.manages(_follow_invitation(made))


def invited_later(world: World) -> User:
    made = accounts.create_user(
        actor=system_principal(is_admin=True), username=world.name(), email="mallory+2@example.com"
    )
    password_links.invite(actor=world.actor, user=made)
    return world.manages(_follow_invitation(made))


def addressed(world: World) -> User:
    """Let another administrator invite an account whose address mallory has changed."""
    made = accounts.create_user(
        actor=system_principal(is_admin=True), username=world.name(), email="true@example.com"
    )
    made = accounts.update_user(actor=world.actor, user=made, email="mallory+3@example.com")
    password_links.invite(actor=world.as_(world.cast.root), user=made)
    return world.manages(_follow_invitation(made))


def enabled(world: World) -> User:
    """Enable the account of a person who has left, whose password mallory knows."""
    left = world.manages(user_with_password(world.name(), is_active=False))  # type: ignore[arg-type]  # a column
    return accounts.update_user(actor=world.actor, user=left, is_active=True)


def reset(world: World) -> User:
    """Replace the password of another manager, whose account is suspended then."""
    victim = world.manages(user_with_password(world.name()))
    accounts.set_password(actor=world.actor, user=victim, password=TEMPORARY)
    return _chosen(victim)


def without_factor(world: World) -> User:
    victim = world.manages(user_with_password(world.name()))
    second_factor.begin(actor=world.as_(victim), user=victim)
    victim.second_factor = victim.second_factors.get().uuid
    victim.save()
    return second_factor.remove(actor=world.actor, user=victim)


def restored(world: World) -> User:
    victim = world.manages(user_with_password(world.name()))
    accounts.restore_account(actor=world.actor, user=victim, role="user", password=TEMPORARY)
    return _chosen(victim)


def to_oneself(actor: Principal, user: User) -> User:
    """Hand an account over to a subject of one's own at the identity provider, and sign in with it."""
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:okta": "Okta"}):
        client = ScimClient.objects.first() or scim_clients.add_client(
            actor=actor, name="Okta", preset="okta", issuer="oidc:okta"
        )
    subject = f"own-{user.username}"
    hand_over(actor=actor, user=user, client=client, external_id=subject, user_name=user.username)
    who = Vouched(
        protocol="oidc", issuer="oidc:okta", subject=subject, username="x", email="", display_name="",
        creates=False,
    )  # fmt: skip
    return subject_user(who, actor=system_principal(is_admin=True))


def handed_over(world: World) -> User:
    return to_oneself(world.actor, world.manages(user_with_password(world.name())))


def in_a_group(world: World) -> User:
    """Let a puppet manage as the member of a group."""
    made = accounts.create_user(actor=world.actor, username=world.name(), password=TEMPORARY)
    group = groups.create_group(actor=world.actor, name=f"group of {made.username}")
    alice = world.as_(world.cast.alice)
    memberships.grant(actor=alice, environment=world.place, group=group, role=Role.MANAGER)
    groups.add_to_group(actor=world.actor, user=made, group=Group.objects.get(pk=group.pk))
    return _chosen(made)


ACCOUNTS: Final[Mapping[str, Callable[[World], User]]] = {
    "page": by_the_page,
    "admin": by_the_admin,
    "use case": by_the_use_case,
    "administrator": as_an_administrator,
    "puppet of a puppet": by_a_puppet,
    "group": in_a_group,
    "invited": invited,
    "invited later": invited_later,
    "addressed": addressed,
    "enabled": enabled,
    "reset": reset,
    "without factor": without_factor,
    "restored": restored,
    "handed over": handed_over,
}
# They are suspended besides: they neither ask nor approve.
SUSPENDED: Final = frozenset({"reset", "without factor", "restored", "handed over"})


def _signed_in_first(world: World, name: str, password: str) -> User:
    """Sign in with a temporary password, see that it opens nothing else, and replace it."""
    client = Client()
    assert client.post("/sign-in", {"username": name, "password": password}).status_code == 302
    for path in ("/", "/secrets", "/people", "/admin/", "/approvals", "/device", "/profile", "/cli-sign-in"):
        assert client.get(path)["Location"] == "/profile/password", path
    refused = client.get("/api/environments")
    assert (refused.status_code, refused.json()["title"]) == (403, "Temporary password")
    same = {"current": password, "password": password, "again": password}
    assert client.post("/profile/password", same).status_code == 422
    own = same | {"password": OWN_PASSWORD, "again": OWN_PASSWORD}
    assert client.post("/profile/password", own).status_code == 302
    assert client.get("/api/environments").status_code == 200
    return world.manages(User.objects.get(username=name))


def _chosen(user: User) -> User:
    choose_password(user)
    return User.objects.get(pk=user.pk)


def _follow_invitation(user: User) -> User:
    send_due()
    found = re.search(r"/set-password#([A-Za-z0-9_-]{43})", str(mail.outbox[-1].body))
    assert found
    password_links.choose_password(code=found[1], password=OWN_PASSWORD, address=HERE)
    return User.objects.get(pk=user.pk)


# Programs that mallory has the token of.


def issued(world: World) -> Client:
    return program(_issue(world, world.actor, "editor")[1])


def issued_by_a_token(world: World) -> Client:
    first, _ = _issue(world, world.actor, "manager")
    return program(_issue(world, token_principal(first), "editor")[1])


def issued_by_an_administering_token(world: World) -> Client:
    first, _ = tokens.issue(actor=world.actor, environment=None, role="admin", name=world.name())
    return program(_issue(world, token_principal(first), "editor")[1])


def issued_by_a_puppet(world: World) -> Client:
    return program(_issue(world, world.as_(by_the_use_case(world)), "editor")[1])


def rotated(world: World) -> Client:
    token, _ = _issue(world, world.as_(world.cast.alice), "editor")
    return program(token_rotation.rotate(actor=world.actor, token=token)[1])


def rotated_by_a_token(world: World) -> Client:
    token, _ = _issue(world, world.as_(world.cast.alice), "editor")
    first, _ = _issue(world, world.actor, "manager")
    return program(token_rotation.rotate(actor=token_principal(first), token=token)[1])


def workload(world: World) -> Client:
    trusts.create(actor=world.actor, **_trust(world, "mine"))
    return _enter(world, "mine")


def workload_of_a_changed_trust(world: World) -> Client:
    other = Issuer("https://other.test")
    made = trusts.create(actor=world.as_(world.cast.alice), **_trust(world, "hers", other))
    trusts.change(actor=world.actor, trust=made, issuer=world.issuer.url, jwks=world.issuer.jwks())
    return _enter(world, "hers")


def workload_of_a_puppet(world: World) -> Client:
    trusts.create(actor=world.as_(by_the_use_case(world)), **_trust(world, "its"))
    return _enter(world, "its")


def workload_of_a_token(world: World) -> Client:
    first, _ = _issue(world, world.actor, "manager")
    trusts.create(actor=token_principal(first), **_trust(world, "tokens"))
    return _enter(world, "tokens")


def personal(world: World) -> Client:
    puppet = by_the_use_case(world)
    return program(issue_personal(actor=world.as_(puppet), name="kpr")[1])


def by_device(world: World) -> Client:
    puppet, started = by_the_use_case(world), device.start(name="kpr", address=HERE)
    device.approve(actor=world.as_(puppet), code=started.row.user_code)
    found = device.redeem(device_code=started.device_code, address=HERE)
    assert found
    return program(found[0])


def by_loopback(world: World) -> Client:
    puppet, verifier = by_the_use_case(world), "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {"client_name": "kpr", "port": "40123", "state": "s" * 32, "code_challenge": challenge}
    address = loopback.approve(
        actor=world.as_(puppet),
        asked=loopback.parse_request(asked),
        environment="",
        prefix="",
        lifetime=loopback.LIFETIME,
    )
    code = dict(parse_qsl(urlsplit(address).query))["code"]
    return program(loopback.redeem(code=code, verifier=verifier, address=HERE)[0])


PROGRAMS: Final[Mapping[str, Callable[[World], Client]]] = {
    "token": issued,
    "token of a token": issued_by_a_token,
    "token of an administering token": issued_by_an_administering_token,
    "token of a puppet": issued_by_a_puppet,
    "rotated token": rotated,
    "token rotated by a token": rotated_by_a_token,
    "trust": workload,
    "changed trust": workload_of_a_changed_trust,
    "trust of a puppet": workload_of_a_puppet,
    "trust of a token": workload_of_a_token,
    "personal token": personal,
    "device": by_device,
    "loopback": by_loopback,
}


def _issue(world: World, actor: Principal, role: str) -> tuple[ServiceToken, str]:
    return tokens.issue(actor=actor, environment=world.place, role=role, name=world.name())


def _trust(world: World, name: str, issuer: Issuer | None = None) -> dict[str, Any]:
    signer = issuer or world.issuer
    return {
        "environment": world.place, "preset": "oidc", "name": name, "issuer": signer.url,
        "jwks": signer.jwks(), "audience": "https://keeper.test", "algorithm": signer.algorithm,
        "claims": {"sub": "a-service"}, "role": "editor",
    }  # fmt: skip


def _enter(world: World, name: str) -> Client:
    return program(sign_in(trust_name=name, jwt=world.issuer.sign(), address=HERE).text)


# How a hat asks for a change of production.


def ask_api(client: Client, name: str = "asked/api") -> Any:
    body = {"environment": "production", "name": name, "secret_type": "TEXT", "value": "v"}
    return client.post("/api/secrets", json.dumps(body), content_type="application/json")


def ask_page(client: Client) -> Any:
    form = {"environment": "production", "name": "asked/page", "secret_type": "TEXT", "value": "v"}
    return client.post("/secrets/new", form)


def ask_vault(client: Client) -> Any:
    body = json.dumps({"data": {"value": "v"}, "options": {}}).encode()
    return Client().put(
        "/vault/v1/secret/data/asked/vault", body, content_type="", headers={"X-Vault-Token": text_of(client)}
    )


# How a hat approves.


def approve_api(client: Client, approval: int) -> Any:
    return client.post(f"/api/approvals/{approval}/approve", "{}", content_type="application/json")


def approve_page(client: Client, approval: int) -> Any:
    return client.post(f"/approvals/{approval}/approve", {"comment": ""})


APPROVING: Final = {"api": approve_api, "page": approve_page}
