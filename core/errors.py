"""The base of all errors of Keeper, and the errors of what every app stands on."""


class KeeperError(Exception):
    """The base of everything that Keeper raises on purpose."""


class BadDetails(KeeperError):
    """An event was given something that its canonical form cannot hold."""


class BadQuery(KeeperError):
    """A query parameter is unknown or is not what it can be; `reason` repeats no input."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason


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
