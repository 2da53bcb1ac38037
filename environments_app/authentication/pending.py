"""The requests that Keeper has sent: their ids prove themselves, and a cookie ties them to a browser.

Nothing is stored for a stranger who merely starts to sign in. An answer of SAML is posted from
another site, so that no cookie of the house's kind (SameSite=Lax) comes along; the id is checked
there, and the cookie on the next step, to which the browser is sent by a redirect.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from environments_app.models import UsedJwt

# What a request is for; the names of the parameters that ask for it.
CONNECT: Final = "connect"
TEST: Final = "test"
LIFETIME_SECONDS: Final = 600
# How long a used request or a logout is remembered: longer than a sign-in lasts.
KEPT: Final = timedelta(seconds=2 * LIFETIME_SECONDS)
_ID: Final = re.compile(r"k([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{40})")
# A person may have several windows open; more only make the cookie long.
_MAX_PENDING: Final = 4
_MAX_TARGET: Final = 500


@dataclass(frozen=True)
class PendingRequest:
    """What a browser waits for: where it wants to go, and who must sign in again (a user's uuid).

    `purpose` is what else than a sign-in it is for: CONNECT to the account of `again`, or a TEST by it.
    """

    id: str
    target: str = ""
    again: str = ""
    purpose: str = ""

    @property
    def asked_at(self) -> int:
        """When Keeper asked, in seconds since the epoch."""
        return int(self.id.split(".")[1])


@dataclass(frozen=True)
class Requests:
    """The requests to one provider: the cookie that holds them, its path, and the salt of their proofs.

    The salt is frozen: it does not follow the name of a module. An id of another provider is none of these.
    """

    cookie: str
    path: str
    salt: str

    def new_id(self) -> str:
        """Return an id that only Keeper can make, with the time of its making; an XML NCName."""
        body = f"k{secrets.token_hex(16)}.{int(time.time())}"
        return f"{body}.{self._proof(body)}"

    def issued_at(self, request_id: str) -> int | None:
        """Return when an id was made, in seconds since the epoch; None if it is not ours or too old."""
        match = _ID.fullmatch(request_id)
        if match is None:
            return None
        body, _, proof = request_id.rpartition(".")
        seconds = int(match.group(2))
        genuine = hmac.compare_digest(self._proof(body), proof)
        return seconds if genuine and 0 <= time.time() - seconds <= LIFETIME_SECONDS else None

    def remember(self, request: HttpRequest, response: HttpResponse, pending: PendingRequest) -> None:
        """Let the browser hold a request until it is answered."""
        target = pending.target if len(pending.target) <= _MAX_TARGET else ""
        newest = replace(pending, target=target)
        self._set(response, [*self.pending(request).values(), newest][-_MAX_PENDING:])

    def forget(self, request: HttpRequest, response: HttpResponse, request_id: str) -> None:
        """Take an answered request out of the browser's cookie."""
        self._set(response, [entry for entry in self.pending(request).values() if entry.id != request_id])

    def pending(self, request: HttpRequest) -> Mapping[str, PendingRequest]:
        """Return the requests that this browser has sent and that can still be answered, by id."""
        try:
            entries = signing.loads(
                request.COOKIES.get(self.cookie, ""), salt=self.salt, max_age=LIFETIME_SECONDS
            )
        except signing.BadSignature:
            return {}
        pending = [PendingRequest(**entry) for entry in entries]
        return {entry.id: entry for entry in pending if self.issued_at(entry.id) is not None}

    def _set(self, response: HttpResponse, pending: list[PendingRequest]) -> None:
        options: dict[str, Any] = {"path": self.path, "samesite": settings.SESSION_COOKIE_SAMESITE}
        if not pending:
            response.delete_cookie(self.cookie, **options)
            return
        response.set_cookie(
            self.cookie,
            # Without what is empty: the release before does not know each field.
            signing.dumps([_stated(entry) for entry in pending], salt=self.salt),
            max_age=LIFETIME_SECONDS,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            **options,
        )

    def _proof(self, body: str) -> str:
        return salted_hmac(self.salt, body, algorithm="sha256").hexdigest()[:40]


def _stated(pending: PendingRequest) -> dict[str, Any]:
    return {name: value for name, value in asdict(pending).items() if value}


def use_once(name: str) -> bool:
    """Use up what is named, for all processes; False if it was used before."""
    try:
        with transaction.atomic():
            UsedJwt.objects.create(digest=digest_of(name), until=timezone.now() + KEPT)
    except IntegrityError:
        return False
    return True


def digest_of(name: str) -> str:
    """Return under what it is stored that something was used."""
    return hashlib.sha256(name.encode()).hexdigest()


SAML_REQUESTS: Final = Requests("keeper_saml", "/saml/", "environments_app.saml.requests")
PASSKEY_REQUESTS: Final = Requests("keeper_passkey", "/sign-in", "environments_app.passkeys.requests")
