"""Use cases of sessions and personal tokens: list and end one's own, or end all of a person."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.authorization.policy import (
    Principal,
    allows,
    installation_actions,
    record_denial,
    require,
)
from environments_app.authorization.principals import principal_among_deleted, refresh_principal, role_bearer
from environments_app.authorization.rows import Row, lock_authentic
from environments_app.errors import Forbidden, SessionEnded
from environments_app.models import DeviceSignIn, Environment, PersonalToken, Session, User
from environments_app.sessions.store import SAML, at_provider, contents_of, is_impossible, is_open


@contextmanager
def lock_own(actor: Principal, user: User, action: Action) -> Iterator[User]:
    """Yield the actor's own account, locked for a change of how its person signs in.

    Whatever ends sessions locks the account as well: a request whose session ended after it began changes
    nothing. Raises Tampered, or SessionEnded, which is recorded.
    """
    try:
        with lock_authentic(user) as stored:
            _require_session(actor, stored)
            yield stored
    except SessionEnded:
        # Outside the transaction, which was rolled back.
        record_denial(actor=actor, action=action, environment=None, reason="session-ended")
        raise


@contextmanager
def lock_other(
    actor: Principal,
    user: User,
    action: Action,
    environment: Environment | None = None,
    *,
    beside: Collection[int] = (),
) -> Iterator[User]:
    """Yield an account, locked for an act of an administrator, whose own account is locked with it.

    `beside` is that of `lock_authentic`. Raises Tampered, and as `refuse_late` does.
    """
    with refuse_late(actor, action, environment):
        ids = [*beside, *own_ids(actor)]
        with lock_authentic(user, beside=ids) as stored:
            require_still(actor, action, environment)
            yield stored


@contextmanager
def lock_row(
    actor: Principal,
    row: Row,
    action: Action,
    environment: Environment | None = None,
    *,
    name: str = "",
    people: Collection[User] = (),
) -> Iterator[Row]:
    """Yield a row that is no account, locked after the account of who changes it.

    `name` is that of the secret, as in `require`; `people` are other persons whom the change is about.
    Raises Tampered, and as `refuse_late` does.
    """
    first = partial(require_still, actor, action, environment, name=name, people=people)
    with refuse_late(actor, action, environment, name), lock_authentic(row, first=first) as stored:
        yield stored


@contextmanager
def lock_actor(
    actor: Principal,
    action: Action,
    environment: Environment | None = None,
    *,
    name: str = "",
    people: Collection[User] = (),
) -> Iterator[None]:
    """Begin the transaction of an act that makes or removes rows; `name` and `people` are as in `lock_row`.

    Raises as `refuse_late` does.
    """
    with refuse_late(actor, action, environment, name), transaction.atomic():
        require_still(actor, action, environment, name=name, people=people)
        yield


@contextmanager
def refuse_late(
    actor: Principal, action: Action, environment: Environment | None = None, name: str = ""
) -> Iterator[None]:
    """Record, around the transaction of an act, that its actor lost the session or the right meanwhile.

    Raises SessionEnded; Forbidden, or Invisible.
    """
    try:
        yield
    except SessionEnded:
        record_denial(actor=actor, action=action, environment=environment, name=name, reason="session-ended")
        raise
    except _RightLost as lost:
        require(actor=lost.present, action=action, environment=environment, name=name)
        raise Forbidden("You don't have permission to do this.") from lost


def require_still(
    actor: Principal,
    action: Action,
    environment: Environment | None = None,
    *,
    name: str = "",
    people: Collection[User] = (),
) -> None:
    """Lock an actor's account and ask for session and right again, before the transaction decides anything.

    Who ends an account, its sessions or its role locks it as well: it is over before, or waits. `people` are
    locked along with it, all in the order of ids. What this raises is for `refuse_late`.
    """
    # By the primary key, as all do: by the uuid, MariaDB locks that index first, and two acts of one person
    # deadlock.
    ids = {*(person.pk for person in people), *own_ids(actor)}
    locked = User.objects.select_for_update().filter(pk__in=ids).order_by("pk") if ids else ()
    user = next((row for row in locked if row.uuid == actor.uuid), None)
    if actor.kind is ActorKind.USER:
        if user is None:
            raise SessionEnded
        _require_session(actor, user)
        if actor.scope is None and action in installation_actions(role_bearer(user)):
            return
    present = refresh_principal(actor, user)
    if environment and environment.deleted_at is not None and not present.sees_installation:
        present = principal_among_deleted(present)
    place = environment.pk if environment else None
    if not allows(present, action, environment_id=place, name=name):
        raise _RightLost(present)


def own_ids(actor: Principal) -> list[int]:
    """Return the id of the actor's account, if they are a person; it never changes."""
    return (
        list(User.objects.filter(uuid=actor.uuid).values_list("pk", flat=True))
        if actor.kind is ActorKind.USER
        else []
    )


