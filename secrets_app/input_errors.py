"""The errors that say what is wrong with something that was typed in, and never repeat it."""

from secrets_app.errors import SecretError


class InvalidInput(SecretError):
    """Input that breaks a rule: `field` names the offending field, `reason` is a sentence to show.

    The reason says what is wrong and what to do. It never holds the input or a part of it, since the
    input may be a secret value (or one that was pasted into the wrong field).
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class InvalidValue(InvalidInput):
    """A secret value that its type does not accept."""


class InvalidName(InvalidInput):
    """A secret name, or a name prefix, that breaks the rules for names."""


class InvalidTag(InvalidInput):
    """A tag, or a list of tags, that breaks the rules for tags."""


class InvalidOption(InvalidInput):
    """A generator's option that is unknown, of the wrong kind or out of bounds."""
