"""Names as folders: what lies under a path, one level deep."""

from dataclasses import dataclass
from typing import Final

from django.db.models import Count, F, Q, QuerySet, Value
from django.db.models.functions import StrIndex, Substr

from secrets_app.models import Secret

MAX_FOLDERS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder: its own name, its whole path, and how many secrets lie somewhere in it."""

    name: str
    path: str
    count: int


def folders_in(secrets: QuerySet[Secret], prefix: str) -> list[Folder]:
    """Return the first 200 folders directly under a path among these secrets, in one statement."""
    rows = (
        _parted(secrets, prefix)
        .filter(Q(("slash__gt", 0)))
        .annotate(folder=Substr("rest", 1, F("slash") - 1))
        .order_by("folder")
        .values("folder")
        .annotate(count=Count("pk"))
    )
    return [
        Folder(
            name=row["folder"],
            path=f"{prefix}/{row['folder']}" if prefix else row["folder"],
            count=row["count"],
        )
        for row in rows[:MAX_FOLDERS]
    ]


def directly_in(secrets: QuerySet[Secret], prefix: str) -> QuerySet[Secret]:
    """Return the secrets that lie directly under a path, in no further folder."""
    return _parted(secrets, prefix).filter(Q(("slash", 0)))


def _parted(secrets: QuerySet[Secret], prefix: str) -> QuerySet[Secret]:
    """Annotate each name's rest after the path, and the position of its next slash."""
    rest = Substr("name", len(prefix) + 2 if prefix else 1)
    return secrets.annotate(rest=rest).annotate(slash=StrIndex("rest", Value("/")))
