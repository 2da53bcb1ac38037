"""The pages of operators in the admin that belong to no model: the header and the index show them."""

from dataclasses import dataclass
from typing import Final

from django.urls import reverse


@dataclass(frozen=True, kw_only=True)
class OperatorPage:
    """One page; `group` is the group of the admin's index that it is shown in."""

    title: str
    view: str
    group: str
    about: str

    @property
    def url(self) -> str:
        return reverse(self.view)


OPERATOR_PAGES: Final = (
    OperatorPage(
        title="Keys",
        view="admin-keys",
        group="environments",
        about="Which key wraps what, connection tests, rotation, and the migration to KMS.",
    ),
    OperatorPage(
        title="Audit log",
        view="admin-audit",
        group="audit",
        about="Timeline, verification, sinks, and what retention would remove.",
    ),
    OperatorPage(
        title="System",
        view="admin-system",
        group="system",
        about="Settings, checks, workers, schedules, health and backups.",
    ),
)
