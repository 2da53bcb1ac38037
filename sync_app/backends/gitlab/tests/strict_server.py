"""GitLab's REST API, as far as CI/CD variables need it.

Sources: GitLab documentation, "Project-level CI/CD variables API", "Group-level Variables API", "Mask a CI/CD
variable", "REST API: pagination", "Version API", "Rate limits"; lib/api/ci/variables.rb of GitLab (parameters that are
not declared are ignored; the permission is asked for before the variable; 404 for a project that is not shown).
"""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from werkzeug.wrappers import Request

from sync_app.tests.strict_application import Handler, Refused, StrictApplication

TOKEN: Final = "gitlab-token-canary"
PROJECT: Final = "team/app"
GROUP: Final = "team"
SCOPE: Final = "*"
LARGEST: Final = 10_000
_KEY: Final = re.compile(r"[a-zA-Z0-9_]{1,255}")
_MASKABLE: Final = re.compile(r"\S{8,}")
# For one with expansion: letters and digits of Base64, and some more.
_MASKABLE_EXPANDED: Final = re.compile(r"[a-zA-Z0-9+/=@:.~-]{8,}")
_WRITES: Final = {"create", "update", "delete"}
_FIELDS: Final = {
    "key": str, "value": str, "variable_type": str, "protected": bool, "masked": bool, "masked_and_hidden": bool,
    "raw": bool, "environment_scope": str, "description": str,
}  # fmt: skip


@dataclass
class Owner:
    """A project or group with its variables, by key and scope."""

    id: int
    most: int = 8000
    variables: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


