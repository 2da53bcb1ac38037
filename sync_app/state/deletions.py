"""How much of a target was deleted lately: what its deletion budget counts, over passes and across them."""

from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from sync_app.domain.reconciliation import DeletionBudget
from sync_app.jobs.leases import database_now
from sync_app.models import Plan, PlanItem, Target
from sync_app.models.plan import Act, ItemState, PlanKind

# The option of a plan by which a person asks for more deletions than the budget allows.
BEYOND_BUDGET = "beyond_budget"


def load_budget(target: Target, *, besides: Plan | None = None) -> DeletionBudget:
    """Return a target's budget, with what its passes deleted within the window, but for this plan.

    A deletion with an unknown outcome, or that failed after it was tried, may have happened: it counts.
    """
    since = database_now() - timedelta(hours=settings.KEEPER_DELETION_WINDOW_HOURS)
    ended = Q(state__in=(ItemState.DONE, ItemState.FAILED), finished_at__gt=since)
    done = PlanItem.objects.filter(
        ended | Q(state=ItemState.INTENDED, plan__created_at__gt=since),
        plan__target=target,
        plan__kind=PlanKind.SYNC,
        act=Act.DELETE,
    )
    if besides is not None:
        done = done.exclude(plan=besides)
    return replace(target.budget, withdrawn=done.count())


def explain_excess(budget: DeletionBudget, *, deleted: int, owned: int) -> str:
    """Return why so many are not deleted."""
    return budget.explain_excess(deleted=deleted, owned=owned, hours=settings.KEEPER_DELETION_WINDOW_HOURS)
