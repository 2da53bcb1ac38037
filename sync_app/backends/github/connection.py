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


class GitHubConnection(RestClient):
    """One GitHub, with credentials; safe to share between threads."""

    def __init__(self, address: str, *, credentials: Mapping[str, str], seconds: float | None) -> None:
        """Take the API's address and a target's credentials. Raises BadDestination."""
        super().__init__(address, label="GitHub", seconds=seconds, headers=_API)
        self._app = AppKey.of(credentials)
        self._token = credentials["token"]
        self._until = 0.0
        self._issuing = threading.Lock()

    def close(self) -> None:
        """Revoke the installation token, if one was made, and close the connections."""
        if self._app is not None and self._token:
            # It ends within the hour anyhow.
            with contextlib.suppress(BackendError):
                self.request("DELETE", "/installation/token")
        super().close()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> RestAnswer:
        """Send a request with the token; raises as `RestClient.request` does."""
        bearer = headers or {"Authorization": f"Bearer {self._bearer()}"}
        return super().request(method, path, headers=bearer, query=query, body=body)

    def _bearer(self) -> str:
        if self._app is None:
            return self._token
        with self._issuing:
            if time.monotonic() >= self._until:
                self._token = self._installation_token(self._app)
                self._until = time.monotonic() + _TOKEN_SECONDS
            return self._token

    def _installation_token(self, app: AppKey) -> str:
        path = f"/app/installations/{app.installation_id}/access_tokens"
        headers = {"Authorization": f"Bearer {app.assertion()}"}
        try:
            made = self.request("POST", path, headers=headers, body={})
        except (NotFound, RequestRefused):
            raise CredentialsRejected("GitHub makes no token for this installation of the App") from None
        token: str = made.content["token"]
        return token
