"""Where in a target Keeper's names lie: below a prefix, which no name leaves."""

import re
from typing import Final

from sync_app.errors import BadDestination, NameUnusable

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.+=@-]+")


def is_plain(path: str) -> bool:
    """Return whether a path is made of segments that mean nothing but themselves."""
    return all(
        _SEGMENT.fullmatch(segment) is not None and segment not in {".", ".."} for segment in path.split("/")
    )


class Prefix:
    """A path of whole segments, or nothing, in front of every name of one target."""

    def __init__(self, text: str, *, field: str = "prefix") -> None:
        """Take a prefix with or without slashes around it.

        Raises BadDestination if a segment could lead elsewhere.
        """
        self.text = text.strip("/")
        if self.text and not is_plain(self.text):
            raise BadDestination(
                "segments of letters, digits and _.+=@- joined by /, none of them . or ..", field=field
            )
        # What every path below the prefix starts with.
        self.start = f"{self.text}/" if self.text else ""

    def path(self, name: str) -> str:
        """Return the path of a name in the target.

        Raises NameUnusable if the name could leave the prefix.
        """
        if not is_plain(name):
            raise NameUnusable("the name would leave the target's prefix, or means something else there")
        return self.start + name

    def name(self, path: str) -> str | None:
        """Return the name that a path stands for, or None if it is not below the prefix."""
        return path.removeprefix(self.start) if path.startswith(self.start) else None
