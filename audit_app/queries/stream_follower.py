"""Keeps a derived table up with the streams of events: in order, by positions that move with its rows.

A step is one transaction: the rows of a few hundred events, and how far the table has come with their
stream. So a crash leaves nothing half done, and two workers take turns. Ids would be no position: the higher
of two may be committed first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import OperationalError, models, transaction
from django.db.models import BigIntegerField, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from audit_app.models import StreamHead
from core.db.concurrency import is_collision, retry_collisions

Progress = Callable[[int], None]


@dataclass(frozen=True)
class StreamFollower:
    """A derived table: the model of its positions, their name on a head, and what writes its rows.

    `write` takes a stream and a range of sequences, without the first. A step has as many events as
    `step_size` returns.
    """

    position: type[models.Model]
    related_name: str
    write: Callable[[str, int, int], None]
    step_size: Callable[[], int]

    def behind(self) -> int:
        """Return how many committed events the table lacks."""
        missing = F("sequence") - Coalesce(F(f"{self.related_name}__sequence"), 0)
        total: int | None = self._heads_ahead().aggregate(total=Sum(missing, output_field=BigIntegerField()))[
            "total"
        ]
        return total or 0

    def fill(self, *, seconds: float | None = None, progress: Progress | None = None) -> int:
        """Add what is missing, for so long at most, and return how many events were passed.

        Any number of workers may call it. Not to be called within a transaction.
        """
        until = None if seconds is None else time.monotonic() + seconds
        count = 0
        for stream in self._streams_ahead():
            while passed := retry_collisions(lambda stream=stream: self.step(stream)):  # type: ignore[misc]  # bound early
                count += passed
                if progress:
                    progress(count)
                if until is not None and time.monotonic() > until:
                    return count
        return count

    def catch_up(self, most: int) -> int:
        """Add what is missing if it is at most so much, and return how many events the table lacks then.

        For a reader, before it reads: a collision with a writer leaves events missing.
        """
        lacking = self.behind()
        if not 0 < lacking <= most:
            return lacking
        try:
            for stream in self._streams_ahead():
                while self.step(stream):
                    pass
        except OperationalError as error:
            if not is_collision(error):
                raise
        return self.behind()

    def step(self, stream: str) -> int:
        """Add the next events of a stream, and return by how much its position moved; 0 if it is complete."""
        positions = self.position._default_manager  # noqa: SLF001 - as Django names it
        with transaction.atomic():
            rows = positions.select_for_update().filter(head_id=stream).values_list("sequence", flat=True)
            after: int | None = rows.first()
            if after is None:
                positions.bulk_create([self.position(head_id=stream)], ignore_conflicts=True)
                after = rows.get()
            # Read under the lock: the events up to a committed head are committed as well.
            head = StreamHead.objects.values_list("sequence", flat=True).get(stream=stream)
            until = min(after + self.step_size(), head)
            if until <= after:
                return 0
            self.write(stream, after, until)
            positions.filter(head_id=stream).update(sequence=until)
        return until - after

    def _heads_ahead(self) -> QuerySet[StreamHead]:
        unknown = Q((self.related_name, None))
        return StreamHead.objects.filter(unknown | Q((f"{self.related_name}__sequence__lt", F("sequence"))))

    def _streams_ahead(self) -> list[str]:
        return list(self._heads_ahead().order_by("stream").values_list("stream", flat=True))
