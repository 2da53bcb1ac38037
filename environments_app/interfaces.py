"""What higher apps inject into environments: executors of approvals, and panels of an environment's page.

settings.KEEPER_APPROVAL_EXECUTORS lists the executors, which store an action that needs an approval and run
it once approved. settings.KEEPER_ENVIRONMENT_PANELS lists the panels by dotted path: keys. Panels show for
those who may see an environment's settings.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from environments_app.authorization.policy import Principal
from environments_app.models import Approval, Environment


@dataclass(frozen=True, kw_only=True)
class ExecutionResult:
    """What became of an act: a sentence, where to look at it, and what is shown this once."""

    sentence: str
    link: str = ""
    plaintext: str = ""

    def __repr__(self) -> str:
        return f"ExecutionResult({self.sentence!r})"


@dataclass(frozen=True, kw_only=True)
class ChangedNames:
    """What an act does with the secrets that it names: the first of them, and how many there are.

    `of` is the page that lists them all; `rows` are names, each with the act on it.
    """

    of: str
    rows: Sequence[tuple[str, str]]
    count: int


# An approver of a read is shown who read the value in so many days.
READERS_DAYS: Final = 30


class Reader(NamedTuple):
    """Who read a value, and when last."""

    name: str
    last_at: datetime


class ApprovalExecutor(ABC):
    """One app's acts that need an approval."""

    # What carries out each act, by the ordinary use case; its actor is the requester.
    acts: Mapping[Action, Callable[[Principal, Approval], ExecutionResult]]
    # The base classes of what the use cases raise, beside AccessError.
    refusals: tuple[type[Exception], ...] = ()

    def carry_out(self, *, actor: Principal, approval: Approval) -> ExecutionResult:
        """Do what was approved; raises what the use case raises."""
        return self.acts[Action(approval.action)](actor, approval)

    @abstractmethod
    def object_url(self, approval: Approval) -> str:
        """Return the page of what the act is about; empty if there is none, or none yet."""

    @abstractmethod
    def state_of(self, approval: Approval) -> str | None:
        """Return the state of what the act is about, as its `expected` names one; None if that is gone."""

    def changed_names(self, *, actor: Principal, approval: Approval) -> ChangedNames | None:  # noqa: ARG002 - for those that name more
        """Return what the act does with secrets that its lines do not name, as far as the actor sees them."""
        return None

    def readers(self, *, actor: Principal, approval: Approval) -> Sequence[Reader]:  # noqa: ARG002 - for the one that shows values
        """Return who read of late what a request asks to read, the latest first."""
        return ()

    def has_guarded(self, environment: Environment) -> bool:  # noqa: ARG002 - for the one that guards
        """Return whether something in an environment is read only after a second person has agreed."""
        return False

    def names_of(self, environment: Environment, uuids: Collection[UUID]) -> Mapping[UUID, str]:  # noqa: ARG002 - for the one with names
        """Return what is named so now in an environment, of these; what is deleted has no name."""
        return {}

    def guard_names(self, *, actor: Actor, environment: Environment) -> None:  # noqa: B027 - as above
        """Guard what lies under a guarded path of an environment, in the caller's transaction."""

    def forget(self, approval: Approval) -> None:  # noqa: B027 - most keep nothing
        """Destroy what is kept sealed for a request that is over, in the caller's transaction."""


@cache
def _owners() -> dict[str, ApprovalExecutor]:
    executors: list[ApprovalExecutor] = [import_string(path)() for path in settings.KEEPER_APPROVAL_EXECUTORS]
    return {str(action): owner for owner in executors for action in owner.acts}


def owner_of(action: str) -> ApprovalExecutor:
    """Return the executor of an act. Raises LookupError if it has none."""
    return _owners()[action]


def has_guarded(environment: Environment) -> bool:
    """Return whether something in an environment is read only after a second person has agreed."""
    return any(owner.has_guarded(environment) for owner in {*_owners().values()})


def guard_names(*, actor: Actor, environment: Environment) -> None:
    """Guard what lies under a guarded path of an environment, in the caller's transaction."""
    for owner in {*_owners().values()}:
        owner.guard_names(actor=actor, environment=environment)


class EnvironmentPanel(Protocol):
    """One app's part of the page of an environment."""

    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        """Return what the panel's `template` shows, with its `anchor` and `title` for the page's contents.

        The number of statements is constant.
        """
        ...


@cache
def environment_panels() -> tuple[EnvironmentPanel, ...]:
    """Return the configured parts."""
    return tuple(import_string(path)() for path in settings.KEEPER_ENVIRONMENT_PANELS)


def panels_of(environment: Environment) -> list[Mapping[str, Any]]:
    """Return the panels of an environment's page, each with its `template`."""
    return [part.panel(environment=environment) for part in environment_panels()]
