"""Clients of AWS that connect only where Keeper may, and in bounded time.

The AWS SDK takes time and memory: it is loaded when the first client is made.
"""

import functools
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3

    from audit_app.network.outbound_aws import PermittedSession


def create_guarded_client(
    service: str,
    *,
    region: str,
    endpoint: str | None,
    credentials: dict[str, str],
    seconds: float | None,
    attempts: int,
    connections: int,
) -> "tuple[Any, PermittedSession]":
    """Return a client, and what closes its connections; `seconds` is for each attempt, altogether."""
    from botocore.config import Config  # noqa: PLC0415 - see above

    from audit_app.network.outbound_aws import guard  # noqa: PLC0415 - see above

    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    with _making:
        client: Any = _session().client(
            service,  # type: ignore[call-overload]  # the stub wants a name that is written there
            region_name=region,
            endpoint_url=endpoint,
            config=config,
            **credentials,
        )
    return client, guard(client, seconds=seconds)


# Clients are safe to share between threads, making them is not.
_making = threading.Lock()


@functools.cache
def _session() -> "boto3.session.Session":
    """Return the session of this process, which has read the descriptions of AWS once."""
    import boto3  # noqa: PLC0415 - see above

    return boto3.session.Session()
