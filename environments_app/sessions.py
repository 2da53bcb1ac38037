"""Sessions whose rows are worth nothing to who can read or write the database (SESSION_ENGINE).

Django stores the very id that the cookie holds, and signs the data without it: a row that is read
gives its session away, and signed data can be copied under an id of one's own. Here a row carries
an HMAC of the id, and its data is signed for that id alone.
"""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import salted_hmac

_SALT = "environments_app.sessions"
# As long as the ids that Django makes, so that the column fits.
_LENGTH = 32


class SessionStore(db.SessionStore):
    """Django's database sessions, found by an HMAC of their id under SECRET_KEY."""

    @property
    def key_salt(self) -> str:
        """Return what the data's signature is bound to."""
        return f"{_SALT}.{stored_key(self.session_key or '')}"

    def get_expire_at_browser_close(self) -> bool:
        """Keep the cookie no longer than the browser is open, whatever ends the session earlier."""
        return True

    def exists(self, session_key: str) -> bool:
        """Say whether there is a session of this id."""
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row to be stored."""
        instance = super().create_model_instance(data)
        instance.session_key = stored_key(instance.session_key)
        return instance

    def delete(self, session_key: str | None = None) -> None:
        """End a session, by default this one."""
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored_key(key))

    def _get_session_from_db(self) -> Session | None:
        key = stored_key(self.session_key or "")
        row = Session.objects.filter(session_key=key, expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row


def stored_key(session_key: str) -> str:
    """Return the name under which a session is stored."""
    return salted_hmac(_SALT, session_key, algorithm="sha256").hexdigest()[:_LENGTH]
