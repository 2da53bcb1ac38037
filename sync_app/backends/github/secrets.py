"""What a secret of GitHub Actions is: where it lies, and what is shown of it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from sync_app.backends.base import SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BadDestination

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def place_of(destination: Mapping[str, str]) -> str:
    """Return the path of the secrets. Raises BadDestination."""
    for name in ("owner", "repository"):
        if destination[name] and not _PART.fullmatch(destination[name]):
            raise BadDestination("letters, digits and _.-", field=name)
    owner, repository, environment = (destination[name] for name in ("owner", "repository", "environment"))
    if environment and not repository:
        raise BadDestination("an environment belongs to a repository: enter that as well", field="repository")
    if environment:
        return f"/repos/{owner}/{repository}/environments/{quote(environment, safe='')}/secrets"
    return f"/repos/{owner}/{repository}/actions/secrets" if repository else f"/orgs/{owner}/actions/secrets"


def parse_secret(name: str, found: Mapping[str, Any]) -> SecretMetadata:
    """Return the metadata of a secret: another one of the same name has another time of creation."""
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=f"{found['name']} {found['created_at']}",
        version=found["updated_at"],
    )


def version_seconds(version: str) -> int:
    """Return the time of a version, in seconds since 1970."""
    return int(datetime.fromisoformat(version).astimezone(UTC).timestamp())
