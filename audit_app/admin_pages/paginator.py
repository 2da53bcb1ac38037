"""Pages of a list in constant time: rows are counted up to a limit, and no page lies deeper."""

from typing import Any, Final

from django.core.paginator import Paginator
from django.utils.functional import cached_property

# 200 pages of 50 rows. What lies deeper is found by search, filters, or a range of the first column.
MOST: Final = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts at most MOST rows: a full count, or an offset of a million rows, takes seconds."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most MOST."""
        return min(self._counted, MOST)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MOST + 1].count())
