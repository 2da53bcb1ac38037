"""Limits tries of passwords and codes for an account, without locking its person out.

A try comes from a session, a browser of an earlier sign-in, a network of an earlier sign-in, or a stranger.
Each kind has a pool of its own for each account, so that strangers who use theirs up hold up strangers
alone. All pools together allow 100 tries in any hour. Within a pool, each source waits longer after each
wrong try, so that one source does not use up the pool of the others.

A try is taken before the password is checked, and given back if it was right: concurrent tries count.

The cookie of a browser in which a user has signed in before grants no access: it only keeps wrong passwords
from unknown sources from delaying the user. It is signed, and names accounts only by keyed hashes.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from types import MappingProxyType
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from audit_app.errors import TooManyRefusals
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.clock import SLACK, is_in
from environments_app.authorization.policy import Principal, require
from environments_app.models import FailedSignIns, KnownNetwork, User
from environments_app.sessions.service import lock_actor

_HOUR: Final = timedelta(hours=1)
_FREE_TRIES: Final = 3
_FIRST_DELAY: Final = timedelta(seconds=30)
MAX_DELAY: Final = timedelta(minutes=15)
KNOWN_FOR: Final = timedelta(days=90)
_NOTHING: Final = timedelta(0)
# 128 bits each, of the account and of what it is about.
_HALF: Final = 32


class Kind(StrEnum):
    """Where a try comes from, as far as Keeper knows."""

    SESSION = "session"
    DEVICE = "device"
    NETWORK = "network"
    STRANGER = "stranger"


# The size of each pool; as much is refilled in an hour. Any hour so allows twice the sum: 100.
POOLS: Final = MappingProxyType({Kind.SESSION: 10, Kind.DEVICE: 10, Kind.NETWORK: 10, Kind.STRANGER: 20})


@dataclass(frozen=True)
class Source:
    """One session, browser or network that tries; `name` identifies it within its kind."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Attempt:
    """A counted attempt; `is_last` if it emptied its pool.

    `count` and `until` are the state of its source after it: attempts in a row, and the end of their delay.
    """

    account: str
    source: Source
    is_last: bool
    count: int
    until: datetime


def take(account: str, sources: Iterable[Source]) -> Attempt:
    """Take a try from the first source that has one, whether or not the account exists.

    Raises TooManyRefusals with the seconds until one of them has.
    """
    waits = []
    for source in sources:
        taken = _take(account, source)
        if isinstance(taken, Attempt):
            return taken
        waits.append(taken)
    raise TooManyRefusals(retry_after=min(waits))


def give_back(attempt: Attempt, *, forget: bool) -> None:
    """Give a try back that was right; `forget` ends the delay of its source too.

    If the source has tried again since then, those tries count and delay it as without this one.
    """
    now = timezone.now()
    with transaction.atomic():
        rows = _locked(_keys(attempt.account, attempt.source))
        if rows is None:
            return
        pool, own = rows
        pool.until -= _interval(attempt.source.kind)
        if (own.count, own.until) == (attempt.count, attempt.until):
            own.count, own.until = 0 if forget else max(0, own.count - 1), now
        else:
            tried_at = own.until - _delay(own.count)
            own.count = max(0, own.count - 1)
            own.until = tried_at + _delay(own.count)
        pool.save(update_fields=["until"])
        own.save(update_fields=["count", "until"])


def strangers_tries(account: str) -> int:
    """Return how many tries of strangers are not refilled yet."""
    pool = FailedSignIns.objects.filter(bucket=_bucket(account, "pool", Kind.STRANGER)).first()
    used = _used(pool, Kind.STRANGER, timezone.now()) if pool else _NOTHING
    return ceil(used / _interval(Kind.STRANGER))


def remember_network(account: str, network: str) -> None:
    """Note that the person of an account has signed in from a network."""
    until = timezone.now() + KNOWN_FOR
    KnownNetwork.objects.update_or_create(key=_key(account, "known", network), defaults={"until": until})


