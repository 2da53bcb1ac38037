"""What may be done with an object besides creating and changing it, declared once for all faces.

The module `acts` of each app declares its acts. The routes of the API, the pages, their buttons and the
actions of the admin follow, and what OpenAPI states of an approval. The use case decides who may, and
whether a fresh proof or an approval is needed; the declaration lets a face offer only what it would do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.forms import Form

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows


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
    """One act: `use_case` takes `actor`, the row as `takes`, and what a form or body contains.

    For all faces: `label` is on buttons, and `done` is a sentence, which may name `{row}`, `{result}` and
    arguments. The policy table is asked for `permission` in the row's `place`. `records` is the action of the
    event, where that is another one. `against` returns why nothing would happen to a row.

    For the API: `summary` and `about` describe its route; without a summary it has none. `needs_approval`: in
    a protected environment. `conditional`: the use case takes `expected`, the state that If-Match names.

    For pages: `on_page` gives it an address, and `icon` a place in the menu of the row's page. A `question`
    is asked first, with `confirmation` as its text; `typed` returns what has to be typed.

    For the admin, unless `in_admin` is False: `confirmation` states what will happen. Without one it is not
    there. Without `takes` it is an act of the list, such as an invitation, with a button there if it is
    `listed`. `form` makes the form, `form_of` one that depends on the row; its cleaned data are arguments of
    the use case.

    For both: `foresee` adds lines about a row to the confirmation.
    """

    name: str
    label: str
    permission: Action
    use_case: Callable[..., Any]
    done: str = ""
    records: Action | None = None
    takes: str = ""
    place: Callable[[Any], Place] = nowhere
    against: Callable[[Any], str] = always
    summary: str = ""
    about: str = ""
    needs_approval: bool = False
    conditional: bool = False
    on_deleted: bool = False
    on_page: bool = False
    question: str = ""
    confirmation: str = ""
    typed: Callable[[Any], str] = always
    icon: str = ""
    dangerous: bool = False
    in_admin: bool = True
    foresee: Callable[[Principal, Any], Sequence[str]] | None = None
    form: Callable[..., Form] | None = None
    form_of: Callable[[Any], Callable[..., Form]] | None = None
    show: Callable[[Any], Shown] | None = None
    named: Callable[[Any], str] = str
    bulk: bool = True
    listed: bool = True

    @property
    def slug(self) -> str:
        """The name in addresses."""
        return self.name.replace("_", "-")

    @property
    def recorded(self) -> Action:
        """The action of the event that it leaves."""
        return self.records or self.permission

    def permitted(self, actor: Principal, row: Any) -> bool:
        place = self.place(row)
        return allows(actor, self.permission, environment_id=place.environment_id, name=place.name)

    def objection(self, actor: Principal, row: Any) -> str:
        """Return why nothing would happen to a row, or nothing."""
        if not self.permitted(actor, row):
            return "You don't have permission to do this."
        return self.against(row)

    def perform(self, *, actor: Principal, row: Any, **arguments: Any) -> Any:
        """Run the use case. Raises what it raises."""
        return self.use_case(actor=actor, **({self.takes: row} if self.takes else {}), **arguments)
