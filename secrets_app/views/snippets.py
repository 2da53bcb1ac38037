"""How programs read a secret: by the REST API, and by the protocols of Vault and AWS."""

import re
from typing import NamedTuple
from urllib.parse import quote

from django.http import HttpRequest
from django.urls import reverse

from environments_app.views.client_download import install_line
from secrets_app.models import Secret
from secrets_app.types.registry import SecretType


class Snippet(NamedTuple):
    name: str
    label: str
    text: str


def snippets(request: HttpRequest, secret: Secret) -> list[Snippet]:
    """Return how to read a secret with a token in `KEEPER_TOKEN`; no value is in any of them."""
    path = reverse("api-named-secret", args=[secret.environment.name, secret.name])
    url = request.build_absolute_uri(quote(path, safe="/%"))
    # As kpr names it, and an export.
    variable = re.sub(r"[^A-Z0-9_]", "_", secret.name.upper())
    variable = f"_{variable}" if variable[0].isdigit() else variable
    server = request.build_absolute_uri("/").rstrip("/")
    return [
        Snippet("kpr", "kpr", _kpr(server, secret, variable)),
        Snippet("curl", "curl", _curl(url)),
        Snippet("vault", "Vault", _vault(f"{server}/vault", secret)),
        Snippet("aws", "AWS", _aws(f"{server}/aws", secret)),
        Snippet("python", "Python", _python(url)),
        Snippet("node", "Node.js", _node(url)),
        Snippet("github", "GitHub Actions", _github(url, variable)),
        Snippet("kubernetes", "Kubernetes", _kubernetes(server, secret)),
    ]


def _kpr(server: str, secret: Secret, variable: str) -> str:
    install = f"# Once:\n{line}\n" if (line := install_line(server)) else ""
    return f"""{install}export KPR_SERVER="{server}" KPR_TOKEN="$KEEPER_TOKEN"   # or sign in: kpr login
kpr get -e {secret.environment.name} {secret.name}
kpr run -e {secret.environment.name} -- ./your-program   # it gets {variable}"""


def _kubernetes(server: str, secret: Secret) -> str:
    place = secret.environment.name
    field = "" if secret.secret_type == SecretType.JSON else ", property: value"
    store, label = f"keeper-{_label(place)}", _label(secret.name)
    return f"""# With the External Secrets Operator
# kubectl create secret generic keeper-token --from-literal=token="$KEEPER_TOKEN"
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {{name: {store}}}
spec:
  provider:
    vault:
      server: {server}/vault
      path: {place}
      version: v2
      auth: {{tokenSecretRef: {{name: keeper-token, key: token}}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {{name: {label}}}
spec:
  refreshInterval: 1h
  secretStoreRef: {{name: {store}, kind: SecretStore}}
  target: {{name: {label}}}
  data:
    - secretKey: value
      remoteRef: {{key: "{secret.name}"{field}}}"""


def _label(name: str) -> str:
    """Return a name for objects of Kubernetes: lowercase letters, digits and hyphens (RFC 1123)."""
    text = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower())
    return text.strip("-")[:63].rstrip("-") or "secret"


def _curl(url: str) -> str:
    return f'curl -sSf -H "Authorization: Bearer $KEEPER_TOKEN" \\\n  "{url}" | jq -r .value'


def _python(url: str) -> str:
    return f"""import os
import requests

answer = requests.get(
    "{url}",
    headers={{"Authorization": f"Bearer {{os.environ['KEEPER_TOKEN']}}"}},
    timeout=10,
)
answer.raise_for_status()
value = answer.json()["value"]"""


def _node(url: str) -> str:
    return f"""const answer = await fetch("{url}", {{
  headers: {{ Authorization: `Bearer ${{process.env.KEEPER_TOKEN}}` }},
}});
if (!answer.ok) throw new Error(`Keeper answered ${{answer.status}}`);
const {{ value }} = await answer.json();"""


def _github(url: str, variable: str) -> str:
    return f"""- name: Read {variable} from Keeper
  env:
    KEEPER_TOKEN: ${{{{ secrets.KEEPER_TOKEN }}}}
  run: |
    value=$(curl -sSf -H "Authorization: Bearer $KEEPER_TOKEN" "{url}" | jq -r .value)
    while IFS= read -r line; do echo "::add-mask::$line"; done <<< "$value"
    {{ echo "{variable}<<KEEPER_END"; echo "$value"; echo "KEEPER_END"; }} >> "$GITHUB_ENV\""""


def _vault(address: str, secret: Secret) -> str:
    form = "-format=json" if secret.secret_type == SecretType.JSON else "-field=value"
    return f"""export VAULT_ADDR="{address}" VAULT_TOKEN="$KEEPER_TOKEN"
vault kv get {form} "{secret.environment.name}/{secret.name}\""""


def _aws(address: str, secret: Secret) -> str:
    return f"""export AWS_ENDPOINT_URL_SECRETS_MANAGER="{address}"
export AWS_CONTAINER_CREDENTIALS_FULL_URI="{address}/credentials"
export AWS_CONTAINER_AUTHORIZATION_TOKEN="$KEEPER_TOKEN" AWS_DEFAULT_REGION=eu-central-1   # any region
aws secretsmanager get-secret-value --secret-id "{secret.name}" --query SecretString --output text"""
