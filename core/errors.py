"""The base of Keeper's errors, how a request is answered that meets one, and the errors of this package."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

NOT_FOUND: Final = "It may have been deleted, or you don't have access."
FORBIDDEN: Final = "You don't have permission to do this."


@dataclass(frozen=True)
class Kind:
    """How a request is answered that meets an error of a class, and whether an operator must examine it.

    Without a `sentence` the caller gets the error's own text. `retry_after` is in seconds. What is `logged`
    is examined although its status is below 500: those from there are logged anyway.
    """

    status: int
    title: str
    sentence: str | None = None
    retry_after: int | None = None
    logged: bool = False
    for_administrators: bool = False


class KeeperError(Exception):
    """The base of everything that Keeper raises on purpose.

    A class without a `problem` is not expected in a request: it is answered as a fault of Keeper's.
    """

    problem: ClassVar[Kind | None] = None

    def wait_seconds(self) -> int | None:
        """Return how long the caller should wait before another try; None if that is not known."""
        return self.problem.retry_after if self.problem else None

    def faults(self) -> list[dict[str, Any]]:
        """Return what is wrong with which field of the input; it repeats no input."""
        return []


class BadDetails(KeeperError):
    """An event was given something that its canonical form cannot hold."""


class BadQuery(KeeperError):
    """A query parameter is unknown or is not what it can be; `reason` repeats no input."""

    problem = Kind(400, "Invalid query")

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason

    def faults(self) -> list[dict[str, Any]]:
        return [{"field": self.parameter, "reason": self.reason}]


# --- Other systems ----------------------------------------------------------------------------


class BadEndpoint(KeeperError):
    """The input is no valid address of another system; the message states the fault."""


class OutboundError(KeeperError):
    """A request to another system was not sent, or was cut off; the message is for operators."""


class EndpointRefused(OutboundError):
    """Keeper does not connect there: the address is inside, and not configured as allowed."""


class DeadlinePassed(OutboundError):
    """Another system gave no whole answer in the time that a request has."""


class ServiceAway(OutboundError):
    """A service that saves time, such as a cache or a broker, gave no answer, or gave none a moment ago."""


class AnswerTooLarge(OutboundError):
    """Another system answered more than Keeper reads."""


class AnswerUnreadable(OutboundError):
    """Another system answered in an encoding that Keeper did not ask for."""