def is_known_network(account: str, network: str) -> bool:
    """Return whether the person of an account signed in from a network within the last 90 days."""
    row = KnownNetwork.objects.filter(key=_key(account, "known", network)).first()
    return row is not None and is_in(row.until, within=KNOWN_FOR)


def unlock(*, actor: Principal, user: User) -> None:
    """Forget the failed tries of an account, from wherever they came. Raises Forbidden."""
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    with lock_actor(actor, Action.USER_CHANGE):
        start = _account_key(user.username)
        # A range, not LIKE: the column has an index.
        FailedSignIns.objects.filter(bucket__gte=start, bucket__lt=f"{start}g").delete()
        record(
            actor=actor,
            action=Action.USER_CHANGE,
            stream=streams.SYSTEM,
            object=AuditObject("user", user.uuid, user.username),
            details={"unlocked": True},
        )


def locked_until(user: User) -> datetime | None:
    """Return when an account may be tried again from the place that waits longest; None if none waits."""
    start = _account_key(user.username)
    rows = locked(FailedSignIns.objects.filter(bucket__gte=start, bucket__lt=f"{start}g"))
    # A pool that is used up has a try again long before it is full.
    ends = (row.until if row.count else row.until - _HOUR + _interval(Kind.STRANGER) for row in rows)
    return max(ends, default=None)


def locked_among(users: Iterable[User]) -> set[int]:
    """Return the ids of the accounts that cannot be tried now from somewhere; one statement."""
    ids = {_account_key(user.username): user.pk for user in users}
    rows = locked(FailedSignIns.objects.all()).annotate(account=Left("bucket", _HALF))
    return {ids[each] for each in rows.filter(account__in=ids).values_list("account", flat=True)}


def accounts_of(rows: Iterable[FailedSignIns]) -> dict[int, User]:
    """Return the accounts that rows are about, by the keys of the rows; names without one are left out."""
    keys = {row.pk: row.bucket[:_HALF] for row in rows}
    if not keys:
        return {}
    wanted = set(keys.values())
    users = User.objects.only("username").order_by()
    found = {key: user for user in users.iterator() if (key := _account_key(user.username)) in wanted}
    return {pk: found[key] for pk, key in keys.items() if key in found}


def locked(rows: QuerySet[FailedSignIns]) -> QuerySet[FailedSignIns]:
    """Return the rows by which tries are refused now: sources that wait, and pools of strangers used up.

    A row does not name its kind: the largest pool decides when a pool counts as used up.
    """
    now = timezone.now()
    waits = Q(count__gte=_FREE_TRIES, until__gt=now, until__lte=now + MAX_DELAY + SLACK)
    used_up = Q(count=0, until__gt=now + _HOUR - _interval(Kind.STRANGER), until__lte=now + _HOUR + SLACK)
    return rows.filter(waits | used_up)


def purge() -> int:
    """Delete the rows that limit nothing any more; return how many."""
    now = timezone.now()
    over = FailedSignIns.objects.filter(until__lt=now - 2 * _HOUR).delete()[0]
    return over + KnownNetwork.objects.filter(until__lt=now).delete()[0]


def _take(account: str, source: Source) -> Attempt | int:
    """Take a try, or return the seconds until there is one."""
    now = timezone.now()
    keys = _keys(account, source)
    fresh = [FailedSignIns(bucket=key, until=now) for key in keys]
    # Rows of the same moment by another process are as good.
    FailedSignIns.objects.bulk_create(fresh, ignore_conflicts=True)
    with transaction.atomic():
        rows = _locked(keys)
        if rows is None:
            return 1
        pool, own = rows
        interval, capacity = _interval(source.kind), POOLS[source.kind] * _interval(source.kind)
        used = _used(pool, source.kind, now) + interval
        wait = max(used - capacity, _left(own.until, now, longest=_delay(own.count)))
        if wait > _NOTHING:
            return ceil(wait.total_seconds())
        own.count = 1 if own.until < now - _HOUR else own.count + 1
        pool.until, own.until = now + used, now + _delay(own.count)
        pool.save(update_fields=["until"])
        own.save(update_fields=["count", "until"])
    is_last = used + interval > capacity
    return Attempt(account, source, is_last=is_last, count=own.count, until=own.until)


