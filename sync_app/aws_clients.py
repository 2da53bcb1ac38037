"""Clients of AWS that connect only where Keeper may, and in bounded time."""

import functools
import threading
from typing import Any

import boto3
from botocore.config import Config

from audit_app.outbound_aws import PermittedSession, guard


def guarded_client(
    service: str,
    *,
    region: str,
    endpoint: str | None,
    credentials: dict[str, str],
    seconds: float,
    attempts: int,
    connections: int,
) -> tuple[Any, PermittedSession]:
    """Return a client, and what closes its connections; `seconds` is for each attempt."""
    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    with _making:
        client: Any = _session().client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=endpoint,
            config=config,
            **credentials,
        )
    return client, guard(client)


# Clients are safe to share between threads, making them is not.
_making = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    """Return the session of this process, which has read the descriptions of AWS once."""
    return boto3.session.Session()
