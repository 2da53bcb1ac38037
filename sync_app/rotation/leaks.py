"""Finds whose a leaked token or value is, by its hash or keyed fingerprint.

The text is compared and dropped: no event, answer, address or log holds it. A manager finds the tokens that
they may see and the values that they may reveal, so that an answer tells them nothing that they may not know.
Every search is recorded first, costs the same whether or not something is found, and counts towards a limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.urls import reverse
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject, EventDraft, stream_and_object
from audit_app.recording.recorder import commit_record, commit_records
from environments_app.authorization.policy import Principal, allows, visible
from environments_app.authorization.principals import refresh_principal
from environments_app.errors import BadToken
from environments_app.models import PersonalToken, ServiceToken
from environments_app.tokens.authentication import check_secret, parse
from environments_app.tokens.decoys import note_text
from environments_app.tokens.personal import PREFIX, parse_personal
from secrets_app.errors import InvalidInput
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion
from secrets_app.types.bounds import MAX_VALUE_BYTES
from sync_app.models import RotationPolicy
from sync_app.rotation.execution.compromise_response import require_managing

PER_HOUR: Final = 30
_HOUR: Final = timedelta(hours=1)
_ROWS: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a text is: a token or a version of a secret, its state, and where it is revoked or rotated."""

    kind: str
    name: str
    environment: str = ""
    version: int | None = None
    state: str
    # What to do and where; empty where nothing is left to do, or others do it. Where what is known is shown.
    act: str = ""
    act_url: str = ""
    known_url: str = ""


def find_leaked(*, actor: Principal, text: str) -> list[Match]:
    """Return what a text is, among the tokens that the actor may see and the values that they may reveal.

    Raises Forbidden for who manages no environment, InvalidInput, TooManyRefusals beyond the limit.
    """
    require_managing(actor)
    if not text.strip() or len(text.encode(errors="surrogatepass")) > MAX_VALUE_BYTES:
        raise InvalidInput("text", f"Paste 1 to {MAX_VALUE_BYTES:,} bytes.")
    commit_record(
        actor=actor,
        action=Action.LEAK_SEARCH,
        stream=streams.SYSTEM,
        object=AuditObject("deployment", deployment_uuid(), ""),
    )
    _require_below_limit(actor)
    # What is copied often has spaces or a line break around it.
    texts = list(dict.fromkeys(part.encode(errors="surrogatepass") for part in (text, text.strip())))
    note_text(text, address=actor.address, path=f"a search for leaks by {actor.name}")
    tokens = list(_tokens(actor, text.strip()))
    versions = _versions(actor, texts)
    return [*tokens, *_shown(actor, versions)]


def _require_below_limit(actor: Principal) -> None:
    """Count the searches of an hour, this one included: it is recorded already, so none slips through."""
    since = timezone.now() - _HOUR
    searches = AuditEvent.objects.filter(
        actor_uuid=actor.uuid, action__unindexed=Action.LEAK_SEARCH, at__unindexed__gte=since
    )
    if searches.count() > PER_HOUR:
        raise TooManyRefusals(int(_HOUR.total_seconds()))


def _tokens(actor: Principal, text: str) -> Iterator[Match]:
    try:
        service = personal = None
        if text.startswith(PREFIX):
            public_id, secret = parse_personal(text)
            personal = PersonalToken.objects.select_related("user").filter(public_id=public_id).first()
        else:
            public_id, secret = parse(text)
            service = ServiceToken.objects.select_related("environment").filter(public_id=public_id).first()
        check_secret(service or personal, secret)
    except BadToken:
        return
    if service and allows(actor, Action.TOKEN_VIEW, environment_id=service.environment_id):
        yield _service_match(actor, service)
    elif personal and (
        personal.user.uuid == actor.uuid or allows(actor, Action.USER_VIEW, environment_id=None)
    ):
        page = ""
        if not personal.revoked_at and personal.user.uuid == actor.uuid:
            page = f"{reverse('profile')}#tokens"
        elif not personal.revoked_at and allows(actor, Action.TOKEN_REVOKE, environment_id=None):
            page = reverse("admin:environments_app_personaltoken_object_act", args=[personal.pk, "revoke"])
        yield Match(
            kind="personal token",
            name=f"{personal.name} of {personal.user.username}",
            state=_state(personal),
            act="Revoke" if page else "",
            act_url=page,
            known_url=f"{reverse('exposure')}?who={personal.user.uuid}",
        )


