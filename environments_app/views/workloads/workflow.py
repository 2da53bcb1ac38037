"""The job of GitHub or GitLab that signs in and reads a secret, in the form of docs/workload-identity.md."""

import json
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from environments_app.models import Trust
from environments_app.models.trust import TrustRole


def workflow_of(trust: Trust, *, server: str, secret: str = "") -> str:
    """Return a job of the trust's platform that reads a secret; empty for other platforms and for viewers.

    Without the name of a `secret` it holds NAME, under the trust's path. No value is in it.
    """
    write = _WRITERS.get(trust.preset) if trust.role != TrustRole.VIEWER else None
    prefix = f"{trust.prefix}/" if trust.prefix else ""
    return write(trust, server, secret or f"{prefix}NAME") if write else ""


def _github(trust: Trust, server: str, secret: str) -> str:
    audience = "$KEEPER" if trust.audience == server else quote(trust.audience, safe=":/")
    return f"""permissions:
  id-token: write
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - name: Read a secret
        env:
          KEEPER: {server}
        run: |
          jwt=$(curl -sSf -H "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
            "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={audience}" | jq -r .value)
          token=$(jq -n --arg jwt "$jwt" '{{trust: "{trust.name}", jwt: $jwt}}' |
            curl -sSf -H 'Content-Type: application/json' -d @- "$KEEPER/api/auth/jwt" | jq -r .token)
          echo "::add-mask::$token"
          password=$(curl -sSf -H "Authorization: Bearer $token" \\
            "$KEEPER/api/environments/{trust.environment.name}/secrets/{secret}" | jq -r .value)
          echo "::add-mask::$password"
          DB_PASSWORD="$password" ./deploy
"""


def _gitlab(trust: Trust, server: str, secret: str) -> str:
    plain = trust.audience.startswith("https://") and trust.audience == quote(trust.audience, safe=":/")
    return f"""deploy:
  id_tokens:
    KEEPER_JWT:
      aud: {trust.audience if plain else json.dumps(trust.audience)}
  script:
    - export BAO_ADDR={server}/vault
    - export BAO_TOKEN=$(bao write -field=token auth/jwt/login role={trust.name} jwt=$KEEPER_JWT)
    - DB_PASSWORD=$(bao kv get -field=value {trust.environment.name}/{secret}) ./deploy
"""


_WRITERS: Final[Mapping[str, Callable[[Trust, str, str], str]]] = {"github": _github, "gitlab": _gitlab}
