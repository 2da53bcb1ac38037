"""Rows that are only ever added: the ORM refuses to change or delete them."""

from typing import Any, NoReturn, TypeVar

from django.db import models

from audit_app.errors import Immutable

M = TypeVar("M", bound=models.Model)


class AppendOnlyQuerySet(models.QuerySet[M]):
    """A queryset without the methods that change or delete rows."""

    def update(self, **_kwargs: Any) -> NoReturn:
        raise Immutable(f"{self.model.__name__} rows are never changed")

    def bulk_update(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise Immutable(f"{self.model.__name__} rows are never changed")

    def delete(self) -> NoReturn:
        """Refuse: rows are only added."""
        raise Immutable(f"{self.model.__name__} rows are never deleted")


class AppendOnly(models.Model):
    """Refuses to save an existing row and to delete any.

    It guards against mistakes in our own code; against others there are the chain and the MACs.
    """

    objects = models.Manager.from_queryset(AppendOnlyQuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row.

        Raises Immutable if it exists already.
        """
        if not self._state.adding:
            raise Immutable(f"{type(self).__name__} rows are never changed")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: rows are only added."""
        raise Immutable(f"{type(self).__name__} rows are never deleted")
