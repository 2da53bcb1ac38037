"""Failed sign-ins, counted where neither a restart nor a flood of other names forgets them."""

from django.db import models


class FailedSignIns(models.Model):
    """How many tries are used up for an account, existing or not: by all of a kind, or by one source."""

    # SHA-256 in hexadecimal: somebody may have typed a password into the field for the name.
    bucket = models.CharField(max_length=64, unique=True)
    # When all tries are refilled, or when the source may try again.
    until = models.DateTimeField(db_index=True)
    # Wrong tries of a source in a row.
    count = models.PositiveIntegerField(default=0)

    class Meta:
        """Named for the admin."""

        verbose_name_plural = "failed sign-ins"

    def __str__(self) -> str:
        return f"{self.count} until {self.until}"


class KnownNetwork(models.Model):
    """A network from which the person of an account has signed in; both are hashed."""

    key = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"until {self.until}"
