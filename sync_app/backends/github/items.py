"""What secrets and variables of GitHub Actions are: where they lie, how many, and what is shown of them."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from sync_app.backends.base import SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BadDestination

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_DIGEST_DIGITS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many items a place takes."""

    repository: int
    environment: int
    organization: int

    def of(self, destination: Mapping[str, str]) -> int:
        if destination["environment"]:
            return self.environment
        return self.repository if destination["repository"] else self.organization


def place_of(destination: Mapping[str, str], items: str) -> str:
    """Return the path of the secrets or variables. Raises BadDestination."""
    for name in ("owner", "repository"):
        if destination[name] and not _PART.fullmatch(destination[name]):
            raise BadDestination("letters, digits and _.-", field=name)
    owner, repository, environment = (destination[name] for name in ("owner", "repository", "environment"))
    if environment and not repository:
        raise BadDestination("an environment belongs to a repository: enter that as well", field="repository")
    if environment:
        return f"/repos/{owner}/{repository}/environments/{quote(environment, safe='')}/{items}"
    return f"/repos/{owner}/{repository}/actions/{items}" if repository else f"/orgs/{owner}/actions/{items}"


def parse_secret(name: str, found: Mapping[str, Any]) -> SecretMetadata:
    """Return the metadata of a secret: another one of the same name has another time of creation."""
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=f"{found['name']} {found['created_at']}",
        version=found["updated_at"],
    )


def parse_variable(name: str, found: Mapping[str, Any], *, key: bytes) -> SecretMetadata:
    """Return the metadata of a variable. The version is the time and a keyed digest of the value.

    Without the key the digest reveals nothing of the value.
    """
    digest = hmac.digest(key, found["value"].encode(), sha256).hex()[:_DIGEST_DIGITS]
    return replace(parse_secret(name, found), version=f"{found['updated_at']} {digest}")


def version_seconds(version: str) -> int:
    """Return the time of a version, in seconds since 1970."""
    return int(datetime.fromisoformat(version).astimezone(UTC).timestamp())
