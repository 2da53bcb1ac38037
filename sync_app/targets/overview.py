"""An overview of an environment: each secret at each of its targets, by a constant number of statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

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

    @property
    def reason(self) -> str:
        """Why it has the state: of the last look, or because Keeper's value is newer than that."""
        return self.shown.word or (str(self.entry.reason) if self.entry is not None else "")


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
        found = found.filter(_is_in_state(state, targets))
    return found


def _is_in_state(state: str, targets: Sequence[Target]) -> Q:
    """Return the condition that `shown_state` names this state for a target of the secret."""
    entries = SyncEntry.objects.filter(
        target__in=[target.pk for target in targets], secret_uuid=OuterRef("uuid")
    )
    stored, in_sync = entries.filter(state=state), entries.filter(state=DeliveryState.IN_SYNC)
    is_late = Q(base_number__lt=OuterRef("current_number"))
    if state == DeliveryState.IN_SYNC:
        return Q(Exists(in_sync.exclude(is_late)))
    if state == DeliveryState.PENDING:
        return Q(Exists(stored)) | Q(Exists(in_sync.filter(is_late)))
    return Q(Exists(stored))


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
        shown = shown_state(str(entry.state), delivered=entry.base_number, current=secret.current_number)
        return Delivery(target=target, state=str(shown.state), entry=entry, shown=shown)
    covered = is_in_scope(str(target.scope), secret.name) and is_tagged_for(target, secret.tags)
    # A new secret has no entry before the first look at the target.
    state = DeliveryState.PENDING if covered else ""
    return Delivery(target=target, state=state, entry=None, shown=ShownState(state))
