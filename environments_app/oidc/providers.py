"""Use cases of providers: added, changed, refreshed. Their issuer is fixed: another one is another provider.

The client secret is sealed under the system key of second factors, so that signing in continues while the
provider of keys is away.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import IntegrityError
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.errors import NotSealedHere
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Place, Purpose, keyring
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import clean_fields, lock_authentic, set_fields
from environments_app.errors import Conflict, InvalidField, NameInUse, SignOnUnavailable, Tampered
from environments_app.models import ClientAuth, OidcProvider, SamlGroupMapping, User
from environments_app.notifications.service import raise_alert
from environments_app.oidc.client_keys import require_key
from environments_app.oidc.discovery import discovered, require_issuer, require_members
from environments_app.oidc.id_tokens import Expected
from environments_app.sessions.service import end_sessions, lock_actor, lock_row
from environments_app.trusts.jwt.rules import MAX_VALUE, BadPattern, require_claim_name
from environments_app.users.suspensions import tell_mapped

CHANGEABLE: Final = frozenset(
    {
        "label", "client_id", "client_auth", "algorithm", "scopes", "username_claim", "email_claim",
        "name_claim", "groups_claim", "required_claims", "allows_guests", "creates_accounts",
        "session_hours", "enabled",
    }
)  # fmt: skip
NO_ADDRESS: Final = "Set KEEPER_URL first: the identity provider sends people back to it."
# The alert that a provider's addresses are on another host.
MOVED: Final = "sign-in-provider-moved"
# What decides whose groups a mapping means.
_MEANING: Final = frozenset({"client_id", "groups_claim"})
_LABEL: Final = "oidc-provider.secret"
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_MAX_SECRET: Final = 500
_MAX_CLAIMS: Final = 20
_MAX_HOURS: Final = 24
_MAX_PROVIDERS: Final = 20
logger: Final = structlog.get_logger(__name__)


def create_provider(*, actor: Principal, slug: str, issuer: str, secret: str, **fields: Any) -> OidcProvider:
    """Add a provider, whose discovery document is fetched first.

    Raises Forbidden, ConfirmationNeeded, InvalidField, Conflict, NameInUse, or SignOnUnavailable if the
    document cannot be had.
    """
    require(actor=actor, action=Action.SSO_PROVIDER_CHANGE, environment=None)
    require_confirmed(actor)
    if not settings.KEEPER_URL:
        raise Conflict(NO_ADDRESS)
    if not _SLUG.fullmatch(slug):
        raise InvalidField("slug", "Use up to 32 lowercase letters, digits and hyphens.")
    provider = OidcProvider(slug=slug, issuer=require_issuer(issuer), secret=b"")
    _set(provider, fields)
    clean_fields(provider, ["slug", "issuer", *CHANGEABLE & fields.keys()])
    if provider.client_auth == ClientAuth.PRIVATE_KEY_JWT:
        require_key(actor)
    else:
        seal_secret(provider, _required_secret(secret))
    provider.document, provider.fetched_at = discovered(issuer), timezone.now()
    _require_able(provider)
    try:
        with lock_actor(actor, Action.SSO_PROVIDER_CHANGE):
            if OidcProvider.objects.count() >= _MAX_PROVIDERS:
                raise Conflict(f"There are {_MAX_PROVIDERS} providers already.")
            provider.save(force_insert=True)
            _record(actor, provider, {"change": "added", "issuer": issuer})
    except IntegrityError as error:
        raise NameInUse(f"The name {slug} is taken.") from error
    return provider


def change_provider(
    *, actor: Principal, provider: OidcProvider, secret: str = "", **changes: Any
) -> OidcProvider:
    """Change a provider (CHANGEABLE, and its secret) and return it as stored; disabled, its sessions end.

    Another client or groups claim may mean other groups: what its mappings open waits for managers then.
    Raises Forbidden, ConfirmationNeeded, InvalidField or Tampered.
    """
    require(actor=actor, action=Action.SSO_PROVIDER_CHANGE, environment=None)
    require_confirmed(actor)
    for name in changes.keys() - CHANGEABLE:
        raise InvalidField(name, "This field can't be changed. Add another provider instead.")
    if changes.get("client_auth") == ClientAuth.PRIVATE_KEY_JWT:
        require_key(actor)
    with lock_row(actor, provider, Action.SSO_PROVIDER_CHANGE) as stored:
        changed = _set(stored, changes)
        _require_able(stored)
        if stored.client_auth == ClientAuth.PRIVATE_KEY_JWT:
            if stored.secret:
                stored.secret = b""
                changed.append("secret")
        elif secret or ("client_auth" in changed and not stored.secret):
            seal_secret(stored, _required_secret(secret))
            changed.append("secret")
        if not changed:
            return stored
        stored.save(update_fields=changed)
        details: dict[str, Any] = {"change": "changed", "fields": sorted(changed)}
        if "enabled" in changed and not stored.enabled:
            details["sessions"] = _end_sessions(actor, stored)
        if _MEANING.intersection(changed):
            details["suspended"] = _suspend_mappings(actor, stored)
        _record(actor, stored, details)
    return stored


def refresh_provider(provider: OidcProvider) -> None:
    """Fetch the discovery document anew, and record and tell if an address moved to another host.

    What is no document replaces nothing. Raises SignOnUnavailable, Tampered.
    """
    document = discovered(provider.issuer)
    with lock_authentic(provider) as stored:
        before, stored.fetched_at = stored.document, timezone.now()
        if before == document:
            stored.save(update_fields=["fetched_at"])
            return
        stored.document = document
        stored.save(update_fields=["document", "fetched_at"])
        moved = sorted(_hosts(document) - _hosts(before))
        _record(actors.system(), stored, {"change": "discovery", "hosts": [*moved]})
        if moved:
            raise_alert(
                kind=MOVED,
                about=stored.uuid,
                environment=None,
                subject=f"{stored.label}: sign-in uses another host",
                lines=[
                    f"Addresses are now at {', '.join(moved)}. Ask the provider whether this is intended."
                ],
                link=reverse("admin:environments_app_oidcprovider_change", args=[stored.pk]),
            )


def refresh_all() -> None:
    """Fetch the discovery documents of the enabled providers; one that is away keeps its last one."""
    for provider in OidcProvider.objects.filter(enabled=True):
        try:
            refresh_provider(provider)
        except (SignOnUnavailable, Tampered) as error:
            logger.warning("oidc_discovery_unavailable", provider=provider.slug, reason=str(error))


def enabled_providers() -> list[OidcProvider]:
    """Return the genuine providers through which people sign in now."""
    return list(verified_rows(OidcProvider.objects.filter(enabled=True)))


def find_provider(slug: str, *, disabled: bool = False) -> OidcProvider | None:
    """Return a genuine provider, with `disabled` also one through which nobody signs in; None if none is."""
    rows = verified_rows(OidcProvider.objects.filter(slug=slug))
    return next((row for row in rows if row.enabled or disabled), None)


def document_of(provider: OidcProvider) -> Mapping[str, Any]:
    """Return what the provider stated of itself."""
    document: Mapping[str, Any] = json.loads(provider.document)
    return document


def expected_of(provider: OidcProvider) -> Expected:
    """Return what the provider's tokens have to be."""
    return Expected(
        issuer=provider.issuer,
        client_id=provider.client_id,
        algorithm=provider.algorithm,
        required=provider.required_claims,
        groups_claim=provider.groups_claim,
        allows_guests=provider.allows_guests,
    )


