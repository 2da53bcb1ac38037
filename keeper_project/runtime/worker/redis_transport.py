"""Kombu's transport for Redis, whose closed channels report a lost connection."""

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as ConnectionLost


class Channel(redis.Channel):
    """A channel that raises a connection error once its connection is closed.

    Kombu 5.7 raises AttributeError where a message is acknowledged or given back after that, which ends the
    worker. A connection error is handled: Redis delivers the message again after its visibility timeout.
    """

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        if self.connection.client is None:
            raise ConnectionLost("the connection of this channel is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # stubs


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel
