"""Reads the destination and the credentials of a target in AWS."""

import re
from collections.abc import Mapping
from typing import Final

from django.conf import settings

from audit_app.network.outbound import normalised_endpoint
from core.errors import BadEndpoint
from sync_app.errors import BadDestination

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def parse_recovery_window(text: str) -> int:
    """Return the days.

    Raises BadDestination: AWS takes 7 to 30 (DeleteSecret, RecoveryWindowInDays).
    """
    if not text.isdecimal() or not 7 <= int(text) <= 30:  # noqa: PLR2004  AWS's bounds
        raise BadDestination("7 to 30 days", field="recovery_window_days")
    return int(text)


def resolve_endpoints(destination: Mapping[str, str], service: str) -> dict[str, str]:
    """Return the address of a service and of STS: the given one, or else that of the region.

    Raises BadDestination.
    """
    region = destination["region"]
    require_region(region)
    # AWS General Reference, "Service endpoints"; other partitions need theirs to be given.
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return {
        each: normalize_endpoint(destination, field) or f"https://{each}.{region}.{domain}"
        for each, field in ((service, "endpoint"), ("sts", "sts_endpoint"))
    }


def require_region(region: str) -> None:
    """Raise BadDestination for what is no name of a region."""
    if not _REGION.fullmatch(region):
        raise BadDestination("enter a region, for example eu-central-1", field="region")


def normalize_endpoint(destination: Mapping[str, str], field: str) -> str:
    """Return the address in a field; empty if there is none. Raises BadDestination."""
    text = destination[field]
    try:
        return normalised_endpoint(text) if text else ""
    except BadEndpoint as error:
        raise BadDestination(str(error), field=field) from error


def require_complete_credentials(credentials: Mapping[str, str]) -> None:
    """Refuse half a key, and none where Keeper's own identity is not to be lent. Raises BadDestination."""
    if bool(credentials["access_key_id"]) != bool(credentials["secret_access_key"]):
        raise BadDestination(
            "enter both the access key ID and the secret access key", field="secret_access_key"
        )
    if not credentials["access_key_id"] and not settings.KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS:
        raise BadDestination(
            "enter an access key: targets use the identity of Keeper's own machine only where "
            "KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS allows it",
            field="access_key_id",
        )
