"""Sign-in by a code (RFC 8628): the terminal shows it, and the person enters it in Keeper."""

import os
import socket
import sys
import time

from kpr.api import Api
from kpr.errors import SignInError

_ACCEPTED = 202
_TOO_SOON = 429
_MAX_NAME = 100


def signed_in_by_code(api: Api) -> str:
    """Return the token that the person approved. Raises SignInError if none came in time, or KprError."""
    codes = api.send("POST", "device/authorization", body={"client_name": client_name()}).document()
    # Where to go is made of the server that was named, and not taken from an answer.
    sys.stderr.write(f"Open {api.server}/device in a browser, and enter the code {codes['user_code']}\n")
    sys.stderr.flush()
    ends = time.monotonic() + int(codes["expires_in"])
    wait = max(int(codes["interval"]), 1)
    while time.monotonic() < ends:
        time.sleep(wait)
        answer = api.send(
            "POST", "device/token", body={"device_code": codes["device_code"]}, accepted=(_TOO_SOON,)
        )
        if answer.status == _TOO_SOON:
            wait += 1
        elif answer.status != _ACCEPTED:
            return str(answer.document()["access_token"])
    raise SignInError("The code was not entered in time: run kpr login again.")


def client_name() -> str:
    """Return what the page of Keeper shows as the name of this client."""
    user = os.environ.get("USER") or os.environ.get("USERNAME") or "unknown"
    name = "".join(each for each in f"{user}@{socket.gethostname()}" if each.isprintable())
    return name.strip()[:_MAX_NAME] or "kpr"
