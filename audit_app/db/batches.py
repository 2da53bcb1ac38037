"""Long lists in parts that one statement takes."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

Item = TypeVar("Item")
# As many ids as a statement may name on every database.
BATCH: Final = 500


def in_batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    """Return the items in runs of so many at most."""
    return (items[start : start + size] for start in range(0, len(items), size))
