"""Mount rules: by which names clients of the old system find here what came from there.

They are made once a plan is applied, and are kept. A rule decides only in its own environment: a client whose
token may not see that finds nothing by it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from django.db.models import F, Q, QuerySet

from audit_app.events.actions import Action
from core.db.bulk import in_batches
from environments_app.approvals.gate import unneeded_approval
from environments_app.authorization.policy import Principal, grants_allow, visible_environments
from environments_app.models import Environment
from secrets_app.models import VersionOrigin
from secrets_app.values.names import MAX_NAME_LENGTH
from sync_app.migration.placing import How, Rule, usable_name
from sync_app.migration.sources.registry import SOURCES
from sync_app.models.migration import MAX_MOUNT, LineState, Migration, MigrationLine, MountRule, Word

_NUMBERED: Final = re.compile(r"-[0-9]+$")
_WHOLE: Final = "this needs the right to create and update in the whole environment"
_MANAGERS: Final = "a manager of the whole environment changes it"


class Mounted(NamedTuple):
    """What a path of a mount means here; the name is empty for the environment as a whole.

    `is_there` is False where the name is another path's, or the path (or folder) has one that is changed.
    """

    environment: Environment
    name: str
    is_there: bool


class RuleChange(NamedTuple):
    """What a migration does to one rule: `stored` has its place, `may` is whether it is done."""

    stored: MountRule
    prefix: str
    may: bool

    @property
    def is_new(self) -> bool:
        return self.stored.pk is None

    @property
    def sentence(self) -> str:
        """What becomes of the paths of the mount."""
        rule, where = self.stored, self.stored.environment.name
        now, then = f"{where}: /{rule.prefix}", f"{where}: /{self.prefix}"
        if self.is_new:
            return then if self.may else f"not led to {then}: {_WHOLE}"
        if not rule.is_authentic():
            now = "nothing: the rule was changed outside Keeper"
        return f"led to {then}, no longer to {now}" if self.may else f"stays {now}: {_MANAGERS}"


def rule_changes(migration: Migration, actor: Principal) -> list[RuleChange]:
    """Return which rules a migration makes or changes, and whether the actor may do that.

    A rule decides where each client of a mount reads and writes. Who may create and update secrets in the
    whole environment makes one; managers of it change one.
    """
    if not SOURCES[migration.source].has_mounts(migration.settings):
        return []
    rules = [Rule.of(each) for each in migration.rules]
    uuids = {uuid for rule in rules for uuid in rule.environments.values()}
    environments = {str(each.uuid): each for each in Environment.objects.filter(uuid__in=uuids)}
    changes: list[RuleChange] = []
    for rule in rules:
        for first, uuid in rule.environments.items():
            folder = first if rule.how is How.FIRST_FOLDER else ""
            fits = max(len(rule.place), len(folder), len(rule.prefix)) <= MAX_MOUNT and "/" not in rule.place
            if fits and (environment := environments.get(uuid)):
                changes += _change(MountRule(environment=environment, mount=rule.place, folder=folder),
                                   rule.prefix, actor)  # fmt: skip
    return changes


def _change(rule: MountRule, prefix: str, actor: Principal) -> Iterator[RuleChange]:
    environment = rule.environment
    found = MountRule.objects.filter(environment=environment, mount=rule.mount, folder=rule.folder).first()
    if found is not None and found.prefix == prefix and found.is_authentic():
        return
    if found is not None:
        found.environment = environment
    # Without a name: a right that is limited to a path does not suffice.
    needed = [Action.SECRET_CREATE, Action.SECRET_UPDATE, *([Action.ENVIRONMENT_UPDATE] if found else [])]
    may = all(grants_allow(actor, each, environment_id=environment.pk) for each in needed)
    yield RuleChange(found or rule, prefix, may)


def make_rules(migration: Migration, actor: Principal) -> list[MountRule]:
    """Store the rules by which a migration has carried something, as far as the actor may; return them.

    Call it in the transaction that records them.
    """
    uuids = {uuid for rule in migration.rules for uuid in rule["environments"].values()}
    # One migration at a time judges and stores the rules of an environment.
    environments = list(Environment.objects.select_for_update().filter(uuid__in=uuids).order_by("pk"))
    approved = {
        each.pk
        for each in environments
        if str(each.uuid) in migration.approvals or unneeded_approval(actor, each)
    }
    changed: list[MountRule] = []
    for change in rule_changes(migration, actor):
        is_approved = change.stored.environment_id in approved
        if change.may and is_approved and _is_carried(migration, change.stored):
            change.stored.prefix = change.prefix
            change.stored.save()
            changed.append(change.stored)
    return changed


def _is_carried(migration: Migration, rule: MountRule) -> bool:
    """Return whether something is in the rule's environment that came from its mount."""
    lines = MigrationLine.objects.filter(
        Q(state=LineState.CARRIED) | Q(word=Word.SAME),
        migration=migration,
        plan=migration.plan,
        environment_uuid=rule.environment.uuid,
        place=rule.mount,
    )
    return (lines.filter(path__startswith=f"{rule.folder}/") if rule.folder else lines).exists()


