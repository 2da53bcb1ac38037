"""Accepted assertions: each is a row shared by all processes, so that none opens anything twice."""

import hashlib
import secrets
from dataclasses import asdict
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.clock import is_in
from environments_app.authentication.pending import LIFETIME_SECONDS
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import SignOnRefused, Tampered
from environments_app.models import SamlAssertion
from environments_app.saml.protocol.assertion_rules import Statement
from environments_app.saml.protocol.logout import LogoutRequest

# The browser follows a redirect at once.
_HANDLE_SECONDS: Final = 120
_INDEXES: Final = "session_indexes"
# An assertion answers a request, which is refused when it is older than its lifetime.
_ASSERTION_KEPT_FOR: Final = timedelta(seconds=2 * LIFETIME_SECONDS)


def accept(statement: Statement) -> str:
    """Use up an assertion and the request that it answers; return the handle to continue with.

    Raises SignOnRefused if either was used before, by whatever process or browser.
    """
    handle = secrets.token_urlsafe(32)
    row = SamlAssertion(
        assertion=_digest(f"{statement.issuer}\n{statement.assertion_id}"),
        request=_digest(statement.in_response_to),
        handle=_digest(handle),
        statement=asdict(statement),
        received_at=timezone.now(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise SignOnRefused("saml-replay", "This sign-in was used before. Sign in again.") from error
    return handle


def use_logout(logout: LogoutRequest) -> None:
    """Consume a logout request of the provider. Raises SignOnRefused if it was used before."""
    name = f"logout\n{logout.issuer}\n{logout.id}"
    row = SamlAssertion(
        assertion=_digest(name),
        request=_digest(f"request of {name}"),
        handle=_digest(secrets.token_urlsafe(32)),
        statement={
            "issuer": logout.issuer,
            "name_id": logout.name_id,
            _INDEXES: list(logout.session_indexes),
        },
        received_at=timezone.now(),
        finished_at=timezone.now(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise SignOnRefused("saml-replay", "This logout was used before.") from error


def is_logged_out(statement: Statement, *, since: int) -> bool:
    """Return whether the provider ended the session of an assertion after that of number `since` came."""
    later = SamlAssertion.objects.filter(pk__gt=since, finished_at__isnull=False)
    return any(
        _INDEXES in told
        and (told["issuer"], told["name_id"]) == (statement.issuer, statement.name_id)
        and (not told[_INDEXES] or not statement.session_index or statement.session_index in told[_INDEXES])
        for told in later.values_list("statement", flat=True)
    )


def take(handle: str) -> tuple[Statement, int]:
    """Return the content of an accepted assertion and its number, once, and remove the content.

    Raises SignOnRefused if there is no such handle, or it was taken, or too much time went by.
    """
    row = SamlAssertion.objects.filter(handle=_digest(handle)).first()
    if row is None:
        raise _over()
    try:
        with lock_authentic(row) as stored:
            ends = stored.received_at + timedelta(seconds=_HANDLE_SECONDS)
            if stored.finished_at or not is_in(ends, within=timedelta(seconds=_HANDLE_SECONDS)):
                raise _over()
            statement = Statement(**stored.statement)
            stored.finished_at, stored.statement = timezone.now(), {}
            stored.save(update_fields=["finished_at", "statement"])
    except Tampered as error:
        raise _over() from error
    return statement, row.pk


def purge() -> int:
    """Delete the rows of assertions that could not be used again anyway; return how many."""
    return SamlAssertion.objects.filter(received_at__lt=timezone.now() - _ASSERTION_KEPT_FOR).delete()[0]


def _over() -> SignOnRefused:
    return SignOnRefused("saml-replay", "This sign-in is over. Sign in again.")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
