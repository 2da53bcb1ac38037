"""The errors of environments_app."""

from typing import Any, Final

from core.errors import FORBIDDEN, NOT_FOUND, KeeperError, Kind


class AccessError(KeeperError):
    """Base of everything that this app refuses."""


class Invisible(AccessError):
    """The caller may not see the object, which answers exactly like one that does not exist."""

    problem = Kind(404, "Not found", NOT_FOUND)


class Forbidden(AccessError):
    """The caller sees the object and may not do this to it."""

    problem = Kind(403, "Forbidden", FORBIDDEN)


class AdministratorsOnly(Forbidden):
    """The act belongs to no environment: only an administrator may do it."""

    problem = Kind(403, "Administrators only", for_administrators=True)


class ManagersOnly(Forbidden):
    """The act is for who manages a whole environment, whichever it is."""

    problem = Kind(403, "Forbidden")


class NotThisApprover(Forbidden):
    """An approver may not decide about this request, of which they know everything; the text says why."""

    problem = Kind(403, "Forbidden")


class Suspended(Forbidden):
    """A grant would allow the act, and is suspended until a manager of the environment confirms it."""

    problem = Kind(403, "Access is suspended")


class ConfirmationNeeded(AccessError):
    """The person of a session must prove again who they are before this act."""

    problem = Kind(403, "Confirm your password")


class BadToken(AccessError):
    """A service token opens nothing; `reason` is for the audit log, never for the caller."""

    problem = Kind(401, "Not signed in", "The token is invalid.")

    def __init__(self, reason: str) -> None:
        super().__init__("The token is not valid.")
        self.reason = reason


class SessionEnded(AccessError):
    """The session of a request ended after the request began, before it could act."""

    problem = Kind(401, "Not signed in")

    def __init__(self) -> None:
        super().__init__("Your session was ended meanwhile. Sign in again.")


class TooManyRequests(AccessError):
    """A token has made all the requests that it may make in this minute."""

    problem = Kind(429, "Too many requests")

    def __init__(self, *, retry_after: int) -> None:
        super().__init__("This token makes too many requests. Wait before you try again.")
        self.retry_after = retry_after

    def wait_seconds(self) -> int:
        return self.retry_after


class InvalidField(AccessError):
    """A value for `field` is refused; `reason` states why and repeats no input."""

    problem = Kind(400, "Invalid request")

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason

    def faults(self) -> list[dict[str, Any]]:
        return [{"field": self.field, "reason": self.reason}]


class BadName(InvalidField):
    """A name breaks the rules for names of its kind."""


class Conflict(AccessError):
    """What is stored now does not allow the change."""

    problem = Kind(409, "Conflict")


class NameInUse(Conflict):
    """Another row already has this name."""


class CountAsOne(InvalidField):
    """Too many accounts of `environment`, a name, count as one person; its page Access shows which."""

    def __init__(self, field: str, reason: str, *, environment: str) -> None:
        super().__init__(field, reason)
        self.environment = environment


class AlreadyGranted(Conflict):
    """There is a membership for this holder and prefix: `membership` is its id, `environment` the name."""

    def __init__(self, *, environment: str, membership: int) -> None:
        super().__init__("There is a membership for this path already; change that one.")
        self.environment = environment
        self.membership = membership


class LinkEnded(Conflict):
    """A link in an e-mail is unknown, used, withdrawn or replaced, or has expired."""

    def __init__(self) -> None:
        super().__init__("This link has been used or has expired. Request a new one.")


class LastAdministrator(Conflict):
    """The change would leave the installation without an active administrator."""

    def __init__(self) -> None:
        super().__init__("Keeper needs at least one active administrator. Add another one first.")


class LastManager(Conflict):
    """The change would leave an environment without a manager."""


class Tampered(Conflict):
    """The row was changed outside Keeper, so that a change must not seal it again."""


class ApprovalNeeded(AccessError):
    """The act needs an approval: nothing was done, and `approval` is the id of the request."""

    def __init__(self, approval: int, why: str = "Changes to this environment need approval.") -> None:
        super().__init__(f"{why} Request {approval} was created.")
        self.approval = approval


class ApprovalVoid(Conflict):
    """The request can no longer be carried out or decided in its present state."""


class SignOnRefused(AccessError):
    """A sign-in through the identity provider is refused.

    `reason` is a fixed word for the audit log, the message a sentence for the user.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class SignOnUnavailable(AccessError):
    """Single sign-on cannot be used now: its configuration or the provider's metadata is missing."""


_USED_BEFORE: Final = (
    "This token was used before, and the trust accepts each token once. Request a new token from the "
    "platform for each sign-in, or turn off single use of the trust."
)


class JwtRefused(AccessError):
    """A workload's sign-in is refused; `reason` is for the audit log.

    The caller learns it of a JWT that met every rule and was used before: only its holder gets there.
    """

    problem = Kind(401, "Not signed in")

    def __init__(self, reason: str) -> None:
        super().__init__(_USED_BEFORE if reason == "jwt-replayed" else "The sign-in was refused.")
        self.reason = reason


class KeysUnavailable(AccessError):
    """The keys of an issuer are not known and cannot be had now; the message is for an operator."""

    problem = Kind(503, "The keys of the issuer are not available")

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def wait_seconds(self) -> int:
        return self.retry_after


class TooManyTokens(AccessError):
    """A trust has issued as many tokens as may be valid at once."""

    problem = Kind(429, "Too many tokens")

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "This trust has too many valid tokens. Revoke tokens that are not needed, or wait until some "
            "expire. KEEPER_TRUST_MAX_TOKENS is the limit."
        )
        self.retry_after = retry_after

    def wait_seconds(self) -> int:
        return self.retry_after