def _service_match(actor: Principal, token: ServiceToken) -> Match:
    place = token.environment
    page = (
        reverse("token-detail", args=[place.name, token.pk])
        if place
        else reverse("admin-token-detail", args=[token.pk])
    )
    ends = not token.revoked_at and allows(actor, Action.TOKEN_REVOKE, environment_id=token.environment_id)
    return Match(
        kind="service token",
        name=str(token.name),
        environment=place.name if place else "",
        state=_state(token),
        act="Revoke" if ends else "",
        act_url=page if ends else "",
        known_url=f"{reverse('exposure')}?who={token.uuid}",
    )


def _state(token: ServiceToken | PersonalToken) -> str:
    if not token.is_authentic():
        return "modified outside Keeper"
    if token.revoked_at:
        return "revoked"
    if token.decoy:
        return "decoy"
    return "active" if token.is_live else "expired or suspended"


def _versions(actor: Principal, texts: Sequence[bytes]) -> list[int]:
    """Return the ids of versions whose values are one of the texts, among those that the actor may reveal."""
    marks = [fingerprints.fingerprint(text) for text in texts]
    # A guarded value is not confirmed to who may not see it alone, and a decoy is in no answer about many.
    secrets = Secret.objects.filter(visible(actor, Action.SECRET_REVEAL), live=True, guarded=None, decoy=None)
    rows = SecretVersion.objects.filter(secret__in=secrets).order_by("pk").values_list("pk", "fingerprint")
    return [
        pk
        for pk, stored in rows.iterator(chunk_size=_ROWS)
        if any(_is(text, mark, bytes(stored)) for text, mark in zip(texts, marks, strict=True))
    ]


def _is(text: bytes, mark: bytes, stored: bytes) -> bool:
    """Whether a stored fingerprint is that of a text, also one of an older key."""
    if fingerprints.are_comparable(mark, stored):
        return fingerprints.same_value(mark, stored)
    return fingerprints.matches(text, stored)


def _shown(actor: Principal, ids: Sequence[int]) -> list[Match]:
    """Return the versions that the actor may still reveal, once that they learned of them is recorded."""
    versions = SecretVersion.objects.filter(pk__in=ids).defer("value").select_related("secret__environment")
    now = refresh_principal(actor)
    found = [
        version
        for version in versions
        if not version.secret.left_out
        and allows(
            now,
            Action.SECRET_REVEAL,
            environment_id=version.secret.environment_id,
            name=version.secret.name,
        )
    ]
    if not found:
        return []
    commit_records(
        [
            EventDraft(
                actor=actor,
                action=Action.SECRET_COMPARE,
                **stream_and_object(version.secret),
                details={"number": version.number, "leaked": True},
            )
            for version in found
        ]
    )
    secrets = [version.secret.uuid for version in found]
    policies = dict(
        RotationPolicy.objects.filter(secret__in=secrets, live=True).values_list("secret_id", "pk")
    )
    return [_version_match(version, policies.get(version.secret.uuid)) for version in found]


def _version_match(version: SecretVersion, policy: int | None) -> Match:
    secret = version.secret
    served = {
        secret.current_number: "current",
        secret.previous_number: "previous",
        secret.pending_number: "pending",
    }
    state = served.get(version.number, "replaced") if secret.is_authentic() else "modified outside Keeper"
    page = reverse("secret-detail", args=[secret.pk])
    return Match(
        kind="secret",
        name=secret.name,
        environment=secret.environment.name,
        version=version.number,
        state=state,
        act="Rotate" if policy else "Change the value",
        act_url=reverse("rotation-policy", args=[policy]) if policy else page,
        known_url=reverse("secret-usage", args=[secret.pk]),
    )