def seal_secret(provider: OidcProvider, secret: str) -> None:
    """Put a client secret on a row, sealed for it; the row is not saved."""
    provider.secret = keyring().seal(Purpose.SECOND_FACTOR, secret.encode(), place=_place(provider))


def open_secret(provider: OidcProvider) -> str:
    """Return the client secret. Raises SignOnUnavailable if it was not sealed for this row."""
    try:
        sealed = keyring().open(Purpose.SECOND_FACTOR, bytes(provider.secret), place=_place(provider))
    except NotSealedHere as error:
        record_integrity_violation(
            kind=provider.MAC_LABEL, uuid=provider.uuid, name=provider.slug, reason=str(error)
        )
        raise SignOnUnavailable(
            "The client secret of this provider cannot be read. Enter it again."
        ) from error
    return sealed.decode()


def reseal_secrets() -> list[str]:
    """Re-encrypt every client secret under the active system key; return what could not be, and why."""
    problems = list[str]()
    for row in OidcProvider.objects.exclude(client_auth=ClientAuth.PRIVATE_KEY_JWT).order_by("pk"):
        try:
            with lock_authentic(row) as stored:
                seal_secret(stored, open_secret(stored))
                stored.save(update_fields=["secret"])
                _record(actors.system(), stored, {"change": "resealed"})
        except (Tampered, SignOnUnavailable):
            problems.append(f"The client secret of {row.slug} does not open: it stays as it is.")
    return problems