class _RightLost(Exception):
    """Between the first look and the lock, the actor lost the right; `present` is what they may do now."""

    def __init__(self, present: Principal) -> None:
        super().__init__()
        self.present = present


def _require_session(actor: Principal, user: User) -> None:
    rows = Session.objects.filter(is_open(), user=user, session_key=actor.session)
    if not user.is_active or (actor.session is not None and not rows.exists()):
        raise SessionEnded
    if actor.scope is not None and not active_tokens(user).filter(uuid=actor.scope.token).exists():
        raise SessionEnded


def _lock(user: User) -> None:
    """Let requests of an account wait whose act `lock_own` guards; also where the row is forged."""
    list(User.objects.select_for_update().filter(pk=user.pk).values_list("pk"))


def active_tokens(user: User) -> QuerySet[PersonalToken]:
    """Return the tokens of a person that have not ended, the newest first."""
    rows = PersonalToken.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now())
    return rows.select_related("user", "environment").order_by("-pk")


def revoke_token(*, actor: Principal, token: PersonalToken) -> None:
    """End a token of the actor, or of another person as an administrator; one that has ended stays so.

    Raises Forbidden.
    """
    rows = PersonalToken.objects.filter(pk=token.pk, revoked_at=None)
    if actor.uuid == token.user.uuid:
        with transaction.atomic():
            _end(actor, rows)
        return
    require(actor=actor, action=Action.TOKEN_REVOKE, environment=None)
    with lock_actor(actor, Action.TOKEN_REVOKE):
        _end(actor, rows)


def end_tokens(*, actor: Actor, user: User) -> int:
    """End all tokens of a person, in the transaction of what makes them end; return how many.

    Decoys, which open nothing, go on watching.
    """
    return _end(actor, PersonalToken.objects.filter(user=user, revoked_at=None, decoy=None))


def end_device_sign_ins(user: User) -> int:
    """End the sign-ins of programs that a person approved and that wait for their token; return how many."""
    return DeviceSignIn.objects.filter(token__user=user).delete()[0]


def record_personal(actor: Actor, action: Action, token: PersonalToken) -> None:
    """Record a change of a token, in its transaction: what it reaches, and no part of its secret."""
    record(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("personal-token", token.uuid, token.name),
        details={
            "user": token.user.username,
            "environment": token.environment.name if token.environment else None,
            "prefix": token.prefix,
            "expires_at": token.expires_at.isoformat(),
            **row_digest_entry(token),
        },
    )


def _end(actor: Actor, rows: QuerySet[PersonalToken]) -> int:
    """End tokens. A forged one is ended too: it opened nothing, and its MAC stays wrong."""
    # Not joined: MariaDB would lock the user and the environment as well.
    tokens = list(rows.select_for_update().prefetch_related("user", "environment"))
    for token in tokens:
        genuine = token.is_authentic()
        token.revoked_at = timezone.now()
        if genuine:
            token.save(update_fields=["revoked_at"])
        else:
            PersonalToken.objects.filter(pk=token.pk).update(revoked_at=token.revoked_at)
        record_personal(actor, Action.TOKEN_REVOKE, token)
    return len(tokens)


def active_sessions(user: User) -> QuerySet[Session]:
    """Return a person's sessions that have not ended, the newest first."""
    rows = Session.objects.filter(is_open(), user=user)
    return rows.order_by("-signed_in_at", "session_key")


