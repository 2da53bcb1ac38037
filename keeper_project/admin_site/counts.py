"""What needs attention in each group of the index: counts, each with the list of exactly those rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

from audit_app.admin_pages.attention import PARAMETER, attention_of
from audit_app.checkpoints import schedule as checkpoints_schedule
from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from keeper_project.admin_site.groups import group_of
from keeper_project.backup import service as backup


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Something that needs an operator, and where it is listed; `count` is None where nothing is counted."""

    label: str
    tone: str
    url: str
    count: int | None = None


def attention_by_group(site: AdminSite, request: HttpRequest) -> dict[str, list[Counted]]:
    """Return what needs attention in each group; one statement for each condition of a page."""
    found: dict[str, list[Counted]] = {"system": [*_backups(request)], "audit": [*_checkpoints()]}
    for model, page in site._registry.items():  # noqa: SLF001 - the site has no other list of its pages
        if page.has_view_permission(request):
            group = found.setdefault(group_of(model._meta.label).key, [])
            group.extend(_of_page(site, page))
    return {key: sorted(rows, key=lambda each: each.tone != "bad") for key, rows in found.items()}


def _of_page(site: AdminSite, page: Any) -> Iterator[Counted]:
    meta = page.model._meta
    url = reverse(f"{site.name}:{meta.app_label}_{meta.model_name}_changelist")
    for each in attention_of(page):
        count = each.rows(page.model._default_manager.order_by()).count()  # noqa: SLF001 - as Django's lists do
        if count:
            address = f"{url}?{PARAMETER}={each.key}"
            yield Counted(label=each.words(count), tone=each.tone, url=address, count=count)


def _backups(request: HttpRequest) -> Iterator[Counted]:
    """Yield what is wrong with backups: files, of which the audit log records the verification."""
    url = reverse("backups")
    if backup.is_late(backup.last_success()):
        yield Counted(label="no recent backup", tone="bad", url=url)
    actor = principal_of(request)
    if not allows(actor, Action.BACKUP_VIEW, environment_id=None):
        return
    unverified = sum(not each.sound for each in backup.list_backups(actor=actor))
    if unverified:
        words = "backups not verified" if unverified > 1 else "backup not verified"
        yield Counted(label=words, tone="warn", url=url, count=unverified)


def _checkpoints() -> Iterator[Counted]:
    for problem in checkpoints_schedule.problems():
        yield Counted(label=problem, tone="bad", url=reverse("trail"))