def _locked(keys: tuple[str, str]) -> tuple[FailedSignIns, FailedSignIns] | None:
    """Return the rows of a pool and of a source, locked until the transaction ends."""
    rows = {
        row.bucket: row
        for row in FailedSignIns.objects.select_for_update().filter(bucket__in=keys).order_by("bucket")
    }
    return (rows[keys[0]], rows[keys[1]]) if len(rows) == len(keys) else None


def _used(pool: FailedSignIns, kind: Kind, now: datetime) -> timedelta:
    """Return the time in which a pool is full again."""
    return _left(pool.until, now, longest=POOLS[kind] * _interval(kind))


def _left(until: datetime, now: datetime, *, longest: timedelta) -> timedelta:
    """Return the time that is left; none where more is left than can be: the clock was ahead."""
    left = until - now
    return min(max(left, _NOTHING), longest) if left <= longest + SLACK else _NOTHING


def _delay(count: int) -> timedelta:
    """Return how long a source waits after so many wrong tries in a row."""
    if count < _FREE_TRIES:
        return _NOTHING
    # Doubled ten times at most: it is beyond the longest by then.
    return min(_FIRST_DELAY * (1 << min(count - _FREE_TRIES, 10)), MAX_DELAY)


def _interval(kind: Kind) -> timedelta:
    return _HOUR / POOLS[kind]


def _keys(account: str, source: Source) -> tuple[str, str]:
    """Return the keys of the rows of a pool and of a source."""
    # One network waits as one source, whether or not it is known.
    kind = Kind.NETWORK if source.kind is Kind.STRANGER else source.kind
    return _bucket(account, "pool", source.kind), _bucket(account, kind, source.name)


def _bucket(account: str, *parts: str) -> str:
    """Return the key of a row: its first half names the account, so that an administrator can unlock it."""
    return _account_key(account) + _key(account, *parts)[:_HALF]


def _account_key(account: str) -> str:
    return _key(account)[:_HALF]


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


COOKIE: Final = "keeper_device"
# Salts are frozen: they do not follow the name of the module.
_SALT: Final = "environments_app.devices"
# People who share a browser; the oldest gives way.
_MAX_ACCOUNTS: Final = 5


def known_device(request: HttpRequest, account: str) -> str | None:
    """Return the id of this browser for an account that has signed in here; None if none has."""
    for device, mark, _ in _entries(request):
        if constant_time_compare(mark, _mark(device, account)):
            return str(device)
    return None


def remember_device(request: HttpRequest, response: HttpResponse, account: str) -> None:
    """Let the browser keep that an account has signed in here, under a new id."""
    device, now = secrets.token_urlsafe(16), int(timezone.now().timestamp())
    others = [entry for entry in _entries(request) if entry[1] != _mark(entry[0], account)]
    kept = [[device, _mark(device, account), now], *others][:_MAX_ACCOUNTS]
    response.set_cookie(
        COOKIE,
        signing.dumps(kept, salt=_SALT),
        max_age=KNOWN_FOR,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _entries(request: HttpRequest) -> list[list[Any]]:
    """Return what the cookie names and still counts: id, mark and time of each sign-in."""
    try:
        kept = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT)
    except signing.BadSignature:
        return []
    ends = ((entry, datetime.fromtimestamp(entry[2], UTC) + KNOWN_FOR) for entry in kept)
    return [entry for entry, end in ends if is_in(end, within=KNOWN_FOR)]


def _mark(device: str, account: str) -> str:
    return salted_hmac(_SALT, f"{device}\n{account}", algorithm="sha256").hexdigest()