def rules_of(actor: Principal, mount: str = "") -> list[MountRule]:
    """Return the rules of a mount, or of all, in environments that an actor may see; with folders first."""
    rows = MountRule.objects.filter(environment__in=Environment.objects.filter(visible_environments(actor)))
    if mount:
        rows = rows.filter(mount=mount)
    found = rows.select_related("environment").order_by(
        "-folder", "environment__position", "environment__name"
    )
    return [rule for rule in found if rule.is_authentic()]


def find_mounted(actor: Principal, mount: str, path: str, *, folder: bool = False) -> Mounted | None:
    """Return what a path of an old mount, or a folder of it, means here; None if no rule of the mount has it.

    A name that was changed as it was carried is found by the path that is stored with it, and by no other.
    """
    for rule in rules_of(actor, mount):
        first, _, rest = path.partition("/")
        if rule.folder and first != rule.folder:
            continue
        inside = rest if rule.folder else path
        own = "/".join(filter(None, (str(rule.prefix), inside)))
        name = usable_name(own) if own else ""
        if folder or not inside:
            return Mounted(rule.environment, name, is_there=name == own)
        if carried := _carried_name(rule, path, name):
            return Mounted(rule.environment, carried, is_there=True)
        is_free = name == own and not is_of_another(rule.environment.pk, mount, path, name)
        return Mounted(rule.environment, name, is_there=is_free)
    return None


def _origins(environment_id: int, mount: str) -> QuerySet[VersionOrigin]:
    """Return the origins in a mount of secrets that live, or are back once a version of them is restored."""
    is_known = Q(version__secret__live=True) | Q(version__secret__version_rules__isnull=False)
    return VersionOrigin.objects.filter(is_known, version__secret__environment=environment_id, place=mount)


def _carried_name(rule: MountRule, path: str, name: str) -> str:
    start = f"{name[: MAX_NAME_LENGTH - 8]}-"
    is_near = Q(version__secret__name=name) | Q(version__secret__name__startswith=start)
    rows = _origins(rule.environment_id, str(rule.mount)).filter(is_near, path=path)
    rows = rows.select_related("version__secret").defer("version__value")
    for origin in rows.order_by(F("version__secret__live").desc(nulls_last=True), "-version__number")[:20]:
        secret = origin.version.secret
        if (secret.live or secret.is_withdrawn) and origin.is_authentic():
            return str(secret.name)
    return ""


def is_of_another(environment_id: int, mount: str, path: str, name: str) -> bool:
    """Return whether the secret of a name has come from another path of the mount than this."""
    rows = _origins(environment_id, mount).filter(version__secret__name=name, version__secret__live=True)
    return rows.exists() and not rows.filter(path=path).exists()


def old_paths(environment: Environment, mount: str, names: Sequence[str]) -> dict[str, set[str]]:
    """Return the paths in a mount of the names that may have been changed as they were carried."""
    changed = [name for name in names if "_" in name or _NUMBERED.search(name)]
    found: dict[str, set[str]] = {}
    for some in in_batches(changed):
        rows = _origins(environment.pk, mount).filter(version__secret__name__in=some)
        for name, path in rows.values_list("version__secret__name", "path").distinct():
            found.setdefault(name, set()).add(path)
    return found
