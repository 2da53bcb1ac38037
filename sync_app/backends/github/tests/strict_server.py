"""GitHub's REST API, as far as secrets and variables of Actions need it.

Sources: GitHub REST API, "Actions secrets" and "Actions variables" (2022-11-28), "Authenticating as a GitHub App
installation", "Rate limits for the REST API", "Troubleshooting the REST API"; "Secrets" and "Variables reference" (names, limits). A name is stored in upper case. A value is kept opened, for tests to read as a workflow does.
"""

import base64
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import unquote
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from werkzeug.wrappers import Request

from sync_app.tests.strict_application import Handler, Refused, StrictApplication

TOKEN: Final = "github-token-canary"
APP_ID: Final = "12345"
INSTALLATION: Final = "678"
OWNER: Final = "octo"
REPOSITORY: Final = "app"
ENVIRONMENT: Final = "production/eu"
LARGEST: Final = 48 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WRITES: Final = {"put", "create", "change", "delete"}


@dataclass
class Items:
    """Secrets or variables, by name in upper case."""

    most: int = 100
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    # As they were before the last change.
    earlier: dict[str, dict[str, Any] | None] = field(default_factory=dict)


@dataclass
class Place(Items):
    """A repository, an environment or an organisation with its secrets and its variables."""

    variables: Items = field(default_factory=Items)
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    key_id: str = field(default_factory=lambda: uuid4().hex)


