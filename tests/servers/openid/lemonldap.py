"""LemonLDAP::NG, the single sign-on server of French ministries, with its three people of the demonstration."""

import json
from typing import ClassVar, Final

import requests

from tests.servers.openid.provider import CLIENT, SECONDS, SECRET, OpenIdServer, key_pair
from tests.servers.server import accepts

# Its own web servers are Apache and nginx; this one of Perl takes one request at a time, which is enough.
_PROGRAM: Final = "use Lemonldap::NG::Portal::Main; Lemonldap::NG::Portal::Main->run({})"
_FILES: Final = "Apache::Session::File"


class LemonLdap(OpenIdServer):
    """A portal for one client, which shows its pages in English."""

    name: ClassVar[str] = "lemonldap-ng"
    program: ClassVar[str] = "plackup"
    package: ClassVar[str] = "the Debian package liblemonldap-ng-portal-perl"
    # Like Glewlwyd, it takes the secret of Basic authentication without the encoding of RFC 6749, 2.3.1.
    auth = "client_secret_post"
    people = ("dwho", "rtyler")

    def command(self) -> list[str]:
        """Return the web server with the portal."""
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [self.find("plackup"), "-s", "HTTP::Server::PSGI", "-E", "deployment", *where, "-e", _PROGRAM]

    def own_environment(self) -> dict[str, str]:
        """Name the file that leads to the settings."""
        return {"LLNG_DEFAULTCONFFILE": str(self.directory / "lemonldap-ng.ini")}

    def prepare(self) -> None:
        """Write the settings, as the manager of the portal would."""
        for each in ("settings", "sessions", "kept", "cache"):
            (self.directory / each).mkdir()
        (self.directory / "settings" / "lmConf-1.json").write_text(json.dumps(self._settings()))
        (self.directory / "lemonldap-ng.ini").write_text(
            f"""[all]
logLevel = notice
[configuration]
type = File
dirName = {self.directory}/settings
localStorage = Cache::FileCache
localStorageOptions = {{ 'namespace' => 'settings', 'cache_root' => '{self.directory}/cache' }}
[portal]
staticPrefix = /static
templateDir = /usr/share/lemonldap-ng/portal/templates
languages = en
"""
        )

    def ready(self) -> bool:
        """Say whether it listens, which it does once the portal is loaded."""
        return accepts(self.port)

    def leave(self, browser: requests.Session, person: str) -> None:
        """Let the person sign out in the portal, which then tells each client."""
        page = browser.get(f"{self.issuer}/?logout=1", timeout=SECONDS)
        assert "logged out" in page.text or page.ok, page.text

    def _settings(self) -> dict[str, object]:
        private, public = key_pair()
        sessions, kept, cache = (str(self.directory / each) for each in ("sessions", "kept", "cache"))
        return {
            "cfgNum": 1, "cfgAuthor": "tests", "cfgDate": 1, "key": "0123456789abcdef",
            "domain": "127.0.0.1", "portal": f"{self.issuer}/", "cookieName": f"lemon_{self.slug}",
            "authentication": "Demo", "userDB": "Same", "passwordDB": "Null", "registerDB": "Null",
            "captcha_login_enabled": 0, "captcha_mail_enabled": 0, "captcha_register_enabled": 0,
            "securedCookie": 0, "requireToken": 0,
            "whatToTrace": "_whatToTrace", "macros": {"_whatToTrace": "$_user"},
            "globalStorage": _FILES, "globalStorageOptions": {"Directory": sessions, "LockDirectory": sessions},
            "persistentStorage": _FILES, "persistentStorageOptions": {"Directory": kept, "LockDirectory": kept},
            "localSessionStorage": "Cache::FileCache",
            "localSessionStorageOptions": {"namespace": "sessions", "cache_root": cache},
            "locationRules": {"127.0.0.1": {"default": "accept"}}, "exportedHeaders": {"127.0.0.1": {}},
            "issuerDBOpenIDConnectActivation": 1, "issuerDBOpenIDConnectRule": 1,
            "oidcServiceMetaDataIssuer": self.issuer, "oidcServiceAllowAuthorizationCodeFlow": 1,
            "oidcServicePrivateKeySig": private, "oidcServicePublicKeySig": public,
            "oidcServiceKeyIdSig": "one", "oidcServiceKeyTypeSig": "RSA",
            "demoExportedVars": {"uid": "uid", "cn": "cn", "mail": "mail"},
            "oidcRPMetaDataOptions": {CLIENT: {"oidcRPMetaDataOptions" + name: value for name, value in {
                "ClientID": CLIENT, "ClientSecret": SECRET, "RedirectUris": f"{self.keeper}/callback",
                "BypassConsent": 1, "RequirePKCE": 1, "IDTokenSignAlg": "RS256",
                "PostLogoutRedirectUris": f"{self.keeper}/signed-out", "LogoutType": "back",
                "LogoutUrl": f"{self.keeper}/back-channel-logout", "LogoutSessionRequired": 1,
            }.items()}},
            "oidcRPMetaDataExportedVars": {
                CLIENT: {"preferred_username": "uid", "name": "cn", "email": "mail"}
            },
        }  # fmt: skip
