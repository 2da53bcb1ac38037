"""The API of Forgejo and of Gitea, as far as secrets of Actions need it.

Sources: their API documents (/swagger.v1.json: repoListActionsSecrets, updateRepoSecret, deleteRepoSecret and those of
organisations), "Access token scope", "Secrets" (names), "API usage" (authentication, paging). A name is stored in upper
case; an update leaves the time of the creation. A value is kept opened, for tests to read as a workflow does.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, Final

from werkzeug.wrappers import Request

from sync_app.tests.strict_application import Handler, Refused, StrictApplication

TOKEN: Final = "forgejo-token-canary"
OWNER: Final = "octo"
REPOSITORY: Final = "app"
MOST_LISTED: Final = 50
MOST_BYTES: Final = 65_536
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED: Final = ("FORGEJO_", "GITEA_", "GITHUB_")
Secrets = dict[str, dict[str, Any]]


class Forgejo(StrictApplication):
    """One Forgejo, or a Gitea, with a repository and an organisation."""

    def __init__(self, *, is_gitea: bool = False) -> None:
        super().__init__()
        self.is_gitea = is_gitea
        self.repository: Secrets = {}
        self.organization: Secrets = {}
        self.earlier: Secrets = {}
        self.repository_id = 1001
        # Whether pages are of one order, which Gitea does not ask its database for.
        self.has_order = True
        # Whether the token may see the place at all, and whether what is not permitted is answered so, too.
        self.visible = True
        self.hides = False
        self.zone = timezone(timedelta(hours=2))

    # --- What other clients do --------------------------------------------------------------

    def put(self, place: Secrets, name: str, value: str, description: str = "") -> bool:
        """Write as a client does; return whether it is a new one."""
        with self.lock:
            at, found = self.tick(), place.get(name.upper())
            self.earlier = dict(place)
            place[name.upper()] = {
                "created": found["created"] if found else at,
                # Forgejo's API document: line endings are normalised to LF.
                "value": value if self.is_gitea else value.replace("\r\n", "\n"),
                "description": description,
            }
            return found is None

    def remove(self, place: Secrets, name: str) -> None:
        """Delete as a client does."""
        with self.lock:
            self.earlier = dict(place)
            if place.pop(name.upper(), None) is None:
                raise Refused(404, "The target couldn't be found.")
            self.tick()

    # --- Requests ---------------------------------------------------------------------------

    def authenticate(self, request: Request, verb: str) -> None:
        """Take the token, and ask for its scope and the role of its user before anything else."""
        if request.headers.get("Authorization") != f"token {TOKEN}":
            raise Refused(401, "invalid username, password or token")
        if not self.visible:
            raise Refused(404, "The target couldn't be found.")
        if verb in self.denied or ("write" in self.denied and verb in {"put", "delete"}):
            if self.hides:
                raise Refused(404, "The target couldn't be found.")
            raise Refused(403, "token does not have at least one of required scope(s): [write:repository]")

    def show_repository(self, request: Request) -> tuple[int, Any]:
        """Show the repository."""
        url = f"https://forgejo.test/{OWNER}/{REPOSITORY}"
        return 200, {"id": self.repository_id, "name": REPOSITORY, "html_url": url}

    def show_organization(self, request: Request) -> tuple[int, Any]:
        """Show the organisation."""
        return 200, {"id": 2002, "name": OWNER, "username": OWNER}

    def list_page(self, request: Request, place: str) -> tuple[int, Any]:
        """List names and times of creation, by page; how many there are is in a header."""
        if set(request.args) - {"page", "limit"}:
            raise Refused(422, "unknown parameter")
        secrets = self._place(place)
        if self.lagging["list"]:
            self.lagging["list"] -= 1
            secrets = self.earlier
        size, page = min(int(request.args.get("limit", 30)), MOST_LISTED), int(request.args.get("page", 1))
        start, names = (page - 1) * size, sorted(secrets)
        if not self.has_order and page > 1:
            names.reverse()
        self.answer_headers = {"X-Total-Count": str(len(secrets))}
        return 200, [self._shown(name, secrets[name]) for name in names[start : start + size]]

    def write(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Create or update a secret; a field that is not known is passed over."""
        secrets, body = self._place(place), request.get_json()
        if not body.get("data"):
            raise Refused(422, "[Data]: Required")
        if not _NAME.fullmatch(name) or name.upper().startswith(_RESERVED):
            raise Refused(400, "invalid secret name")
        if len(body["data"].encode()) > MOST_BYTES:
            raise Refused(400, "data too long")
        description = body.get("description", "") if self.is_gitea else ""
        return (201 if self.put(secrets, name, body["data"], description) else 204), None

    def delete(self, request: Request, place: str, name: str) -> tuple[int, Any]:
        """Delete a secret."""
        self.remove(self._place(place), name)
        return 204, None

    def _shown(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        at = datetime.fromtimestamp(found["created"], UTC).astimezone(self.zone).isoformat()
        return {"name": name, "created_at": at} | (
            {"description": found["description"]} if self.is_gitea else {}
        )

    def _place(self, path: str) -> Secrets:
        return self.repository if path.startswith("repos/") else self.organization

    _PLACE: ClassVar[str] = rf"/api/v1/(?P<place>repos/{OWNER}/{REPOSITORY}|orgs/{OWNER})/actions/secrets"
    routes: ClassVar[tuple[tuple[str, str, str, Handler], ...]] = (
        ("GET", rf"/api/v1/repos/{OWNER}/{REPOSITORY}", "place", show_repository),
        ("GET", rf"/api/v1/orgs/{OWNER}", "place", show_organization),
        ("GET", _PLACE, "list", list_page),
        ("PUT", rf"{_PLACE}/(?P<name>[^/]+)", "put", write),
        ("DELETE", rf"{_PLACE}/(?P<name>[^/]+)", "delete", delete),
    )
