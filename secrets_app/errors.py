"""The errors of secrets_app: names that state a condition, messages without a value in them."""

from typing import Any

from core.errors import KeeperError, Kind


class SecretError(KeeperError):
    """The base of everything that secrets_app raises on purpose."""


# --- Envelopes -------------------------------------------------------------------------------


class EnvelopeError(SecretError):
    """A stored envelope cannot be what was once sealed here; callers record it as a violation."""

    problem = Kind(
        409,
        "The stored value can't be decrypted",
        "The stored value was modified outside Keeper. This was logged. "
        "Ask an administrator to run keeper verify-audit.",
        logged=True,
    )


class Malformed(EnvelopeError):
    """The column holds no envelope: empty, too short, too long, plain text."""


class UnknownFormat(EnvelopeError):
    """The envelope is of a version or a suite that this release does not know."""


class WrongContext(EnvelopeError):
    """Commitment, tag or context do not match: edited, moved, or sealed under another key."""


class UnknownDataKey(EnvelopeError):
    """The envelope names a data key that is not a key for values of this environment."""


class NotInventoried(EnvelopeError):
    """A value of the older scheme is in a row where none was imported, or came too late."""


class MissingVersion(EnvelopeError):
    """The version that a secret calls current is not there."""


class InvalidPlaintext(SecretError):
    """What should be sealed is empty or larger than an envelope carries."""


# --- Keys ------------------------------------------------------------------------------------


class KeyUnavailable(SecretError):
    """A key cannot be used now; the message has the operator's remedy.

    `permanent` means that a retry fails until something is changed (denied, disabled, deleted); `throttled`
    that KMS only throttles; `permission` names the missing permission of the installation's identity, if
    that is the cause. `advice` is set if the key's name resolves to no usable key: it has the remedy for
    the user who entered the name, and repeats no name.
    """

    problem = Kind(
        503,
        "The key is not available",
        "Keeper can't use the environment's encryption key right now. Nothing was lost. "
        "An administrator can find the reason in the log.",
        retry_after=5,
    )

    def __init__(
        self,
        message: str,
        *,
        permanent: bool,
        throttled: bool = False,
        permission: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.advice = advice
        self.permission = permission
        self.permanent = permanent
        self.throttled = throttled
        # The key that wraps the data key that was to be opened, where there is one.
        self.key_uri = ""

    def wait_seconds(self) -> int | None:
        return None if self.permanent else super().wait_seconds()


class KeyRefused(SecretError):
    """A key encryption key is not among those that this installation allows."""

    problem = Kind(
        503,
        "The key is not allowed",
        "This key isn't allowed on this installation. Ask an administrator.",
        retry_after=5,
    )


class NetworkInTransaction(SecretError):
    """A key was asked for over the network while a database transaction was open."""


class RotationSuperseded(SecretError):
    """The data key that values are being re-sealed under was itself replaced."""


class MigrationMoved(SecretError):
    """A migration of keys began or ended while a data key was made: it is made again."""


class MigrationRefused(SecretError):
    """A migration of keys, or its rollback, is refused in the present state; nothing was changed."""


# --- Sealed columns --------------------------------------------------------------------------


class NotCommitted(SecretError):
    """The receipt is not that of a committed event, or does not cover what it should open."""


class PlaintextRefused(SecretError):
    """Something other than a `Sealed` was given to a sealed column, or compared with one."""


# --- Use cases -------------------------------------------------------------------------------


class GuardedValue(SecretError):
    """The secret is guarded: a person reads one version once, after a second person has released it.

    A program reads it where managers have released the program.
    """

    problem = Kind(403, "A second person is needed")

    def __init__(self, *, program: bool = False) -> None:
        super().__init__(
            "This secret is guarded. A program reads it once a manager has released the program for it, and "
            "another one has agreed; it takes the value nowhere else."
            if program
            else "This secret is guarded. Its value is shown to one person, once, after another has agreed. "
            "A person asks for that on the secret's page, or with POST to …/request-read."
        )


class StaleVersion(SecretError):
    """The secret has changed since the caller read it; nothing was written."""

    problem = Kind(412, "The secret has changed")


class NameTaken(SecretError):
    """A living secret of the environment already has this name."""

    problem = Kind(409, "Name already in use")


class ManagedValue(SecretError):
    """Something else answers for the secret's value, such as a rotation policy; nothing was written."""

    problem = Kind(409, "The value is managed")


class NoSuchVersion(SecretError):
    """The secret has no version of this number."""

    problem = Kind(404, "Not found")


class VersionGone(NoSuchVersion):
    """The version was deleted, and can be restored, or was destroyed."""

    problem = Kind(404, "The version is deleted")


class TamperedSecret(SecretError):
    """The secret's row was not written by Keeper: its value is not shown and it is not changed."""

    problem = Kind(409, "The stored secret was changed outside Keeper", logged=True)


class NotDeleted(SecretError):
    """Only a deleted secret is restored or purged."""

    problem = Kind(409, "The secret is not deleted")


class ShareEnded(SecretError):
    """A link was opened, revoked or has expired; only who could have opened it learns that."""

    problem = Kind(410, "This link has expired")

    def __init__(self) -> None:
        super().__init__("This link was already used or has expired. Ask the sender for a new one.")


class WrappingEnded(SecretError):
    """A wrapping token was used or has ended, or never was one: its bearer does not learn which."""

    problem = Kind(400, "The wrapping token does not count")

    def __init__(self) -> None:
        super().__init__("wrapping token is not valid or does not exist")


class RotationRefused(SecretError):
    """The policy of a secret refuses a rotation now; the message states why."""


class TooManyItems(SecretError):
    """A bulk call holds more items than one transaction takes; nothing was stored."""

    problem = Kind(413, "Too many items")


class InvalidInput(SecretError):
    """Input that breaks a rule: `field` names the offending field, `reason` is a sentence to show.

    The reason states the fault and the remedy. It never holds the input or a part of it, since the
    input may be a secret value (or one that was pasted into the wrong field).
    """

    problem = Kind(400, "Invalid request")

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"

    def faults(self) -> list[dict[str, Any]]:
        return [{"field": self.field, "reason": self.reason}]


class InvalidValue(InvalidInput):
    """A secret value that its type does not accept."""


class InvalidName(InvalidInput):
    """A secret name, or a name prefix, that breaks the rules for names."""


class InvalidTag(InvalidInput):
    """A tag, or a list of tags, that breaks the rules for tags."""


class InvalidOption(InvalidInput):
    """A generator's option that is unknown, of the wrong kind or out of bounds."""
