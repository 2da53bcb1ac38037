"""Draws docs/internals/sync-tables.md: what `reconcile` decides, and what each system's answers mean.

`python -m sync_app.tests.decision_table` writes them.
"""

import itertools
from collections import Counter
from pathlib import Path

from sync_app.backends.answers import Proof, VendorAnswer
from sync_app.backends.registry import BACKENDS
from sync_app.domain.reconciliation import (
    Base,
    Conflict,
    Deletion,
    Direction,
    Item,
    Ownership,
    Presence,
    Rules,
    Side,
    reconcile,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "internals" / "sync-tables.md"
BEGIN = "<!-- The table is written by python -m sync_app.tests.decision_table -->\n"
END = "<!-- End of the table -->\n"
ANSWERS_BEGIN = "<!-- The tables of answers are written by python -m sync_app.tests.decision_table -->\n"
ANSWERS_END = "<!-- End of the tables of answers -->\n"

BASE = Base(keeper="keeper 1", target="target 1")
GONE = {
    Presence.ABSENT: "absent",
    Presence.UNLISTED: "not listed",
    Presence.DELETED: "deleted, recoverable",
    Presence.STALE: "older than Keeper's last write",
    Presence.UNREADABLE: "unreadable",
}
SAME, CHANGED = "as synced", "changed"


def keeper_sides(base: Base | None) -> dict[str, Side]:
    """Return every state of Keeper's side by its name; only a known base tells change."""
    gone = {GONE[presence]: Side(presence=presence) for presence in (Presence.ABSENT, Presence.UNREADABLE)}
    return present("keeper", base) | gone


def target_sides(base: Base | None) -> dict[str, Side]:
    """Return every state of the target's side by its name."""
    gone = {name: Side(presence=presence) for presence, name in GONE.items()}
    return present("target", base) | gone | {"expired": Side(presence=Presence.DELETED, expired=True)}


def present(side: str, base: Base | None) -> dict[str, Side]:
    same = Side(presence=Presence.PRESENT, version=f"{side} 1")
    changed = Side(presence=Presence.PRESENT, version=f"{side} 2")
    return {SAME: same, CHANGED: changed} if base else {"present": same}


# Besides: our entry calls it ours, and the secret does not prove it.
LOST = "lost"
OWNERS = (*(ownership.value for ownership in Ownership), LOST)


def items() -> dict[tuple[str, str, str, str], Item]:
    """Return the whole space of what can be seen, by (base, Keeper's side, target's side, ownership)."""
    space = {}
    for base in (None, BASE):
        sides = itertools.product(keeper_sides(base).items(), target_sides(base).items())
        for ((keeper_name, keeper), (target_name, target)), owner in itertools.product(sides, OWNERS):
            lost = owner == LOST
            ownership = Ownership.NONE if lost else Ownership(owner)
            both = keeper.presence is target.presence is Presence.PRESENT
            for equal in (True, False, None) if both else (None,):
                name = target_name + {True: ", equal", False: ", differs", None: ""}[equal]
                space["known" if base else "unknown", keeper_name, name, owner] = Item(
                    base=base,
                    keeper=keeper,
                    target=target,
                    ownership=ownership,
                    equal=equal,
                    was_owned=lost,
                )
    return space


def rule_space() -> list[Rules]:
    return [
        Rules(direction=direction, conflict=conflict, deletion=deletion)
        for direction, conflict, deletion in itertools.product(Direction, Conflict, Deletion)
    ]


def cell(item: Item, direction: Direction) -> str:
    """Say what happens, naming a rule only where it makes a difference."""
    by_deletion = {
        deletion: {
            conflict: reconcile(
                item, Rules(direction=direction, conflict=conflict, deletion=deletion)
            ).outcome.value
            for conflict in Conflict
        }
        for deletion in Deletion
    }
    never, recoverable = (by_conflict(by_deletion[deletion]) for deletion in Deletion)
    return never if never == recoverable else f"{recoverable} (never: {never})"


def by_conflict(outcomes: dict[Conflict, str]) -> str:
    counts = Counter(outcomes.values())
    chosen = sorted(counts, key=lambda outcome: (counts[outcome], outcome))
    usual = chosen[-1]
    special = [f"{conflict}: **{outcome}**" for conflict, outcome in outcomes.items() if outcome != usual]
    return "; ".join([*special, f"else {usual}" if special else usual])


def table() -> str:
    """Return the table in Markdown, with neighbouring rows that decide alike drawn as one."""
    rows: dict[tuple[str, str, str], dict[tuple[str, ...], list[str]]] = {}
    for (base, keeper, target, owner), item in items().items():
        cells = tuple(cell(item, direction) for direction in Direction)
        rows.setdefault((base, keeper, target), {}).setdefault(cells, []).append(owner)
    lines = [
        "| last synced | Keeper | target | ownership | push | pull | both |",
        "|---|---|---|---|---|---|---|",
    ]
    for (base, keeper, target), alike in rows.items():
        for cells, owners in alike.items():
            whose = "any" if len(owners) == len(OWNERS) else ", ".join(owners)
            lines.append("| " + " | ".join((base, keeper, target, whose, *cells)) + " |")
    return "\n".join(lines) + "\n"


def answer_tables() -> str:
    """Return a table in Markdown for each kind of system that declares its answers."""
    parts = []
    for kind in BACKENDS.values():
        if kind.answers:
            rows = [
                f"| {', '.join([row.to, *row.of])} | {row.answer} | {row.proves} | {meaning(row)} | {row.source} |"
                for row in kind.answers
            ]
            head = [
                f"**{kind.label}**",
                "",
                "| request | answer | proves about the write | what Keeper does | source |",
                "|---|---|---|---|---|",
            ]
            parts.append("\n".join([*head, *rows]) + "\n")
    return "\n".join(parts)


def meaning(row: VendorAnswer) -> str:
    """Return what Keeper does after an answer, in words."""
    if row.error is None:
        return "counts it as written, and looks"
    if row.proves is Proof.UNKNOWN:
        return "keeps the intent, and looks again before it decides"
    if row.error.permanent:
        return "fails with the remedy; alerts"
    return "writes nothing over it; tries again, or plans again"


def main() -> None:
    text = DOCUMENT.read_text()
    for begin, end, drawn in ((BEGIN, END, table()), (ANSWERS_BEGIN, ANSWERS_END, answer_tables())):
        before, _, rest = text.partition(begin)
        text = before + begin + "\n" + drawn + "\n" + end + rest.partition(end)[2]
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
