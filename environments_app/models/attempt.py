"""Failed sign-ins, counted where neither a restart nor a flood of other names forgets them."""

from django.db import models


class FailedSignIns(models.Model):
    """How often a password was wrong for an account, existing or not, since the first time."""

    # SHA-256 in hexadecimal: somebody may have typed a password into the field for the name.
    account = models.CharField(max_length=64, unique=True)
    since = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        """Named for the admin."""

        verbose_name_plural = "failed sign-ins"

    def __str__(self) -> str:
        return f"{self.count} since {self.since}"
