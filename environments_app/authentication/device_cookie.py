"""The cookie of a browser in which a user has signed in before.

It grants no access: it only keeps wrong passwords from unknown sources from delaying the user. It is
signed, and names accounts only by keyed hashes.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from environments_app.authentication.lockout import KNOWN_FOR
from environments_app.clock import is_in

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