def end_session(*, actor: Principal, user: User, key: str) -> bool:
    """End one of the actor's sessions, by the key of its row; False if it has ended already.

    Raises Forbidden for another user's.
    """
    if actor.uuid != user.uuid:
        raise Forbidden("You don't have permission to do this.")
    with transaction.atomic():
        _lock(user)
        count, _ = Session.objects.filter(user=user, session_key=key).delete()
        if count:
            _record_end(actor, user)
    return bool(count)


def end_other_sessions(*, actor: Principal, user: User, except_key: str = "") -> int:
    """End all sessions of a person but the one of the row key `except_key`, and all personal tokens.

    Return how many sessions ended.

    Raises Forbidden unless it is the actor's own account, or the actor may change accounts.
    """
    if actor.uuid == user.uuid:
        return end_all_sessions(actor=actor, user=user, except_key=except_key)
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    with lock_actor(actor, Action.USER_CHANGE, people=[user]):
        return end_all_sessions(actor=actor, user=user, except_key=except_key)


def end_all_sessions(*, actor: Principal, user: User, except_key: str = "") -> int:
    """Do the same as part of an act that is decided; nobody is asked."""
    with transaction.atomic():
        _lock(user)
        count, _ = Session.objects.filter(user=user).exclude(session_key=except_key).delete()
        end_tokens(actor=actor, user=user)
        _record_end(actor, user, {"sessions": count})
    return count


def end_named_session(*, actor: Actor, issuer: str, index: str) -> list[str]:
    """End the sessions that a provider names without naming the person; return the keys of their rows."""
    named = {"issuer": issuer, "session_index": index}
    rows = Session.objects.filter(at_provider=at_provider(named)).exclude(user=None)
    keys: list[str] = []
    for subject in {(contents_of(row).get(SAML) or {}).get("name_id", "") for row in rows}:
        keys += end_provider_sessions(actor=actor, issuer=issuer, name_id=subject, indexes=[index])
    return keys


def end_provider_sessions(*, actor: Actor, issuer: str, name_id: str, indexes: Collection[str]) -> list[str]:
    """End sessions that the identity provider vouched for, as it asks; return the keys of their rows.

    `indexes` are the provider's names of the sessions, none for all of them: personal tokens end then as
    well. A session without a provider's name always ends.
    """
    user = User.objects.bound_to(issuer, name_id)
    if user is None:
        return []
    keys = [
        row.session_key
        for row in Session.objects.filter(user=user)
        if _is_named(contents_of(row).get(SAML), issuer, name_id, indexes)
    ]
    with transaction.atomic():
        _lock(user)
        Session.objects.filter(user=user, session_key__in=keys).delete()
        if not indexes:
            end_tokens(actor=actor, user=user)
        details: dict[str, Json] = {"by": "identity provider", "issuer": issuer, "sessions": len(keys)}
        _record_end(actor, user, details)
    return keys


def _is_named(subject: Mapping[str, str] | None, issuer: str, name_id: str, indexes: Collection[str]) -> bool:
    if not subject or (subject["issuer"], subject["name_id"]) != (issuer, name_id):
        return False
    return not indexes or not subject["session_index"] or subject["session_index"] in indexes


def _record_end(actor: Actor, user: User, details: Mapping[str, Json] | None = None) -> None:
    record(
        actor=actor,
        action=Action.SESSION_END,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        details=details,
    )


def end_impossible_sessions() -> int:
    """End the sessions that began, were used or would end later than is possible; return how many."""
    return Session.objects.filter(is_impossible()).delete()[0]


def end_sessions(user: User, *, actor: Principal, keep: str | None = None) -> int:
    """End all sessions and personal tokens of a person, in the transaction of what makes them end.

    The session `keep`, by which a person changes what they sign in with, is to continue under a new id.
    Return how many sessions ended.
    """
    _lock(user)
    end_tokens(actor=actor, user=user)
    return Session.objects.filter(user=user).exclude(session_key=keep or "").delete()[0]
