"""Tells people that an administrator broke the glass: opened values that no grant of their own allows."""

from collections.abc import Iterable
from uuid import uuid5

from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.recording.drafts import EventDraft
from audit_app.recording.recorder import record_many
from environments_app.approvals.approvers import possible_managers
from environments_app.models import Environment, User, UserRole
from environments_app.notifications.service import BREAK_GLASS, raise_alert


def record_breaking(draft: EventDraft, *, breaks_glass: bool, places: Iterable[Environment]) -> None:
    """Record an act in its transaction; if it breaks the glass, with the event and an alert in each place.

    The alert is for who manages the place, and for administrators and auditors. The actor is sent nothing.
    """
    drafts = [draft]
    if breaks_glass:
        drafts.append(draft._replace(action=Action.BREAK_GLASS))
        actor, about = draft.actor, draft.object
        auditors = set(User.objects.filter(role=UserRole.AUDITOR, is_active=True))
        for place in places:
            people = {person.uuid for person in auditors.union(possible_managers(place))}
            raise_alert(
                kind=BREAK_GLASS,
                about=uuid5(place.uuid, str(about.uuid)),
                environment=place,
                adds=True,
                people=people - {actor.uuid},
                subject=f"Break-glass access in {place.name}",
                lines=[
                    f"{actor.name} {draft.action.done} {about.name}, without a grant of their own there.",
                    "Find out whether that was right. The audit log of the environment has it.",
                ],
                link=reverse("environment-detail", args=[place.name]),
            )
    # After all other rows: it locks the heads of the log.
    record_many(drafts)
