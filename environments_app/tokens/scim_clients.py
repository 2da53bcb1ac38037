"""Use cases of SCIM clients: added and removed by administrators, with tokens that open /scim alone.

A client makes and ends accounts, so that all administrators learn of it. It calls by a token of the role
provisioner; what it does is serialised by its row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.policy import (
    Principal,
    allows,
    require,
    require_confirmed,
    require_unsuspended,
)
from environments_app.authorization.principals import refresh_principal
from environments_app.authorization.rows import clean_fields, lock_authentic
from environments_app.errors import BadToken, Conflict, InvalidField, NameInUse
from environments_app.models import (
    OIDC_ISSUER,
    SAML_ISSUER,
    ConnectedSignIn,
    OidcProvider,
    ProvisionedUser,
    ScimClient,
    ScimPreset,
    ServiceToken,
    TokenRole,
    User,
    UserRole,
)
from environments_app.names import refuse_reserved
from environments_app.notifications.service import message_users
from environments_app.sessions.service import end_all_sessions, lock_actor, lock_row
from environments_app.tokens.authentication import parse, verify
from environments_app.tokens.service import (
    allowed_expiry,
    normalize_cidrs,
    person_behind,
    record_token,
    set_secret,
)
from environments_app.users.credentials import delete_connected

# Entra stops for good when its token ends, so that it lives longer.
_DAYS: Final = {ScimPreset.ENTRA: 730}
_YEAR: Final = 365


def lines_to_paste(preset: str) -> list[tuple[str, str]]:
    """Return what an administrator of a system enters there, in the system's words."""
    base = f"{settings.KEEPER_URL or 'https://KEEPER'}/scim/v2"
    if preset == ScimPreset.OKTA:
        return [
            ("SCIM connector base URL", base),
            ("Unique identifier field for users", "userName"),
            ("Supported provisioning actions", "Push New Users, Push Profile Updates, Push Groups"),
            ("Authentication mode", "HTTP Header, with the token"),
        ]
    if preset == ScimPreset.ENTRA:
        return [
            ("Tenant URL", base),
            ("Secret token", "the token"),
            ("Attribute mapping", "objectId → externalId, matching precedence 2"),
            ("Attribute mapping", "userPrincipalName → userName, matching precedence 1"),
        ]
    return [("SCIM base URL", base), ("Authentication", "Authorization: Bearer, with the token")]


def sign_ins() -> dict[str, str]:
    """Return the identity providers that a client's people may sign in through: issuer → label."""
    rows = OidcProvider.objects.filter(enabled=True).order_by("slug")
    found = {provider.subject_issuer: str(provider.label) for provider in rows}
    return found | ({SAML_ISSUER: "SAML"} if settings.KEEPER_SAML else {})


def add_client(*, actor: Principal, name: str, preset: str, issuer: str = "") -> ScimClient:
    """Let an outside system provision people, whose first sign-in through `issuer` it prepares.

    Whoever connected that sign-in to an account is disconnected, and signed out unless they are the actor.
    Raises Forbidden, ConfirmationNeeded, Suspended, InvalidField, BadName, Conflict or NameInUse.
    """
    _require(actor)
    refuse_reserved(name, field="name")
    if issuer and issuer not in sign_ins():
        raise InvalidField("issuer", "Choose one of the identity providers that people sign in through.")
    client = ScimClient(name=name.strip(), preset=preset, issuer=issuer or None)
    clean_fields(client, ["name", "preset"])
    if not client.name.isprintable():
        raise InvalidField("name", "Use printable characters.")
    try:
        with lock_actor(actor, Action.SCIM_CLIENT_CHANGE):
            client.save(force_insert=True)
            people = _disconnect(actor, issuer)
            _record(actor, client, "added")
            _tell(client, f"{actor.name} lets {client.name} make and end accounts of people (SCIM).")
    except IntegrityError as error:
        raise NameInUse(
            "A SCIM client has this name, or provisions for this identity provider. Choose another."
        ) from error
    # After the client is stored: a session that begins meanwhile is stored first, then looks (`bound_to`).
    for user in people:
        if user.uuid != actor.uuid:
            end_all_sessions(actor=actor, user=user)
    return client


def issue_client_token(
    *, actor: Principal, client: ScimClient, cidrs: Sequence[str] = ()
) -> tuple[ServiceToken, str]:
    """Issue a token by which a client calls, and return it with its text, which is shown this once.

    Raises Forbidden, ConfirmationNeeded, Suspended, InvalidField, Tampered, or Conflict if it is removed.
    """
    _require(actor)
    days = _DAYS.get(ScimPreset(client.preset), _YEAR)
    longest = settings.KEEPER_TOKEN_MAX_DAYS
    token = ServiceToken(
        environment=None,
        role=TokenRole.PROVISIONER,
        name=client.name,
        cidrs=normalize_cidrs(cidrs),
        expires_at=allowed_expiry(timezone.now() + timedelta(days=min(days, longest or days))),
        created_by=person_behind(actor),
        scim_client_uuid=client.uuid,
    )
    text = set_secret(token)
    with lock_row(actor, client, Action.SCIM_CLIENT_CHANGE) as stored:
        if stored.removed_at is not None:
            raise Conflict("This SCIM client was removed. Add another one.")
        token.save()
        record_token(actor, Action.TOKEN_ISSUE, token)
        _tell(stored, f"{actor.name} issued a token by which {stored.name} makes and ends accounts (SCIM).")
    return token, text


