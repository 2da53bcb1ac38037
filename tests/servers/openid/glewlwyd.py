"""Glewlwyd: a small server in C, whose pages are a program in the browser; the test calls what they call.

It shows two habits of providers: the end of a session is asked for by the ID token alone (`id_token_hint`), and
`auth_time` is 0 for each code, so nobody proves anything fresh by it.
"""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import requests

from tests.servers.openid.provider import CLIENT, SECONDS, SECRET, OpenIdServer, key_pair
from tests.servers.server import accepts

_SCHEMA: Final = Path("/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz")
_MODULES: Final = "/usr/lib/glewlwyd"
# As its documentation has it, several addresses to return to are a list.
_ONE, _SEVERAL = (
    '"post_logout_redirect_uri":{"multiple":false',
    '"post_logout_redirect_uris":{"multiple":true',
)


class Glewlwyd(OpenIdServer):
    """The server with a database of its own, set up by its interface as an administrator does it."""

    name: ClassVar[str] = "glewlwyd"
    program: ClassVar[str] = "glewlwyd"
    package: ClassVar[str] = "the Debian package glewlwyd"
    # It takes the secret of Basic authentication as it is, without the encoding of RFC 6749, 2.3.1.
    auth = "client_secret_post"
    proves_fresh = False

    def __init__(self, directory: Path, *, slug: str, keeper: str) -> None:
        super().__init__(directory, slug=slug, keeper=keeper)
        self.address = self.issuer
        self.issuer = f"{self.address}/api/oidc"
        self.people = (f"dora-{slug}", f"erna-{slug}")

    def command(self) -> list[str]:
        """Return the program with its settings."""
        return [self.find("glewlwyd"), f"--config-file={self.directory}/glewlwyd.conf"]

    def prepare(self) -> None:
        """Make the database, and write the settings."""
        schema = gzip.decompress(_SCHEMA.read_bytes()).decode().replace(_ONE, _SEVERAL)
        with closing(sqlite3.connect(self.directory / "glewlwyd.db")) as database:
            database.executescript(schema)
        modules = "".join(
            f'{kind}_module_path="{_MODULES}/{folder}"\n'
            for kind, folder in {
                "user": "user", "user_middleware": "user", "client": "client", "user_auth_scheme": "scheme",
                "plugin": "plugin",
            }.items()
        )  # fmt: skip
        (self.directory / "glewlwyd.conf").write_text(
            f"""port={self.port}
bind_address="127.0.0.1"
external_url="{self.address}"
login_url="login.html"
api_prefix="api"
static_files_path="/usr/share/glewlwyd/webapp/"
log_mode="console"
log_level="WARNING"
cookie_domain="127.0.0.1"
cookie_secure=0
session_key="glewlwyd_{self.slug}"
session_expiration=3600
admin_scope="g_admin"
profile_scope="g_profile"
hash_algorithm="SHA512"
{modules}database={{ type="sqlite3"; path="{self.directory}/glewlwyd.db" }};
"""
        )

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)

    def prepare_running(self) -> None:
        """Add the protocol, the client and the people."""
        private, public = key_pair()
        admin = requests.Session()
        self._call(admin, "POST", "auth/", username="admin", password="password")
        switches = {
            "allow-non-oidc": False, "auth-type-code-enabled": True, "auth-type-token-enabled": False,
            "auth-type-id-token-enabled": True, "auth-type-implicit-enabled": False,
            "auth-type-password-enabled": False, "auth-type-client-enabled": False,
            "auth-type-device-enabled": False, "auth-type-refresh-enabled": True, "jwks-show": True,
            "auth-type-none-enabled": False, "pkce-allowed": True, "pkce-required": True,
            "session-management-allowed": True, "back-channel-logout-allowed": True,
            "front-channel-logout-allowed": False, "refresh-token-rolling": False,
        }  # fmt: skip
        name = {"name": "preferred_username", "type": "string", "user-property": "username", "scope": []}
        self._call(
            admin, "POST", "mod/plugin/", module="oidc", name="oidc", display_name="OpenID Connect",
            parameters={
                **switches, "iss": self.issuer, "subject-type": "public", "jwt-type": "rsa",
                "jwt-key-size": "256", "key": private, "cert": public, "access-token-duration": 3600,
                "refresh-token-duration": 3600, "code-duration": 600, "session-cookie-expiration": 3600,
                "session-cookie-name": f"glewlwyd_sid_{self.slug}", "name-claim": "mandatory",
                "email-claim": "mandatory", "scope-claim": "no",
                "claims": [{**name, "mandatory": True, "on-demand": False}],
            },
        )  # fmt: skip
        self._call(
            admin, "POST", "client/", client_id=CLIENT, name="Keeper", client_secret=SECRET,
            confidential=True, enabled=True, scope=[], redirect_uri=[f"{self.keeper}/callback"],
            authorization_type=["code", "id_token"], token_endpoint_auth_method=["client_secret_post"],
            post_logout_redirect_uris=[f"{self.keeper}/signed-out"],
            backchannel_logout_uri=f"{self.keeper}/back-channel-logout",
            backchannel_logout_session_required="true",
        )  # fmt: skip
        for each in self.people:
            self._call(
                admin, "POST", "user/", username=each, name=each, email=f"{each}@example.com",
                password=each, scope=["openid"], enabled=True,
            )  # fmt: skip

    def answer(self, browser: requests.Session, page: requests.Response, person: str) -> requests.Response:
        """Do what the program of the page does: sign in and agree, or confirm the end of the session."""
        asked = dict(parse_qsl(urlsplit(page.url).query))
        if asked.get("prompt") == "end_session":
            self._end(browser, asked["sid"])
            return browser.get(asked["callback_url"], allow_redirects=False, timeout=SECONDS)
        self._call(browser, "POST", "auth/", username=person, password=person)
        self._call(browser, "PUT", f"auth/grant/{CLIENT}", scope="openid")
        # It asks once for each address: what the page adds says that the person has answered.
        return browser.get(f"{asked['callback_url']}&g_continue", allow_redirects=False, timeout=SECONDS)

    def leave(self, browser: requests.Session, person: str) -> None:
        """End the session as *Log out* of the person's own page there does."""
        (sid,) = (each.value for each in browser.cookies if each.name == f"glewlwyd_sid_{self.slug}")
        self._end(browser, str(sid))

    def _end(self, browser: requests.Session, sid: str) -> None:
        self._call(browser, "DELETE", f"oidc/session/{sid}/")
        self._call(browser, "DELETE", "auth/")

    def _call(self, browser: requests.Session, method: str, path: str, **body: Any) -> None:
        response = browser.request(method, f"{self.address}/api/{path}", json=body or None, timeout=SECONDS)
        assert response.ok, (method, path, response.status_code, response.text)
