"""Passkeys (WebAuthn) in place of a code, or of password and code where the device checks its person.

A passkey belongs to the second factor that its person's row names: with that it ends, and the recovery
codes are there for a lost device. It is bound to the host name of Keeper by the browser and by its row.
"""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from core.clock import SLACK
from core.network.client_address import parse_address
from environments_app.authorization.policy import Principal, require_confirmed
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import Passkey, User
from environments_app.sessions.service import lock_own
from environments_app.users.credentials import delete_passkey, record_change

if TYPE_CHECKING:
    from webauthn.helpers.structs import AuthenticationCredential

MAX_PASSKEYS: Final = 10
MAX_NAME: Final = 60
_NAME: Final = "Keeper"
# An answer of a browser with its certificates stays far below.
_MAX_CREDENTIAL: Final = 20_000
_TIMEOUT_SECONDS: Final = 300
_CHALLENGE: Final = "passkey_challenge"


@dataclass(frozen=True, kw_only=True)
class RelyingParty:
    """For whom devices make passkeys: the host name of Keeper, and the origin of its pages."""

    host: str
    origin: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Ceremony:
    """What a browser is asked for, as JSON, and the challenge that its answer has to hold."""

    options: str
    challenge: bytes


def relying_party(request: HttpRequest) -> RelyingParty | None:
    """Return the relying party of a page; None where no passkey works: at an IP address, or another host."""
    origin = f"{request.scheme}://{request.get_host()}"
    if settings.KEEPER_URL and origin != settings.KEEPER_URL:
        return None
    host = urlsplit(origin).hostname or ""
    return None if parse_address(host) else RelyingParty(host=host, origin=origin)


def keep_challenge(request: HttpRequest, ceremony: Ceremony) -> None:
    """Store in the session what the browser's answer has to hold, for some minutes."""
    until = int(time.time()) + _TIMEOUT_SECONDS
    request.session[_CHALLENGE] = {"challenge": ceremony.challenge.hex(), "until": until}


def take_challenge(request: HttpRequest) -> bytes | None:
    """Return the challenge of this session, which is used up by this; None if there is none any more."""
    kept = request.session.pop(_CHALLENGE, None)
    if not kept or not 0 < kept["until"] - time.time() <= _TIMEOUT_SECONDS + SLACK.total_seconds():
        return None
    return bytes.fromhex(kept["challenge"])


def passkeys_of(user: User) -> list[Passkey]:
    """Return the genuine passkeys of a person's present second factor, oldest first."""
    if user.second_factor is None:
        return []
    rows = Passkey.objects.select_related("user").filter(user=user, factor=user.second_factor)
    return list(verified_rows(rows.order_by("pk")))


def begin_registration(*, actor: Principal, user: User, party: RelyingParty) -> Ceremony:
    """Return what the browser needs to make a passkey for the actor's own account.

    Raises Forbidden for another account, ConfirmationNeeded, or Conflict without a second factor or with
    too many passkeys.
    """
    from webauthn import generate_registration_options, options_to_json  # noqa: PLC0415 - 20 MB, rarely asked
    from webauthn.helpers.structs import (  # noqa: PLC0415
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
    )

    require_own(actor, user)
    present = passkeys_of(user)
    _require_room(user, present)
    options = generate_registration_options(
        rp_id=party.host,
        rp_name=_NAME,
        user_id=user.uuid.bytes,
        user_name=user.username,
        timeout=_TIMEOUT_SECONDS * 1000,
        authenticator_selection=AuthenticatorSelectionCriteria(resident_key=ResidentKeyRequirement.PREFERRED),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=bytes(each.credential_id)) for each in present],
    )
    # The browser then tells whether the device can offer the passkey by itself.
    asked = json.loads(options_to_json(options)) | {"extensions": {"credProps": True}}
    return Ceremony(options=json.dumps(asked), challenge=options.challenge)


def register(
    *, actor: Principal, user: User, name: str, credential: str, challenge: bytes | None, party: RelyingParty
) -> Passkey:
    """Store the passkey that a browser made; from now on it is accepted in place of a code.

    `challenge` is None where it was used up or has expired, which is a Conflict.
    Raises as `begin_registration` does, and InvalidField for a name or an answer that is not valid.
    """
    require_own(actor, user)
    if challenge is None:
        raise Conflict("Setup has expired. Start again.")
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidField("name", f"Enter a name of at most {MAX_NAME} characters.")
    made = _verified_registration(credential, challenge, party)
    with lock_own(actor, user, Action.SECOND_FACTOR_CHANGE) as stored:
        factor = _require_room(stored, passkeys_of(stored))
        if Passkey.objects.filter(handle=_handle(made.credential_id)).exists():
            raise Conflict("This passkey is already registered.")
        passkey = Passkey(
            user=stored,
            factor=factor,
            name=name,
            handle=_handle(made.credential_id),
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            relying_party=party.host,
            passwordless=(made.user_verified and _is_offered(credential)) or None,
            sign_count=made.sign_count,
        )
        passkey.save()
        state = {"passkey": name, "passwordless": bool(passkey.passwordless), **row_digest_entry(passkey)}
        record_change(actor, stored, passkey, "passkey added", state)
    return passkey


