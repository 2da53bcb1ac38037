"""Use cases of sign-in by a redirect to a program on the person's machine (RFC 8252, 7.3; PKCE: RFC 7636).

The person's approval stores a personal token that ends with its code, within a minute. The code that the
browser carries to 127.0.0.1 holds the token's secret and its approved end, sealed by Keeper together with the
program's challenge. Keeper hands it out once, to the program that knows the verifier of that challenge, and
only then the token gets the approved end. So a token that no program fetched opens nothing.
"""

import base64
import binascii
import hashlib
import hmac
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit_app.errors import NotSealedHere
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import Place, Purpose, keyring
from audit_app.recording.refusals import check_allowance, refuse
from core.clock import ends_in
from core.network.client_address import subscriber
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import user_principal
from environments_app.errors import InvalidField, Invisible
from environments_app.models import DeviceSignIn, PersonalToken
from environments_app.sessions.service import lock_own, record_personal, revoke_token
from environments_app.tokens.device import save_with_code
from environments_app.tokens.peppers import give_secret
from environments_app.tokens.personal import PREFIX, new_token, store_token
from environments_app.tokens.service import require_token_name

LIFETIME: Final = timedelta(seconds=60)
_LABEL: Final = "token.loopback"
# The token's secret, the challenge, the public id, and the approved end in seconds since 1970.
_CONTENT: Final = struct.Struct(">43s43s22sQ")
_UUID_BYTES: Final = 16
_MAX_CODE: Final = 1024
_PORT: Final = re.compile(r"[1-9][0-9]{3,4}")
_LAST_PORT: Final = 65535
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_MAX_NAME: Final = 100


@dataclass(frozen=True)
class LoopbackRequest:
    """What a program asks by the address that it opens in the browser."""

    client_name: str
    port: str
    state: str
    code_challenge: str

    @property
    def fields(self) -> dict[str, str]:
        return asdict(self)


def parse_request(parameters: Mapping[str, str]) -> LoopbackRequest:
    """Return what a program asks. Raises InvalidField; the browser is not sent anywhere then."""
    request = LoopbackRequest(
        *(parameters.get(name, "") for name in ("client_name", "port", "state", "code_challenge"))
    )
    if not 0 < len(request.client_name) <= _MAX_NAME:
        raise InvalidField("client_name", "The program gives no name, or too long a one.")
    require_token_name(request.client_name)
    if not _PORT.fullmatch(request.port) or int(request.port) > _LAST_PORT:
        raise InvalidField("port", "The program gives no port from 1000 to 65535.")
    if not _STATE.fullmatch(request.state):
        raise InvalidField("state", "The program gives no state of 16 to 128 characters.")
    if not _CHALLENGE.fullmatch(request.code_challenge):
        raise InvalidField("code_challenge", "The program gives no challenge of the method S256.")
    return request


def approve(
    *, actor: Principal, asked: LoopbackRequest, environment: str, prefix: str, lifetime: timedelta
) -> str:
    """Store a personal token of the actor, and return the address that carries its code to the program.

    Raises what `new_token` raises.
    """
    token = new_token(
        actor=actor, name=asked.client_name, environment=environment, prefix=prefix, lifetime=lifetime
    )
    secret = give_secret(token)
    approved_end, code_end = token.expires_at, timezone.now() + LIFETIME
    token.expires_at = min(approved_end, code_end)
    with lock_own(actor, token.user, Action.TOKEN_ISSUE):
        store_token(actor=actor, token=token)
        # Its end is the end of the code, and its deletion the use of it.
        row = DeviceSignIn(
            public_id=token.public_id,
            pepper_id=token.pepper_id,
            secret_hash=token.secret_hash,
            name=asked.client_name,
            address=subscriber(actor.address),
            expires_at=code_end,
            token=token,
        )
        save_with_code(row)
    parts = (secret, asked.code_challenge, token.public_id)
    content = _CONTENT.pack(*(part.encode("ascii") for part in parts), int(approved_end.timestamp()))
    sealed = keyring().seal(Purpose.TOKEN_SESSION, content, place=_place(row.uuid))
    code = base64.urlsafe_b64encode(row.uuid.bytes + sealed).decode("ascii")
    return _address(asked, code=code)


def denied_address(asked: LoopbackRequest) -> str:
    """Return the address that carries a refusal to the program (RFC 6749, 4.1.2.1)."""
    return _address(asked, error="access_denied")


def redeem(*, code: str, verifier: str, address: str) -> tuple[str, PersonalToken]:
    """Return the token of a code, once, and its row.

    Raises Invisible, counted, if the code is unknown, used or over, or if the verifier is not that of its
    challenge: then the token ends as well. Raises TooManyRefusals for an address that has tried too many.
    """
    check_allowance(address=address)
    place, sealed = _decoded(code, address)
    rows = DeviceSignIn.objects.select_related("token", "token__user", "token__environment")
    row = rows.filter(ends_in("expires_at", within=LIFETIME), uuid=place, token__isnull=False).first()
    # Of two requests with one code the first deletes the row.
    if row is None or not DeviceSignIn.objects.filter(pk=row.pk).delete()[0]:
        raise _refused(address)
    token: PersonalToken = row.token  # type: ignore[assignment]  # the rows have one
    try:
        content = keyring().open(Purpose.TOKEN_SESSION, sealed, place=_place(place))
    except NotSealedHere:
        content = b""
    *parts, end = _CONTENT.unpack(content) if content else (b"", b"", b"", 0)
    secret, challenge, public_id = (part.decode("ascii") for part in parts)
    is_known = _VERIFIER.fullmatch(verifier) and hmac.compare_digest(challenge, _challenge_of(verifier))
    person = user_principal(token.user, address=address)
    if not is_known or public_id != token.public_id:
        revoke_token(actor=person, token=token)
        raise _refused(address)
    if not _extend(actor=person, token=token, end=datetime.fromtimestamp(end, UTC)):
        raise _refused(address)
    return f"{PREFIX}{public_id}_{secret}", token


def _extend(*, actor: Principal, token: PersonalToken, end: datetime) -> bool:
    """Give a token the end that its person approved, and return whether it is still live."""
    with transaction.atomic():
        # Not joined: MariaDB would lock the user and the environment as well.
        stored = PersonalToken.objects.select_for_update().get(pk=token.pk)
        if not stored.is_live or not verified_rows([stored]):
            return False
        token.expires_at = stored.expires_at = end
        stored.save(update_fields=["expires_at"])
        record_personal(actor, Action.TOKEN_CHANGE, stored)
    return True


def _decoded(code: str, address: str) -> tuple[UUID, bytes]:
    try:
        stored = base64.b64decode(code[:_MAX_CODE], altchars=b"-_", validate=True)
        return UUID(bytes=stored[:_UUID_BYTES]), stored[_UUID_BYTES:]
    except (binascii.Error, ValueError):
        raise _refused(address) from None


def _refused(address: str) -> Invisible:
    refuse(kind="unknown-device-code", address=address)
    return Invisible("This sign-in has ended. Start again.")


def _challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _address(asked: LoopbackRequest, **answer: str) -> str:
    # The address and not the name: a name could lead elsewhere (RFC 8252, 8.3).
    return f"http://127.0.0.1:{asked.port}/?{urlencode({**answer, 'state': asked.state})}"


def _place(row: UUID) -> Place:
    return Place(label=_LABEL, row=row, owner=NIL)
