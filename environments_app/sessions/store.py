"""Sessions whose rows are worth nothing to who can read or write the database (SESSION_ENGINE).

Django stores the very id that the cookie holds, and signs the data without it: a row that is read
gives its session away, and signed data can be copied under another id. Here a row carries
an HMAC of the id, and its data is signed for that id alone. A session ends when it was not used
for KEEPER_SESSION_IDLE_SECONDS, and SESSION_COOKIE_AGE after its sign-in at the latest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core import signing
from django.db.models import CharField, DateTimeField, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.canonical_json import canonical_json
from core.clock import SLACK
from core.db.concurrency import repeatable
from core.db.prepared import Argument, PreparedQuery
from environments_app.errors import SessionEnded
from environments_app.models import Session

SIGNED_IN: Final = "signed_in_at"
CONFIRMED: Final = "confirmed_at"
PLACE: Final = "signed_in_from"
# Whom the identity provider knows the person of a session as.
SAML: Final = "saml"
# The ID token, where the provider demands it at the end of its session.
HINT: Final = "id_token"
# Salts are frozen: they do not follow the name of the module, and sessions continue.
_SALT = "environments_app.sessions"
# As long as the ids that Django makes, so that the column fits.
_LENGTH = 32
_SEEN_INTERVAL: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Remaining:
    """How long a session lasts without being used; `extendable` if using it makes it last longer."""

    seconds: int
    extendable: bool


class SessionStore(db.SessionStore):
    """Django's database sessions, found by an HMAC of their id under SECRET_KEY."""

    # Reading a watched session does not count as use.
    is_watched = False
    # The row that was read, with the times by which the session ends.
    row: Session | None = None

    @classmethod
    def get_model_class(cls) -> type[AbstractBaseSession]:
        return Session

    @property
    def key_salt(self) -> str:
        return f"{_SALT}.{stored_key(self.session_key or '')}"

    def get_expire_at_browser_close(self) -> bool:
        """Keep the cookie no longer than the browser is open, whatever ends the session earlier."""
        return True

    def exists(self, session_key: str) -> bool:
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row to be stored; the first with a user is when that user signed in."""
        if SESSION_KEY in data:
            data.setdefault(SIGNED_IN, int(timezone.now().timestamp()))
        instance = super().create_model_instance(data)
        instance.session_key = stored_key(instance.session_key)
        if isinstance(instance, Session) and SESSION_KEY in data:
            instance.user_id = int(data[SESSION_KEY])
            instance.signed_in_at = datetime.fromtimestamp(data[SIGNED_IN], UTC)
            instance.address, instance.agent = data.get(PLACE, ("", ""))
            instance.at_provider = at_provider(data.get(SAML))
            end = instance.signed_in_at + timedelta(seconds=settings.SESSION_COOKIE_AGE)
            instance.expire_date = min(instance.expire_date, end)
        return instance

    def cycle_key(self) -> None:
        """Give the session another id; the row of somebody who is signed in stays, and is found by it.

        Raises SessionEnded if that session ended meanwhile: a new row would revive it.
        """
        old = self.session_key
        if SESSION_KEY not in self or old is None:
            super().cycle_key()
            return
        self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # the stub lacks it
        new = self.create_model_instance(self._get_session())  # type: ignore[attr-defined]  # as above
        moved = Session.objects.filter(session_key=stored_key(old)).update(
            session_key=new.session_key, session_data=new.session_data
        )
        if not moved:
            raise SessionEnded
        self.modified = True
        if self.row is not None:
            self.row.session_key = new.session_key

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored_key(key))

    def _get_session_from_db(self) -> Session | None:
        key = stored_key(self.session_key or "")
        row = _OPEN_BY_KEY.first(key, *_bounds())
        if row is None:
            self._session_key = None
        elif row.last_seen_at < timezone.now() - _SEEN_INTERVAL and not self.is_watched:
            _note_use(row)
        self.row = row
        return row


def is_open() -> Q:
    """Return the condition on sessions that have not ended.

    What began, was used or ends later than is possible was written by a clock that was ahead.
    """
    return _open_within(*_bounds())


def _bounds() -> tuple[datetime, datetime, datetime, datetime]:
    """Return now, the latest that counts as now, the latest end, and the earliest last use."""
    now, idle = timezone.now(), timedelta(seconds=settings.KEEPER_SESSION_IDLE_SECONDS)
    longest = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    return now, now + SLACK, now + longest + SLACK, now - idle


def _open_within(now: Any, latest: Any, last_end: Any, used_since: Any) -> Q:
    return Q(
        signed_in_at__lte=latest,
        expire_date__gt=now,
        expire_date__lte=last_end,
        last_seen_at__gt=used_since,
        last_seen_at__lte=latest,
    )


_OPEN_BY_KEY: Final = PreparedQuery(
    lambda: Session.objects.filter(
        _open_within(*(Argument(place, DateTimeField()) for place in range(1, 5))),
        session_key=Argument(0, CharField()),
    ).order_by()
)


def is_impossible() -> Q:
    """Return the condition on sessions that a clock which was ahead has written, by the database's time.

    They are not open, and would be once the time that they name has come. A host whose own clock is behind
    must not end the sessions that other hosts began.
    """
    longest = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    began, used = Q(signed_in_at__gt=Now() + SLACK), Q(last_seen_at__gt=Now() + SLACK)
    return began | used | Q(expire_date__gt=Now() + longest + SLACK)


def watch(session: SessionBase) -> None:
    """Let a request read its session without extending it; called before anything is read from it."""
    if isinstance(session, SessionStore):
        session.is_watched = True


def extend(session: SessionBase) -> None:
    """Count this moment as use of a session that was read, whenever the last use was."""
    if isinstance(session, SessionStore) and session.row is not None:
        _note_use(session.row)


def remaining(session: SessionBase) -> Remaining | None:
    """Return how long a session that was read lasts; None for one that began in this request."""
    if not isinstance(session, SessionStore) or session.row is None:
        return None
    end = session.row.expire_date
    idle_end = session.row.last_seen_at + timedelta(seconds=settings.KEEPER_SESSION_IDLE_SECONDS)
    left = min(end, idle_end) - timezone.now()
    return Remaining(seconds=max(0, int(left.total_seconds())), extendable=idle_end < end)


def _note_use(row: Session) -> None:
    row.last_seen_at = timezone.now()
    with repeatable():
        Session.objects.filter(session_key=row.session_key).update(last_seen_at=row.last_seen_at)


def contents_of(row: Session) -> dict[str, Any]:
    """Return what a stored session holds; nothing if it was not written for this row."""
    try:
        contents = signing.loads(
            row.session_data, salt=f"{_SALT}.{row.session_key}", serializer=SessionStore().serializer
        )
    except signing.BadSignature:
        return {}
    return dict(contents)


def at_provider(subject: Mapping[str, str] | None) -> str | None:
    """Return by what a session is found when the provider names its own; None if it has no name for it."""
    if not subject or not subject["session_index"]:
        return None
    name = canonical_json([subject["issuer"], subject["session_index"]])
    return salted_hmac(f"{_SALT}.at_provider", name, algorithm="sha256").hexdigest()


def stored_key(session_key: str) -> str:
    """Return the name under which a session is stored."""
    return salted_hmac(_SALT, session_key, algorithm="sha256").hexdigest()[:_LENGTH]