def remove_passkey(*, actor: Principal, user: User, uuid: str) -> None:
    """Remove one of the actor's own passkeys.

    Raises Forbidden, ConfirmationNeeded, or Conflict if it is gone.
    """
    require_own(actor, user)
    with lock_own(actor, user, Action.SECOND_FACTOR_CHANGE) as stored:
        passkey = next((each for each in passkeys_of(stored) if str(each.uuid) == uuid), None)
        if passkey is None:
            raise Conflict("This passkey has already been removed.")
        delete_passkey(actor, stored, passkey)


def begin_sign_in(user: User, party: RelyingParty) -> Ceremony | None:
    """Return what the browser needs to prove a passkey of a person; None if there is none for this host."""
    from webauthn import generate_authentication_options, options_to_json  # noqa: PLC0415 - rarely asked
    from webauthn.helpers.structs import (  # noqa: PLC0415
        PublicKeyCredentialDescriptor,
        UserVerificationRequirement,
    )

    usable = [each for each in passkeys_of(user) if each.relying_party == party.host]
    if not usable:
        return None
    verifies = all(each.passwordless for each in usable)
    options = generate_authentication_options(
        rp_id=party.host,
        timeout=_TIMEOUT_SECONDS * 1000,
        allow_credentials=[PublicKeyCredentialDescriptor(id=bytes(each.credential_id)) for each in usable],
        user_verification=UserVerificationRequirement.REQUIRED
        if verifies
        else UserVerificationRequirement.PREFERRED,
    )
    return Ceremony(options=options_to_json(options), challenge=options.challenge)


def ask_anyone(party: RelyingParty, challenge: str) -> str:
    """Return what a browser is asked for before Keeper knows whose it is, as JSON: any passkey of its own."""
    # Written here: the library would cost each process 20 MB for the page of the sign-in.
    asked = {"challenge": urlsafe_b64encode(challenge.encode()).decode().rstrip("="), "rpId": party.host}
    wants = {"allowCredentials": [], "userVerification": "required", "timeout": _TIMEOUT_SECONDS * 1000}
    return json.dumps(asked | wants)


def owner_of(credential: str) -> User | None:
    """Return whose passkey a browser's answer names, both by its id and by its person; nothing is proved."""
    parsed = _parsed(credential)
    if parsed is None:
        return None
    passkey = Passkey.objects.select_related("user").filter(handle=_handle(parsed.raw_id)).first()
    same = passkey is not None and parsed.response.user_handle == passkey.user.uuid.bytes
    return passkey.user if passkey and same else None


def use_passkey(
    *, user: User, credential: str, challenge: bytes, party: RelyingParty, alone: bool = False
) -> bool:
    """Return whether a browser proved one of a person's passkeys for this challenge, which counts once.

    `alone` demands one that replaces the password too, and that the device checked its person just now.
    A device that counts must have counted on: one that did not is a copy.
    """
    from webauthn import verify_authentication_response  # noqa: PLC0415 - rarely asked
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    passkey = _named(user, credential)
    if passkey is None or passkey.relying_party != party.host or (alone and not passkey.passwordless):
        return False
    try:
        proof = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            credential_public_key=bytes(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=alone,
        )
    except (WebAuthnException, RecursionError):
        return False
    unchanged = Passkey.objects.filter(pk=passkey.pk, sign_count=passkey.sign_count)
    return unchanged.update(sign_count=proof.new_sign_count, last_used_at=timezone.now()) == 1


def _named(user: User, credential: str) -> Passkey | None:
    """Return the person's passkey that a browser's answer names."""
    parsed = _parsed(credential)
    if parsed is None or parsed.response.user_handle not in {None, user.uuid.bytes}:
        return None
    handle = _handle(parsed.raw_id)
    return next((each for each in passkeys_of(user) if each.handle == handle), None)


def _parsed(credential: str) -> "AuthenticationCredential | None":
    from webauthn.helpers import parse_authentication_credential_json  # noqa: PLC0415 - rarely asked
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    if len(credential) > _MAX_CREDENTIAL:
        return None
    try:
        return parse_authentication_credential_json(credential)
    except (WebAuthnException, RecursionError):
        return None


def _is_offered(credential: str) -> bool:
    """Return whether a device can offer its new passkey by itself: unless the browser denies it."""
    results = json.loads(credential).get("clientExtensionResults")
    properties = results.get("credProps") if isinstance(results, dict) else None
    return not isinstance(properties, dict) or properties.get("rk") is not False


def _verified_registration(credential: str, challenge: bytes, party: RelyingParty) -> Any:
    from webauthn import verify_registration_response  # noqa: PLC0415 - rarely asked
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    refusal = InvalidField("credential", "Your browser's answer isn't valid. Try again.")
    if len(credential) > _MAX_CREDENTIAL:
        raise refusal
    try:
        return verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
        )
    except (WebAuthnException, RecursionError) as error:
        raise refusal from error


def require_own(actor: Principal, user: User) -> None:
    """Raise Forbidden for another account, or ConfirmationNeeded."""
    if actor.kind is not ActorKind.USER or actor.uuid != user.uuid:
        raise Forbidden("You don't have permission to do this.")
    require_confirmed(actor)


def _require_room(user: User, present: list[Passkey]) -> UUID:
    """Return the second factor to which another passkey may belong."""
    if user.second_factor is None:
        raise Conflict("Set up an authenticator app first. Its recovery codes help if you lose your passkey.")
    if len(present) >= MAX_PASSKEYS:
        raise Conflict(f"You have {MAX_PASSKEYS} passkeys. Remove one first.")
    return user.second_factor


def _handle(credential_id: bytes) -> str:
    return sha256(credential_id).hexdigest()