class GitHub(StrictApplication):
    """One GitHub with a repository, an environment of it, and its organisation."""

    def __init__(self) -> None:
        super().__init__()
        self.repository_id = 1001
        self.repository, self.environment = Place(variables=Items(most=500)), Place()
        self.organization = Place(most=1000, variables=Items(most=1000))
        # Whether the credentials may see the place at all.
        self.visible = True
        # Whether what is not permitted is answered as if it were not there.
        self.hides = False
        self.issued: set[str] = set()

    @cached_property
    def app_key(self) -> RSAKey:
        """The key of the App: few tests ask for one."""
        return RSAKey.generate_key(2048)

    # --- What other clients do --------------------------------------------------------------

    def put(self, place: Items, name: str, value: str, **extra: Any) -> bool:
        """Write as a client does; return whether it is a new one."""
        with self.lock:
            at = datetime.fromtimestamp(self.tick(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found = place.secrets.get(name.upper())
            place.earlier[name.upper()] = found
            if found is None and len(place.secrets) >= place.most:
                raise Refused(422, "the limit is reached")
            created = found["created_at"] if found else at
            kept = {key: text for key, text in (found or {}).items() if key in {"visibility", "chosen"}}
            place.secrets[name.upper()] = {
                "name": name.upper(), "created_at": created, "updated_at": at, "value": value
            } | kept | extra  # fmt: skip
            return found is None

    def remove(self, place: Items, name: str) -> None:
        """Delete as a client does."""
        with self.lock:
            if place.secrets.pop(name.upper(), None) is None:
                raise Refused(404, "Not Found")
            self.tick()

    # --- Requests ---------------------------------------------------------------------------

    def authenticate(self, request: Request, verb: str) -> None:
        """Take the token, or one that was issued to the App."""
        if request.headers.get("Accept") != "application/vnd.github+json":
            raise Refused(415, "Unsupported 'Accept' header")
        if not request.headers.get("User-Agent"):
            raise Refused(403, "Request forbidden by administrative rules")
        if verb == "app-token":
            return
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN and token not in self.issued:
            raise Refused(401, "Bad credentials")
        if not self.visible:
            raise Refused(404, "Not Found")
        if verb in self.denied or ("write" in self.denied and verb in _WRITES):
            # "Troubleshooting the REST API": 404 in place of 403 where something private would be disclosed.
            if self.hides:
                raise Refused(404, "Not Found")
            raise Refused(403, "Resource not accessible by personal access token")

    def app_token(self, request: Request, installation: str) -> tuple[int, Any]:
        """Issue a token to the App whose JWT is shown."""
        try:
            token = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), self.app_key)
        except (JoseError, ValueError):
            raise Refused(401, "A JSON web token could not be decoded") from None
        claims, now = token.claims, time.time()
        if claims["iss"] != APP_ID or not claims["iat"] <= now < claims["exp"] <= now + 600:
            raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")
        if installation != INSTALLATION:
            raise Refused(404, "Not Found")
        made = f"ghs_{uuid4().hex}"
        self.issued.add(made)
        return 201, {"token": made, "expires_at": "2026-01-01T01:00:00Z", "permissions": {"secrets": "write"}}

    def revoke(self, request: Request) -> tuple[int, Any]:
        """Take the token that is shown back."""
        self.issued.discard(request.headers["Authorization"].removeprefix("Bearer "))
        return 204, None

    def show_repository(self, request: Request) -> tuple[int, Any]:
        """Show the repository."""
        url = f"https://github.test/{OWNER}/{REPOSITORY}"
        return 200, {"id": self.repository_id, "name": REPOSITORY, "html_url": url}

    def show_organization(self, request: Request) -> tuple[int, Any]:
        """Show the organisation."""
        return 200, {"id": 2002, "login": OWNER, "html_url": f"https://github.test/{OWNER}"}

    def list_page(self, request: Request, place: str) -> tuple[int, Any]:
        """List names and times, by page."""
        if set(request.args) - {"per_page", "page"}:
            raise Refused(422, "unknown parameter")
        size = min(int(request.args.get("per_page", 30)), 100)
        start = (int(request.args.get("page", 1)) - 1) * size
        found = [_shown(each) for _, each in sorted(self._place(place).secrets.items())]
        return 200, {"total_count": len(found), "secrets": found[start : start + size]}

    def public_key(self, request: Request, place: str) -> tuple[int, Any]:
        """Show the key that values are sealed for."""
        found = self._place(place)
        return 200, {"key_id": found.key_id, "key": base64.b64encode(bytes(found.key.public_key)).decode()}

    def get(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Show a secret without its value."""
        return 200, _shown(self._seen(self._place(place), name))

    def chosen(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """List the repositories that see a secret of the organisation, by page."""
        found = self._place(place).secrets[name.upper()].get("chosen", [])
        size = min(int(request.args.get("per_page", 30)), 100)
        start = (int(request.args.get("page", 1)) - 1) * size
        shown = [{"id": each} for each in found[start : start + size]]
        return 200, {"total_count": len(found), "repositories": shown}

    def write(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Take a sealed value."""
        found, body = self._place(place), request.get_json()
        extra = _visibility(body) if found is self.organization else {}
        if set(body) - extra.keys() - {"encrypted_value", "key_id", "selected_repository_ids"}:
            raise Refused(422, "Invalid request: not a permitted key")
        if body["key_id"] != found.key_id:
            raise Refused(422, "the key ID is out of date")
        if not _NAME.fullmatch(name) or name.upper().startswith("GITHUB_"):
            raise Refused(422, "Secret names can only contain alphanumeric characters and underscores")
        try:
            value = SealedBox(found.key).decrypt(base64.b64decode(body["encrypted_value"]))
        except (CryptoError, ValueError):
            raise Refused(422, "Bad request - the value is not encrypted for this key") from None
        if len(value) > LARGEST:
            raise Refused(422, "Secret is too large")
        return (201, {}) if self.put(found, name, value.decode(), **extra) else (204, None)

    def delete(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Delete a secret."""
        self.remove(self._place(place), name)
        return 204, None

    def list_variables(self, request: Request, place: str) -> tuple[int, Any]:
        """List variables with their values, by page of 30 at most."""
        if set(request.args) - {"per_page", "page"}:
            raise Refused(422, "unknown parameter")
        size = min(int(request.args.get("per_page", 10)), 30)
        start = (int(request.args.get("page", 1)) - 1) * size
        found = [_variable(each) for _, each in sorted(self._place(place).variables.secrets.items())]
        return 200, {"total_count": len(found), "variables": found[start : start + size]}

    def get_variable(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Show a variable with its value."""
        return 200, _variable(self._find_variable(place, name))

    def create_variable(self, request: Request, place: str) -> tuple[int, Any]:
        """Create a variable, if there is none of the name."""
        found, body = self._place(place), request.get_json()
        extra = _visibility(body) if found is self.organization else {}
        if body.keys() - extra.keys() - {"selected_repository_ids"} != {"name", "value"}:
            raise Refused(422, "Invalid request: not a permitted key")
        _check_variable(body)
        if body["name"].upper() in found.variables.secrets:
            raise Refused(409, "Already exists - Variable already exists")
        self.put(found.variables, body["name"], body["value"], **extra)
        return 201, {}

    def change_variable(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Change the value of a variable; who sees it stays, unless that is given."""
        self._find_variable(place, name)
        body = request.get_json()
        if body.keys() != {"name", "value"} or body["name"].upper() != name.upper():
            raise Refused(422, "Keeper renames nothing, and leaves its visibility")
        _check_variable(body)
        self.put(self._place(place).variables, name, body["value"])
        return 204, None

    def delete_variable(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Delete a variable."""
        self.remove(self._place(place).variables, name)
        return 204, None

    def _find_variable(self, place: str, name: str) -> dict[str, Any]:
        return self._seen(self._place(place).variables, name)

    def _seen(self, items: Items, name: str) -> dict[str, Any]:
        """Return an item as the machine that answers shows it."""
        found = items.secrets.get(name.upper())
        if self.lagging["get"]:
            self.lagging["get"] -= 1
            found = items.earlier.get(name.upper())
        if found is None:
            raise Refused(404, "Not Found")
        return found

    def _place(self, path: str) -> Place:
        found = unquote(path)
        if found == f"/repos/{OWNER}/{REPOSITORY}/actions":
            return self.repository
        if found == f"/repos/{OWNER}/{REPOSITORY}/environments/{ENVIRONMENT}":
            return self.environment
        if found == f"/orgs/{OWNER}/actions":
            return self.organization
        raise Refused(404, "Not Found")

    _PLACE: ClassVar[str] = (
        r"(?P<place>/repos/[^/]+/[^/]+/(?:actions|environments/[^/]+)|/orgs/[^/]+/actions)"
    )
    routes: ClassVar[tuple[tuple[str, str, str, Handler], ...]] = (
        ("POST", r"/app/installations/(?P<installation>[^/]+)/access_tokens", "app-token", app_token),
        ("DELETE", r"/installation/token", "revoke", revoke),
        ("GET", rf"/repos/{OWNER}/{REPOSITORY}", "place", show_repository),
        ("GET", rf"/orgs/{OWNER}", "place", show_organization),
        ("GET", rf"{_PLACE}/secrets", "list", list_page),
        ("GET", rf"{_PLACE}/secrets/public-key", "key", public_key),
        ("GET", rf"{_PLACE}/secrets/(?P<name>[^/]+)", "get", get),
        ("GET", rf"{_PLACE}/secrets/(?P<name>[^/]+)/repositories", "chosen", chosen),
        ("PUT", rf"{_PLACE}/secrets/(?P<name>[^/]+)", "put", write),
        ("DELETE", rf"{_PLACE}/secrets/(?P<name>[^/]+)", "delete", delete),
        ("GET", rf"{_PLACE}/variables", "list", list_variables),
        ("GET", rf"{_PLACE}/variables/(?P<name>[^/]+)", "get", get_variable),
        ("POST", rf"{_PLACE}/variables", "create", create_variable),
        ("PATCH", rf"{_PLACE}/variables/(?P<name>[^/]+)", "change", change_variable),
        ("DELETE", rf"{_PLACE}/variables/(?P<name>[^/]+)", "delete", delete_variable),
    )


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    return {key: text for key, text in found.items() if key not in {"value", "chosen"}}


def _variable(found: dict[str, Any]) -> dict[str, Any]:
    return {key: text for key, text in found.items() if key != "chosen"}


def _check_variable(body: dict[str, Any]) -> None:
    if not _NAME.fullmatch(body["name"]) or body["name"].upper().startswith("GITHUB_"):
        raise Refused(422, "Variable names can only contain alphanumeric characters and underscores")
    if len(body["value"].encode()) > LARGEST:
        raise Refused(422, "Variable is too large")


def _visibility(body: dict[str, Any]) -> dict[str, Any]:
    visibility, chosen = body.get("visibility"), body.get("selected_repository_ids")
    if visibility not in {"all", "private", "selected"}:
        raise Refused(422, "visibility is required")
    if (chosen is not None) != (visibility == "selected"):
        raise Refused(422, "selected_repository_ids belongs to the visibility selected")
    return {"visibility": visibility} | ({"chosen": chosen} if chosen is not None else {})
