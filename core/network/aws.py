"""Applies the endpoint rule of `core.network.outbound` and request limits to boto3 clients."""

from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.exceptions import HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from core.errors import DeadlinePassed, OutboundError
from core.network.limits import limited
from core.network.outbound import LIMITED_POOLS, POOLS

# A page of a list is the largest answer that Keeper asks AWS for.
AWS_ANSWER_BYTES: Final = 8 * 1024 * 1024


class PermittedSession(URLLib3Session):
    """Sends botocore's requests over permitted connections, within a time each, and through no proxy."""

    def __init__(self, *, seconds: float | None, connections: int) -> None:
        super().__init__(max_pool_connections=connections)
        self._seconds = seconds
        # botocore has no setting for this; a test notices if the attribute moves.
        self._manager.pool_classes_by_scheme = POOLS  # type: ignore[attr-defined]

    def send(self, request: AWSRequest | AWSPreparedRequest) -> AWSResponse:
        """Send a request.

        Raises an OutboundError if its host is where Keeper does not connect, or it was cut off; the SDK
        repeats none of these.
        """
        try:
            with limited(self._seconds, most=AWS_ANSWER_BYTES):
                return super().send(request)
        except HTTPClientError as error:
            if isinstance(error.__context__, OutboundError):
                raise error.__context__ from None
            raise


def guard(client: Any, *, seconds: float | None) -> PermittedSession:
    """Let a client connect where it may, in so many seconds a request; return what closes its connections."""
    session = PermittedSession(seconds=seconds, connections=client.meta.config.max_pool_connections)

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return session.send(request)

    # botocore sends what this event answers no more itself.
    client.meta.events.register("before-send", send)
    return session


def limit(client: Any, *, seconds: float) -> None:
    """Bound each request of a client to its configured endpoint, through proxies too."""
    session = client._endpoint.http_session  # noqa: SLF001 - botocore has no other name for it; a test notices
    session._pool_classes_by_scheme.update(LIMITED_POOLS)  # noqa: SLF001 - as above

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        try:
            with limited(seconds, most=AWS_ANSWER_BYTES):
                answer: AWSResponse = session.send(request)
                return answer
        except HTTPClientError as error:
            if isinstance(error.__context__, DeadlinePassed):
                raise ReadTimeoutError(endpoint_url=request.url, error=error.__context__) from None
            raise

    client.meta.events.register("before-send", send)
