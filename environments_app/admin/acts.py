"""Acts of the admin on objects: a button on an object's page, an entry of its list, or both.

An act is declared once (`Act`) and offered by `offer`; what it does is a use case of pages and API. Each act
shows first what will happen to which rows, then the result for each row. What is shown once, such as a
token, is in the answer to the POST alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import ConfirmationNeeded

MAX_ROWS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an act found: lines for the operator, and `once` for a text that is never shown again.

    `url` is the page of the admin that shows its progress.
    """

    lines: Sequence[str] = ()
    once: str = ""
    url: str = ""
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the policy is asked about a row: its environment (None: the installation) and its name."""

    environment_id: int | None = None
    name: str = ""


def environment_of(row: Any) -> Place:
    """Return the environment of a row that has one."""
    return Place(environment_id=row.environment_id)


def nowhere(_row: Any) -> Place:
    """Return the installation, for acts on what belongs to no environment."""
    return Place()


def always(_row: Any) -> str:
    """Find no reason against an act."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Act:
    """One act: `use_case` takes `actor`, the row as `takes`, and what the form asks for.

    `permission` is what the use case demands by the policy table, `place` where. `confirmation` states what
    will happen, `foresee` adds lines about a row, `against` returns why nothing would happen to it. Without
    `takes` it is an act of the list, such as an invitation, with a button there if it is `listed`. `form`
    makes the form, `form_of` one that depends on the row; its cleaned data are arguments of the use case.
    """

    name: str
    label: str
    permission: Action
    use_case: Callable[..., Any]
    confirmation: str
    done: str
    takes: str = ""
    place: Callable[[Any], Place] = nowhere
    against: Callable[[Any], str] = always
    foresee: Callable[[Principal, Any], Sequence[str]] | None = None
    form: Callable[..., forms.Form] | None = None
    form_of: Callable[[Any], Callable[..., forms.Form]] | None = None
    show: Callable[[Any], Shown] | None = None
    named: Callable[[Any], str] = str
    bulk: bool = True
    listed: bool = True
    dangerous: bool = False

    def permitted(self, actor: Principal, row: Any) -> bool:
        place = self.place(row)
        return allows(actor, self.permission, environment_id=place.environment_id, name=place.name)

    def objection(self, actor: Principal, row: Any) -> str:
        """Return why nothing would happen to a row, or nothing."""
        if not self.permitted(actor, row):
            return "You don't have permission to do this."
        return self.against(row)

    def run(
        self, *, actor: Principal, row: Any, given: dict[str, Any], refusals: tuple[type[Exception], ...]
    ) -> "Outcome":
        """Run the use case for one row and return how it ended; a refusal is a result, not an error."""
        taken = {self.takes: row} if self.takes else {}
        label = self.named(row) if self.takes else ""
        if reason := (self.against(row) if self.takes else ""):
            return Outcome(row=label, problem=reason)
        try:
            result = self.use_case(actor=actor, **taken, **given)
        except ConfirmationNeeded as error:
            return Outcome(row=label, problem=str(error), unconfirmed=True)
        except refusals as error:
            return Outcome(row=label, problem=str(error), field=getattr(error, "field", ""))
        return Outcome(row=label, shown=self.show(result) if self.show else Shown())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an act ended for one row; `unconfirmed` if the actor has to prove who they are first.

    `field` is the field of the form that was refused, if one was.
    """

    row: str
    problem: str = ""
    field: str = ""
    shown: Shown = Shown()
    unconfirmed: bool = False

    @property
    def ok(self) -> bool:
        """Whether it was done, and found nothing wrong."""
        return not self.problem and self.shown.ok