class GitLab(StrictApplication):
    """One GitLab with a project and its group."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.group = Owner(id=11), Owner(id=22)
        self.visible = True
        # Whether what is not permitted is answered as if it were not there.
        self.hides = False
        self.version = "17.6.1-ee"
        # Of groups: without Premium the parameter is dropped, and each variable is in every environment.
        self.scopes_groups = True

    # --- What other clients do --------------------------------------------------------------

    def put(self, owner: Owner, key: str, **given: Any) -> dict[str, Any]:
        """Create or change a variable as a client does; what is not given stays."""
        with self.lock:
            scope = given.get("environment_scope", SCOPE)
            preset = {
                "variable_type": "env_var", "key": key, "value": "", "protected": False, "masked": False,
                "hidden": False, "raw": False, "environment_scope": scope, "description": None,
            }  # fmt: skip
            made = {**owner.variables.get((key, scope), preset), **given, "key": key}
            _validate(made)
            owner.variables[key, scope] = made
            self.tick()
            return made

    def remove(self, owner: Owner, key: str, scope: str = SCOPE) -> None:
        """Delete as a client does."""
        with self.lock:
            if owner.variables.pop((key, scope), None) is None:
                raise Refused(404, "404 Variable Not Found")
            self.tick()

    # --- Requests ---------------------------------------------------------------------------

    def authenticate(self, request: Request, verb: str) -> None:
        """Take the token."""
        if request.headers.get("PRIVATE-TOKEN") != TOKEN:
            raise Refused(401, "401 Unauthorized")
        if not self.visible:
            raise Refused(404, "404 Project Not Found")
        if verb in self.denied or ("write" in self.denied and verb in _WRITES):
            if self.hides:
                raise Refused(404, "404 Project Not Found")
            raise Refused(403, "403 Forbidden")

    def show(self, request: Request, owner: str) -> tuple[int, Any]:
        """Show the project or group."""
        return 200, {"id": self._owner(owner).id, "web_url": f"https://gitlab.test/{unquote(owner)}"}

    def show_version(self, request: Request) -> tuple[int, Any]:
        """Show the version of GitLab ("Version API")."""
        return 200, {"version": self.version, "revision": "4e963fe"}

    @property
    def describes(self) -> bool:
        """Whether variables have descriptions: since 16.2; before, the parameter is ignored, and not shown."""
        return tuple(map(int, self.version.split(".")[:2])) >= (16, 2)

    def list_page(self, request: Request, owner: str) -> tuple[int, Any]:
        """List variables with their values, by page."""
        if set(request.args) - {"per_page", "page"}:
            raise Refused(400, "unknown parameter")
        size, page = min(int(request.args.get("per_page", 20)), 100), int(request.args.get("page", 1))
        found = [self._shown(each) for _, each in sorted(self._owner(owner).variables.items())]
        more = str(page + 1) if page * size < len(found) else ""
        self.answer_headers = {"X-Next-Page": more, "X-Page": str(page), "X-Total": str(len(found))}
        return 200, found[(page - 1) * size : page * size]

    def get(self, request: Request, owner: str, key: str) -> tuple[int, Any]:
        """Show one variable."""
        return 200, self._shown(self._find(request, owner, key))

    def create(self, request: Request, owner: str) -> tuple[int, Any]:
        """Create a variable, if there is none of the key in the scope."""
        found, body = self._owner(owner), self._body(request)
        if not {"key", "value"} <= body.keys():
            raise Refused(400, "key is missing, value is missing")
        if found is self.group and not self.scopes_groups:
            body.pop("environment_scope", None)
        if (body["key"], body.get("environment_scope", SCOPE)) in found.variables:
            raise Refused(400, f"({body['key']}) has already been taken")
        if len(found.variables) >= found.most:
            raise Refused(400, "Maximum number of variables exceeded")
        hidden = {"hidden": True, "masked": True} if body.pop("masked_and_hidden", False) else {}
        return 201, self._shown(self.put(found, body.pop("key"), **body, **hidden))

    def update(self, request: Request, owner: str, key: str) -> tuple[int, Any]:
        """Change a variable; what is not given stays."""
        found, body = self._find(request, owner, key), self._body(request)
        if "key" in body or "environment_scope" in body or "masked_and_hidden" in body:
            raise Refused(400, "not to be changed")
        return 200, self._shown(
            self.put(self._owner(owner), key, **body, environment_scope=found["environment_scope"])
        )

    def delete(self, request: Request, owner: str, key: str) -> tuple[int, Any]:
        """Delete a variable."""
        found = self._find(request, owner, key)
        self.remove(self._owner(owner), key, found["environment_scope"])
        return 204, None

    def _owner(self, path: str) -> Owner:
        found = {f"projects/{PROJECT}": self.project, f"groups/{GROUP}": self.group}.get(unquote(path))
        if found is None:
            raise Refused(404, "404 Project Not Found")
        return found

    def _find(self, request: Request, owner: str, key: str) -> dict[str, Any]:
        if set(request.args) - {"filter[environment_scope]"}:
            raise Refused(400, "unknown parameter")
        scope = request.args.get("filter[environment_scope]")
        variables = self._owner(owner).variables
        found = [each for (name, place), each in variables.items() if name == key and scope in {None, place}]
        if not found:
            raise Refused(404, "404 Variable Not Found")
        if len(found) > 1:
            raise Refused(409, "There are multiple variables with provided parameters")
        return found[0]

    def _shown(self, found: dict[str, Any]) -> dict[str, Any]:
        told = {key: part for key, part in found.items() if key != "description" or self.describes}
        return {**told, "value": None} if found["hidden"] else told

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = request.get_json()
        for key, value in body.items():
            if key not in _FIELDS or not isinstance(value, _FIELDS[key]):
                raise Refused(400, f"{key} is invalid")
        if not self.describes:
            # Grape takes declared parameters alone.
            body.pop("description", None)
        return body

    _OWNER: ClassVar[str] = r"/api/v4/(?P<owner>(?:projects|groups)/[^/]+)"
    routes: ClassVar[tuple[tuple[str, str, str, Handler], ...]] = (
        ("GET", r"/api/v4/version", "version", show_version),
        ("GET", _OWNER, "place", show),
        ("GET", rf"{_OWNER}/variables", "list", list_page),
        ("POST", rf"{_OWNER}/variables", "create", create),
        ("GET", rf"{_OWNER}/variables/(?P<key>[^/]+)", "get", get),
        ("PUT", rf"{_OWNER}/variables/(?P<key>[^/]+)", "update", update),
        ("DELETE", rf"{_OWNER}/variables/(?P<key>[^/]+)", "delete", delete),
    )


def _validate(found: dict[str, Any]) -> None:
    if not _KEY.fullmatch(found["key"]):
        raise Refused(400, "key can contain only letters, digits and '_'.")
    if len(found["value"]) > LARGEST:
        raise Refused(400, "value is too long (maximum is 10000 characters)")
    if len(found["description"] or "") > 255:
        raise Refused(400, "description is too long (maximum is 255 characters)")
    maskable = _MASKABLE if found["raw"] else _MASKABLE_EXPANDED
    if found["masked"] and not maskable.fullmatch(found["value"]):
        raise Refused(400, "value is invalid")
