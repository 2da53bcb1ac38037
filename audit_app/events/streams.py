"""The names of the streams that events are chained in."""

from uuid import UUID

SYSTEM = "system"
REFUSALS = "refusals"


def environment_stream(uuid: UUID) -> str:
    """Return the name of an environment's own stream."""
    return f"environment:{uuid}"
