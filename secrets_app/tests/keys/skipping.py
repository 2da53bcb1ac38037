"""A clock that goes by waits alone, which take no time: patience ends at once, and every answer has its time."""


class Skipping:
    """What stands for the module `time`."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        """Return the seconds that were waited."""
        return self.skipped

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.skipped += seconds
