"""An overview of an environment: each secret at each of its targets, by a constant number of statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.queries.lookup import visible_secrets
from sync_app.domain.delivery_state import DeliveryState, ShownState, shown_state
from sync_app.models import SyncEntry, Target
from sync_app.state.local_state import is_in_scope
from sync_app.state.tag_selection import is_tagged_for
from sync_app.targets.lookup import visible_targets


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One secret at one target; no state if the target's scope leaves the secret out."""

    target: Target
    state: str
    entry: SyncEntry | None
    shown: ShownState


@dataclass(frozen=True, kw_only=True)
class SecretRow:
    """One secret with its state at each target, in the order of the targets."""

    secret: Secret
    deliveries: Sequence[Delivery]

    @property
    def covered(self) -> list[Delivery]:
        """The targets whose scope covers the secret, or that still hold it."""
        return [each for each in self.deliveries if each.state]


def overview_targets(actor: Principal, environment: Environment) -> list[Target]:
    """Return the targets of an environment that an actor may see, by name."""
    return list(visible_targets(actor).filter(environment=environment).order_by("name"))


def overview_secrets(
    actor: Principal, environment: Environment, targets: Sequence[Target], *, state: str = "", text: str = ""
) -> QuerySet[Secret]:
    """Return the secrets that an actor may see, by name; those in a state at one of the targets, if given."""
    found = visible_secrets(actor).filter(environment=environment)
    if text:
        found = found.filter(name__contains=text)
    if state:
        entries = SyncEntry.objects.filter(target__in=[target.pk for target in targets], state=state)
        found = found.filter(uuid__in=entries.exclude(secret_uuid=None).values("secret_uuid"))
    return found


def overview_rows(secrets: Sequence[Secret], targets: Sequence[Target]) -> list[SecretRow]:
    """Return the states of some secrets at some targets: one statement."""
    entries = {
        (entry.target_id, entry.secret_uuid): entry
        for entry in SyncEntry.objects.filter(
            target__in=[target.pk for target in targets], secret_uuid__in=[secret.uuid for secret in secrets]
        )
    }
    return [
        SecretRow(secret=secret, deliveries=[_delivery(secret, target, entries) for target in targets])
        for secret in secrets
    ]


def _delivery(
    secret: Secret, target: Target, entries: Mapping[tuple[int, UUID | None], SyncEntry]
) -> Delivery:
    entry = entries.get((target.pk, secret.uuid))
    if entry is not None:
        state = str(entry.state)
        shown = shown_state(state, delivered=entry.base_number, current=secret.current_number)
        return Delivery(target=target, state=state, entry=entry, shown=shown)
    covered = is_in_scope(str(target.scope), secret.name) and is_tagged_for(target, secret.tags)
    # A new secret has no entry before the first look at the target.
    state = DeliveryState.PENDING if covered else ""
    return Delivery(target=target, state=state, entry=None, shown=ShownState(state))
