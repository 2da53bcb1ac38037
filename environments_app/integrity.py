"""Integrity checks: whether the rows that grant anything are those that Keeper wrote."""

from collections.abc import Iterator

from audit_app.integrity import Problem
from audit_app.row_mac import AuthenticatedRow
from environments_app.models import Environment, GroupMember, Membership, ServiceToken, User

_BATCH = 500
_KINDS: tuple[tuple[type[AuthenticatedRow], tuple[str, ...]], ...] = (
    (Environment, ()),
    (User, ()),
    (GroupMember, ("user", "group")),
    (Membership, ("environment", "user", "group")),
    (ServiceToken, ("environment",)),
)


def access_rows() -> Iterator[Problem]:
    """Yield each environment, person, place in a group, membership and token that is not genuine."""
    for model, related in _KINDS:
        every = model._default_manager.all()  # noqa: SLF001 - serves several models
        rows = every.select_related(*related) if related else every
        for row in rows.order_by("pk").iterator(chunk_size=_BATCH):
            if not row.is_authentic():
                yield Problem(
                    kind="edited",
                    object=f"{row.MAC_LABEL} {row.pk} ({row.uuid})",
                    message="the row was not written by Keeper, and grants nothing",
                )
