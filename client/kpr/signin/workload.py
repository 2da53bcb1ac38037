"""Sign-in of a pipeline by a trust: with the token that its platform signed, and no stored secret."""

import json
import os
import time
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urlsplit

from kpr.api import Api
from kpr.connection import connect, limit
from kpr.errors import SignInError

_SECONDS = 30.0
_MAX_BYTES = 1024 * 1024
_OK = 200
_REFUSED = 401


def token_by_trust(server: str, trust: str, *, debug: bool = False) -> str:
    """Return a short service token for the trust of that name. Raises SignInError, or KprError."""
    api = Api(server, debug=debug)
    try:
        body = {"trust": trust, "jwt": _platform_token(server)}
        answer = api.send("POST", "auth/jwt", body=body, accepted=(_REFUSED,))
        document = answer.document()
        if answer.status == _REFUSED:
            raise SignInError(f"The trust {trust} refused the job's token. {document.get('detail', '')}")
        return str(document["token"])
    finally:
        api.close()


def _platform_token(audience: str) -> str:
    given = os.environ.get("KPR_JWT") or ""
    path = os.environ.get("KPR_JWT_FILE") or ""
    if given:
        return given
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise SignInError(f"The file of KPR_JWT_FILE cannot be read: {path}") from None
    if os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        return _of_github(audience)
    raise SignInError(
        "KPR_TRUST is set, and there is no token of the platform: set KPR_JWT or KPR_JWT_FILE, "
        "or give the GitHub job the permission id-token: write."
    )


def _of_github(audience: str) -> str:
    address = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"]
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname:
        raise SignInError("ACTIONS_ID_TOKEN_REQUEST_URL is no address of GitHub.")
    target = f"{parts.path}?{parts.query}&audience={quote(audience, safe='')}"
    headers = {"Authorization": f"Bearer {os.environ.get('ACTIONS_ID_TOKEN_REQUEST_TOKEN', '')}"}
    connection = connect(address, seconds=_SECONDS)
    limit(connection, seconds=_SECONDS, ends=time.monotonic() + _SECONDS)
    try:
        connection.request("GET", target, headers={**headers, "User-Agent": "kpr"})
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
        if response.status != _OK:
            raise SignInError(f"GitHub gave no token for this job ({response.status}).")
        return str(json.loads(body)["value"])
    except (OSError, HTTPException, ValueError, KeyError):
        raise SignInError("GitHub gave no token for this job: try again.") from None
    finally:
        connection.close()
