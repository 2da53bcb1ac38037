"""`oidc-provider` of npm, which is certified."""

import json
from pathlib import Path
from typing import ClassVar, Final

from tests.servers.openid.provider import SECRET, OpenIdServer
from tests.servers.packages.node_packages import node_modules
from tests.servers.server import accepts

_PROGRAM: Final = """
import { generateKeyPairSync } from "node:crypto";
const { modules, issuer, keeper, slug, port, auth, alg } = JSON.parse(process.env.OPENID);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);
const secret = auth === "private_key_jwt"
  ? { jwks_uri: `${new URL(keeper).origin}/oidc/keys.json`, token_endpoint_auth_signing_alg: "PS256" }
  : { client_secret: process.env.OPENID_SECRET };
const key = (type, options, kid) =>
  ({ ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }), kid, use: "sig" });
const provider = new Provider(issuer, {
  jwks: { keys: [key("rsa", { modulusLength: 2048 }, "one"), key("ec", { namedCurve: "P-256" }, "two")] },
  clients: [{
    client_id: "keeper", token_endpoint_auth_method: auth, ...secret, id_token_signed_response_alg: alg,
    redirect_uris: [`${keeper}/callback`],
    post_logout_redirect_uris: [`${keeper}/signed-out`],
    backchannel_logout_uri: `${keeper}/back-channel-logout`,
    backchannel_logout_session_required: true, require_auth_time: true,
  }],
  clientAuthMethods: ["private_key_jwt", "client_secret_basic"],
  enabledJWA: { clientAuthSigningAlgValues: ["PS256"], idTokenSigningAlgValues: ["RS256", "ES256"] },
  claims: { openid: ["sub", "sid"], profile: ["preferred_username", "name"], email: ["email", "email_verified"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, name: id, email: `${id}@example.com`, email_verified: true }),
  }),
  cookies: { keys: [secret.client_secret ?? "k"], names: { session: `s_${slug}`, interaction: `i_${slug}`, resume: `r_${slug}` } },
  features: { backchannelLogout: { enabled: true } },
  pkce: { required: () => true },
  // Its own refuses the loopback address, where Keeper is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});
for (const event of ["server_error", "grant.error", "backchannel.error"])
  provider.on(event, (...told) => console.error(event, told.at(-1), told.at(-1)?.error_detail ?? "", told[1]?.message ?? ""));
provider.listen(port, "127.0.0.1");
"""


class CertifiedProvider(OpenIdServer):
    """One provider for a client of its own; whoever signs in is who the form names."""

    name: ClassVar[str] = "oidc-provider"
    program: ClassVar[str] = "node"
    package: ClassVar[str] = "the Debian package nodejs"

    def __init__(
        self, directory: Path, *, slug: str, keeper: str, auth: str, algorithm: str = "RS256"
    ) -> None:
        super().__init__(directory, slug=slug, keeper=keeper)
        self.auth, self.algorithm = auth, algorithm
        self.people = (f"dora-{slug}", f"erna-{slug}")

    def command(self) -> list[str]:
        """Return Node.js with the program."""
        return [self.find("node"), "--no-warnings", "--input-type=module", "-e", _PROGRAM]

    def own_environment(self) -> dict[str, str]:
        """Return what the program is told."""
        told = {
            "modules": str(node_modules()), "issuer": self.issuer, "keeper": self.keeper, "slug": self.slug,
            "port": self.port, "auth": self.auth, "alg": self.algorithm,
        }  # fmt: skip
        return {"OPENID": json.dumps(told), "OPENID_SECRET": SECRET}

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)