def remove_client(*, actor: Principal, client: ScimClient) -> ScimClient:
    """Revoke all tokens of a client; the accounts that it made stay as they are.

    Raises Forbidden, ConfirmationNeeded, Suspended, Tampered, or Conflict if it is removed already.
    """
    _require(actor)
    with lock_row(actor, client, Action.SCIM_CLIENT_CHANGE) as stored:
        if stored.removed_at is not None:
            raise Conflict("This SCIM client was removed already.")
        now = timezone.now()
        for token in tokens_of(stored).select_for_update().order_by("pk"):
            token.revoked_at = now
            token.save(update_fields=["revoked_at"])
            record_token(actor, Action.TOKEN_REVOKE, token)
        # Another client may take its place.
        stored.removed_at, stored.issuer = now, None
        stored.save(update_fields=["removed_at", "issuer"])
        _record(actor, stored, "removed")
    return stored


def tokens_of(client: ScimClient) -> Any:
    """Return the tokens of a client that are not revoked."""
    return ServiceToken.objects.filter(scim_client_uuid=client.uuid, revoked_at=None)


def unmanaged(client: ScimClient) -> QuerySet[User]:
    """Return the accounts of a client's sign-in that no client manages.

    Created with their subject as the external ID, they are adopted; with Entra they are handed over.
    """
    if not client.issuer:
        return User.objects.none()
    managed = ProvisionedUser.objects.filter(live=True, client__removed_at=None)
    people = User.objects.of_sign_in(client.issuer).exclude(pk__in=managed.values("user"))
    return people.order_by("username")


def authenticate_provisioner(raw: str, **origin: str) -> Principal:
    """Return which client a token stands for. Raises BadToken, also for every other token."""
    public_id, secret = parse(raw)
    token = ServiceToken.objects.select_related("environment").filter(public_id=public_id, decoy=None).first()
    return verify(token, secret, provisions=True, **origin)


def client_of(actor: Principal) -> ScimClient:
    """Return the client that calls by a token. Raises BadToken if it is removed or not genuine."""
    tokens = ServiceToken.objects.filter(uuid=actor.uuid)
    client = ScimClient.objects.filter(uuid__in=tokens.values("scim_client_uuid")).first()
    if client is None or client.removed_at is not None or not verified_rows([client]):
        raise BadToken("removed-scim-client")
    return client


@contextmanager
def provisioning(actor: Principal, client: ScimClient) -> Iterator[ScimClient]:
    """Yield a client, locked until the block's transaction ends: one of its writes happens at a time.

    Its token is locked before, and asked again. Raises BadToken if it was revoked, or the client removed,
    meanwhile; Tampered.
    """
    require(actor=actor, action=Action.USER_PROVISION, environment=None)
    with transaction.atomic():
        list(ServiceToken.objects.select_for_update().filter(uuid=actor.uuid).values_list("pk"))
        with lock_authentic(client) as stored:
            present = refresh_principal(actor)
            if stored.removed_at is not None or not allows(
                present, Action.USER_PROVISION, environment_id=None
            ):
                raise BadToken("revoked-token")
            yield stored


def note_refusal(client: ScimClient, sentence: str) -> None:
    """Show on the client's page why a request was refused last."""
    ScimClient.objects.filter(pk=client.pk).update(last_error_at=timezone.now(), last_error=sentence[:300])


def _require(actor: Principal) -> None:
    require(actor=actor, action=Action.SCIM_CLIENT_CHANGE, environment=None)
    require_confirmed(actor)
    require_unsuspended(actor, Action.SCIM_CLIENT_CHANGE)


def _disconnect(actor: Principal, issuer: str) -> list[User]:
    """Take a sign-in from the accounts that people connected it to, and return them."""
    rows = ConnectedSignIn.objects.select_related("user").filter(issuer=issuer)
    if issuer == SAML_ISSUER:
        rows = ConnectedSignIn.objects.select_related("user").exclude(issuer__startswith=OIDC_ISSUER)
    people: dict[int, User] = {}
    for row in rows.order_by("pk"):
        people[row.user_id] = row.user
        delete_connected(actor, row.user, row)
    return list(people.values())


def _tell(client: ScimClient, sentence: str) -> None:
    """Notify all administrators, in the caller's transaction."""
    people = User.objects.filter(role=UserRole.ADMIN, is_active=True).values_list("uuid", flat=True)
    message_users(
        people=list(people),
        environment=None,
        kind="scim-client",
        subject=f"Provisioning by {client.name}"[:200],
        lines=[sentence, "If this is not intended, remove the client: its tokens end at once."],
        link=reverse("admin:environments_app_scimclient_change", args=[client.pk]),
    )


def _record(actor: Principal, client: ScimClient, change: str) -> None:
    record(
        actor=actor,
        action=Action.SCIM_CLIENT_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("scim-client", client.uuid, client.name),
        details={
            "change": change,
            "preset": client.preset,
            "issuer": client.issuer,
            **row_digest_entry(client),
        },
    )
