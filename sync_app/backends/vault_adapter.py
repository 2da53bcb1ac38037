"""What hvac's client sends its requests through: a pool of guarded connections to one address.

A push is as many requests as secrets, and a session of requests takes twice the CPU for each.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
from hvac.adapters import Adapter
from urllib3 import BaseHTTPResponse

from audit_app.outbound import pool

# Those that act, those that confirm, and one that looks.
_CONNECTIONS: Final = 20


class PooledAdapter(Adapter):  # type: ignore[misc]  # hvac is not typed
    """Sends each request once and follows nothing; the status is for the caller to judge."""

    def __init__(self, *, seconds: float, **options: Any) -> None:
        """Take the seconds to connect and to read, and what hvac's adapters take."""
        super().__init__(**options)
        self._path = urlsplit(self.base_uri).path
        self._pool = pool(self.base_uri, connections=_CONNECTIONS, seconds=seconds)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
        super().close()

    def get_login_token(self, response: BaseHTTPResponse) -> str:
        """Return the token that a login gave."""
        return str(orjson.loads(response.data)["auth"]["client_token"])

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = False,  # noqa: ARG002, FBT001, FBT002 - hvac's signature
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """Send a request with the token and the namespace, or with these headers alone.

        Raises EndpointRefused, an HTTPError of urllib3, or OSError.
        """
        query = f"?{urlencode(params)}" if params else ""
        return self._pool.urlopen(
            method,
            f"{self._path}{url}{query}",
            body=None if json is None else orjson.dumps(json),
            headers=self._headers(method) if headers is None else headers,
            retries=False,
            redirect=False,
        )

    def _headers(self, method: str) -> dict[str, str]:
        # Vault API, "Headers": X-Vault-Request keeps a proxy from being asked in Vault's place.
        headers = {"X-Vault-Token": str(self.token), "X-Vault-Request": "true"}
        if method == "PATCH":
            # RFC 7396; Vault takes no other kind of patch.
            headers["Content-Type"] = "application/merge-patch+json"
        return headers | {"X-Vault-Namespace": self.namespace} if self.namespace else headers