def note_refusal(provider: OidcProvider, reason: str) -> None:
    """Show on the provider's page why a sign-in was refused last."""
    OidcProvider.objects.filter(pk=provider.pk).update(
        last_refused_at=timezone.now(), last_refusal=reason[:40]
    )


def _set(provider: OidcProvider, values: Mapping[str, Any]) -> list[str]:
    """Set fields, and return the names of those that changed. Raises InvalidField."""
    for name in values.keys() - CHANGEABLE:
        raise InvalidField(name, "This field can't be set.")
    changed = set_fields(provider, values)
    if "openid" not in str(provider.scopes).split():
        raise InvalidField("scopes", "Name openid among the scopes.")
    if not 1 <= provider.session_hours <= _MAX_HOURS:
        raise InvalidField("session_hours", f"Enter 1 to {_MAX_HOURS} hours.")
    for name in ("username_claim", "email_claim", "name_claim", "groups_claim"):
        _require_claim(name, getattr(provider, name))
    _require_claims(provider.required_claims)
    require_members(provider.issuer, provider.required_claims)
    return changed


def _require_claims(required: Any) -> None:
    if not isinstance(required, dict) or len(required) > _MAX_CLAIMS:
        raise InvalidField("required_claims", f"Enter at most {_MAX_CLAIMS} claims, one claim=value a line.")
    for name, values in required.items():
        _require_claim("required_claims", name)
        fits = isinstance(values, list) and values and len(values) <= _MAX_CLAIMS
        texts = values if fits else [None]
        if not all(
            isinstance(text, str) and 1 <= len(text) <= MAX_VALUE and text.isprintable() for text in texts
        ):
            raise InvalidField("required_claims", f"Enter {name}=value with a printable value.")


def _require_claim(field: str, name: str) -> None:
    try:
        if name:
            require_claim_name(name)
    except BadPattern as error:
        raise InvalidField(field, str(error)) from error


def _require_able(provider: OidcProvider) -> None:
    """Raise InvalidField if the provider states that it cannot do what the row demands."""
    document = document_of(provider)
    for name, member in (
        ("algorithm", "id_token_signing_alg_values_supported"),
        ("client_auth", "token_endpoint_auth_methods_supported"),
    ):
        listed = document.get(member)
        if listed and getattr(provider, name) not in listed:
            raise InvalidField(name, f"The provider takes none but {', '.join(listed)}.")
    if "S256" not in document.get("code_challenge_methods_supported", ["S256"]):
        raise InvalidField("issuer", "The provider does not take PKCE with S256, which Keeper demands.")


def _required_secret(secret: str) -> str:
    if not 1 <= len(secret) <= _MAX_SECRET or not secret.isprintable():
        raise InvalidField("client_secret", "Enter the client secret, printable text.")
    return secret


def _end_sessions(actor: Principal, provider: OidcProvider) -> int:
    issuer = provider.subject_issuer
    theirs = Q(saml_issuer=issuer) | Q(connected_sign_ins__issuer=issuer)
    people = User.objects.filter(theirs, sessions__isnull=False).distinct()
    return sum(end_sessions(user, actor=actor) for user in people.order_by("pk"))


def _suspend_mappings(actor: Principal, provider: OidcProvider) -> int:
    """Let what the provider's groups open wait for managers, from each member's next sign-in on."""
    rows = SamlGroupMapping.objects.filter(provider=provider, suspended_at=None).exclude(environment=None)
    mappings = list(rows.select_related("environment", "provider").order_by("pk"))
    for mapping in mappings:
        with lock_authentic(mapping) as stored:
            stored.suspended_at = timezone.now()
            stored.save(update_fields=["suspended_at"])
            tell_mapped(actor, stored)
            record(
                actor=actor,
                action=Action.SAML_MAPPING_CHANGE,
                stream=streams.SYSTEM,
                object=AuditObject("saml-group", stored.uuid, stored.group),
                details={"change": "suspended", "provider": provider.slug, **row_digest_entry(stored)},
            )
    return len(mappings)


def _hosts(document: str) -> set[str]:
    texts = [value for value in json.loads(document).values() if isinstance(value, str)]
    return {host for text in texts if (host := urlsplit(text).hostname)}


def _place(provider: OidcProvider) -> Place:
    return Place(label=_LABEL, row=provider.uuid, owner=provider.uuid)


def _record(actor: Actor, provider: OidcProvider, details: dict[str, Any]) -> None:
    record(
        actor=actor,
        action=Action.SSO_PROVIDER_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("sign-in-provider", provider.uuid, provider.slug),
        details={**details, **row_digest_entry(provider)},
    )
