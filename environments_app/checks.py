"""System checks of people, tokens and single sign-on: their settings are present and sound.

For single sign-on the checks hold that nothing about it is weaker than it must be.
"""

import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error

from environments_app.errors import SignOnUnavailable
from environments_app.saml.metadata import from_file, only_provider
from environments_app.tokens.peppers import MIN_PEPPER_LENGTH

_MAX_ID_LENGTH = 32


def token_peppers(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse peppers that are missing, malformed, too short, or share an id."""
    entries = settings.KEEPER_TOKEN_PEPPERS
    pairs = [entry.partition(":") for entry in entries]
    malformed = not entries or any(
        not 1 <= len(pepper_id) <= _MAX_ID_LENGTH or len(pepper) < MIN_PEPPER_LENGTH
        for pepper_id, _, pepper in pairs
    )
    errors: list[CheckMessage] = []
    if malformed:
        errors.append(
            Error(
                "KEEPER_TOKEN_PEPPERS holds an entry that is not `id:pepper`.",
                hint=f"A pepper has at least {MIN_PEPPER_LENGTH} random characters; "
                "the first entry hashes new tokens.",
                id="environments_app.E001",
            )
        )
    if len({pepper_id for pepper_id, _, _ in pairs}) != len(pairs):
        errors.append(
            Error(
                "KEEPER_TOKEN_PEPPERS uses an id twice.",
                hint="Give each pepper an id of its own and never reuse one.",
                id="environments_app.E002",
            )
        )
    return errors


_MAX_READ_APPROVAL_MINUTES: Final = 1_440


def read_approval_minutes(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a time in which no approved read could be opened, or in which one stays open for days."""
    if 1 <= settings.KEEPER_READ_APPROVAL_MINUTES <= _MAX_READ_APPROVAL_MINUTES:
        return []
    return [
        Error(
            f"KEEPER_READ_APPROVAL_MINUTES is not between 1 and {_MAX_READ_APPROVAL_MINUTES}.",
            hint="It is the time after its approval in which a guarded value can be read. Choose 60 for an "
            f"hour, at most {_MAX_READ_APPROVAL_MINUTES} for a day.",
            id="environments_app.E005",
        )
    ]


_MAX_SKEW_SECONDS: Final = 300
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# Required options of pysaml2; its defaults accept unsigned assertions.
_STRICT: Final[Mapping[str, bool]] = {
    "allow_unsolicited": False,
    "authn_requests_signed": True,
    "logout_requests_signed": True,
    "want_response_signed": True,
    "want_assertions_signed": True,
}


def requirements(**_kwargs: Any) -> list[CheckMessage]:
    """Report what is missing if single sign-on is configured."""
    if not settings.KEEPER_SAML:
        return []
    return [
        Error(f"Single sign-on is set up, and {what}.", hint=hint, id="environments_app.E003")
        for what, hint in _missing()
    ]


def strictness(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse what would let in more than a signed, fresh answer to our own request."""
    if not settings.KEEPER_SAML:
        return []
    return [
        Error(f"Single sign-on is set up too weakly: {what}.", hint=hint, id="environments_app.E004")
        for what, hint in _weaknesses()
    ]


def _missing() -> Iterator[tuple[str, str]]:
    if find_spec("djangosaml2") is None or find_spec("saml2") is None:
        yield "djangosaml2 is not installed", "pip install -r requirements.txt"
    if shutil.which("xmlsec1") is None:
        yield "the program xmlsec1 is not installed", "apt-get install xmlsec1"
    if not settings.KEEPER_URL:
        yield (
            "KEEPER_URL is not set",
            "Give the address at which browsers reach Keeper, as https://keeper.example.com.",
        )
    file = settings.KEEPER_SAML_METADATA_FILE
    if file and not Path(file).is_file():
        yield "KEEPER_SAML_METADATA_FILE names no file", "Save the provider's metadata there."
    elif file:
        # An address is asked at the first sign-in, and not when a command starts.
        try:
            only_provider(from_file(Path(file)), provider=settings.KEEPER_SAML_IDP_ENTITY_ID)
        except SignOnUnavailable as error:
            yield "its metadata cannot be used", str(error)


def _weaknesses() -> Iterator[tuple[str, str]]:
    for name in ("KEEPER_URL", "KEEPER_SAML_METADATA_URL"):
        address = urlsplit(getattr(settings, name))
        if address.scheme == "http" and address.hostname not in _LOOPBACK:
            yield f"{name} is not https", "Only on this machine is plain HTTP safe."
    if not 0 <= settings.KEEPER_SAML_CLOCK_SKEW_SECONDS <= _MAX_SKEW_SECONDS:
        yield (
            "KEEPER_SAML_CLOCK_SKEW_SECONDS is not between 0 and 300",
            "Synchronise the clocks instead; it prolongs the life of every assertion.",
        )
    if find_spec("saml2") is not None:
        yield from _lax_options()


def _lax_options() -> Iterator[tuple[str, str]]:
    from environments_app.saml.configuration import service_provider  # noqa: PLC0415 - only where SAML is set up

    options = service_provider()
    service = options["service"]["sp"]
    for name, value in _STRICT.items():
        if service.get(name) is not value:
            yield f"{name} is not {value}", "Undo the change of environments_app/saml/configuration.py."
    if options.get("only_use_keys_in_metadata") is not True:
        yield "keys from messages are believed", "Undo the change of environments_app/saml/configuration.py."
