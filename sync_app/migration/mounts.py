"""Mount rules: by which names clients of the old system find here what came from there.

They are made as a plan is applied, and are kept. A rule decides only in its own environment: a client whose
token may not see that finds nothing by it.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from environments_app.authorization.policy import Principal, visible_environments
from environments_app.models import Environment
from sync_app.migration.placing import How, Rule, usable_name
from sync_app.models.migration import MAX_MOUNT, Migration, MountRule


class Mounted(NamedTuple):
    """What a path of a mount means here; the name is empty for the environment as a whole."""

    environment: Environment
    name: str


def make_rules(migration: Migration, allowed: Collection[str]) -> list[MountRule]:
    """Store the rules of a migration in these environments, by their uuids; return the changed ones.

    Call it in the transaction that records them.
    """
    environments = {
        str(each.uuid): each
        for each in Environment.objects.filter(
            uuid__in=[
                uuid for rule in migration.rules for uuid in rule["environments"].values() if uuid in allowed
            ]
        )
    }
    changed: list[MountRule] = []
    for rule in map(Rule.of, migration.rules):
        for folder, uuid in rule.environments.items():
            fits = max(len(rule.place), len(folder), len(rule.prefix)) <= MAX_MOUNT
            if fits and (environment := environments.get(uuid)) and "/" not in rule.place:
                changed += _store(environment, rule, folder if rule.how is How.FIRST_FOLDER else "")
    return changed


def _store(environment: Environment, rule: Rule, folder: str) -> Iterator[MountRule]:
    rows = MountRule.objects.select_for_update()
    found = rows.filter(environment=environment, mount=rule.place, folder=folder).first()
    stored = MountRule(environment=environment, mount=rule.place, folder=folder) if found is None else found
    if found is None or stored.prefix != rule.prefix or not stored.is_authentic():
        stored.prefix = rule.prefix
        stored.save()
        yield stored


def rules_of(actor: Principal, mount: str = "") -> list[MountRule]:
    """Return the rules of a mount, or of all, in environments that an actor may see; with folders first."""
    rows = MountRule.objects.filter(environment__in=Environment.objects.filter(visible_environments(actor)))
    if mount:
        rows = rows.filter(mount=mount)
    found = rows.select_related("environment").order_by(
        "-folder", "environment__position", "environment__name"
    )
    return [rule for rule in found if rule.is_authentic()]


def find_mounted(actor: Principal, mount: str, path: str) -> Mounted | None:
    """Return what a path of an old mount means here; None if no rule of the mount has it."""
    for rule in rules_of(actor, mount):
        folder, _, rest = path.partition("/")
        if rule.folder and folder != rule.folder:
            continue
        inside = rest if rule.folder else path
        name = "/".join(filter(None, (str(rule.prefix), usable_name(inside) if inside else "")))
        return Mounted(rule.environment, name)
    return None
