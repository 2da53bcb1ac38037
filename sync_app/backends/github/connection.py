"""Asks GitHub's REST API for the secrets of one place, by a token or as a GitHub App.

Sources: GitHub REST API, "Actions secrets", "Rate limits for the REST API", "Authenticating as a GitHub App
installation".
"""

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from sync_app.backends.rest import NotFound, RestAnswer, RestClient
from sync_app.errors import BackendError, BadDestination, CredentialsRejected, RequestRefused

_API: Final = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
# An installation token lives an hour: it is replaced before.
_TOKEN_SECONDS: Final = 50 * 60
# At most ten minutes, and issued a minute ago, against clocks that differ.
_JWT_SECONDS: Final = 540
_JWT_BACK_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True)
class AppKey:
    """How a GitHub App proves itself."""

    app_id: str
    installation_id: str
    key: RSAKey

    @classmethod
    def of(cls, credentials: Mapping[str, str]) -> "AppKey | None":
        """Return the key among credentials; None for a token. Raises BadDestination for neither."""
        given = {name: credentials[name] for name in ("app_id", "installation_id", "private_key")}
        if credentials["token"] and not any(given.values()):
            return None
        if credentials["token"] or not all(given.values()):
            raise BadDestination("enter a token, or all three of the GitHub App", field="token")
        for name in ("app_id", "installation_id"):
            if not given[name].isdecimal():
                raise BadDestination("a number", field=name)
        try:
            key = RSAKey.import_key(given["private_key"])
        except (JoseError, ValueError, TypeError):
            raise BadDestination("enter the App's private key in PEM", field="private_key") from None
        return cls(app_id=given["app_id"], installation_id=given["installation_id"], key=key)

    def assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self.app_id, "iat": now - _JWT_BACK_SECONDS, "exp": now + _JWT_SECONDS}
        return jwt.encode({"alg": "RS256"}, claims, self.key)


class GitHubConnection:
    """One GitHub, with credentials; safe to share between threads."""

    def __init__(self, address: str, *, credentials: Mapping[str, str], seconds: float | None) -> None:
        """Take the API's address and a target's credentials. Raises BadDestination."""
        self._rest = RestClient(address, label="GitHub", seconds=seconds)
        self._app = AppKey.of(credentials)
        self._token = credentials["token"]
        self._until = 0.0
        self._lock = threading.Lock()

    @property
    def busy_seconds(self) -> float:
        return self._rest.busy_seconds

    @property
    def server_time(self) -> int:
        """The latest time that GitHub named in an answer, in seconds since 1970."""
        return self._rest.server_time

    @property
    def server_now(self) -> int:
        """GitHub's time by now, as its last answers let it be estimated, in seconds since 1970."""
        return self._rest.server_now

    def require_room(self) -> None:
        """Raise TargetBusy where the limit has no room for a write and the look after it."""
        self._rest.require_room()

    def close(self) -> None:
        """Revoke the installation token, if one was made, and close the connections."""
        if self._app is not None and self._token:
            # It ends within the hour anyhow.
            with contextlib.suppress(BackendError):
                self.request("DELETE", "/installation/token")
        self._rest.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> RestAnswer:
        """Send a request with the token; raises as `RestClient.request` does."""
        headers = {**_API, "Authorization": f"Bearer {self._bearer()}"}
        return self._rest.request(method, path, headers=headers, query=query, body=body)

    def _bearer(self) -> str:
        if self._app is None:
            return self._token
        with self._lock:
            if time.monotonic() >= self._until:
                self._token = self._installation_token(self._app)
                self._until = time.monotonic() + _TOKEN_SECONDS
            return self._token

    def _installation_token(self, app: AppKey) -> str:
        path = f"/app/installations/{app.installation_id}/access_tokens"
        headers = {**_API, "Authorization": f"Bearer {app.assertion()}"}
        try:
            made = self._rest.request("POST", path, headers=headers, body={})
        except (NotFound, RequestRefused):
            raise CredentialsRejected("GitHub makes no token for this installation of the App") from None
        token: str = made.content["token"]
        return token
