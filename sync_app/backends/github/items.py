"""What secrets and variables of GitHub Actions are: where they lie, how many, and what is shown of them."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from sync_app.backends.observations import SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BadDestination

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_DIGEST_DIGITS: Final = 32
_WINDOW: Final = re.compile(r"(-?\d+)-(-?\d+)")


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


@dataclass(frozen=True, kw_only=True)
class Window:
    """The seconds since 1970, by GitHub's clock, within which a write took place."""

    since: int
    until: int

    def __str__(self) -> str:
        return f"{self.since}-{self.until}"

    @classmethod
    def parse(cls, text: str) -> "Window | None":
        """Return the window of a text that `str` made; None for another text."""
        found = _WINDOW.fullmatch(text)
        return cls(since=int(found[1]), until=int(found[2])) if found else None

    def covers(self, version: str) -> bool:
        return bool(version) and self.since <= version_seconds(version) <= self.until

    def is_after(self, version: str) -> bool:
        return not version or version_seconds(version) < self.since


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
    """Return the metadata of a variable. The version is the time and a keyed digest of the value."""
    version = f"{found['updated_at']} {digest(found['value'], key=key)}"
    return replace(parse_secret(name, found), version=version)


def digest(value: str, *, key: bytes) -> str:
    """Return a keyed digest: without the key it reveals nothing of the value."""
    return hmac.digest(key, value.encode(), sha256).hex()[:_DIGEST_DIGITS]


def version_seconds(version: str) -> int:
    """Return the time of the last write that a version begins with, in seconds since 1970."""
    return int(datetime.fromisoformat(version.partition(" ")[0]).astimezone(UTC).timestamp())
