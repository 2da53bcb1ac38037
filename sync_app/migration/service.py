"""Use cases of migrations: start, apply, choose, pause, continue, plan again, stop; and how a pass ends."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from core.canonical_json import Json, canonical_json
from core.workers import nudge
from environments_app.approvals.gate import Line, Proposal, require_approval, unneeded_approval
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import ApprovalNeeded, Invisible, Tampered
from environments_app.models import Environment
from secrets_app.queries.lookup import can_in_any_scope
from sync_app.errors import BadDestination, MigrationNotReady
from sync_app.jobs.leases import database_now
from sync_app.migration.credentials import migration_principal, sealed_credentials
from sync_app.migration.mounts import make_rules, rule_changes
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources.registry import SOURCES
from sync_app.models.migration import (
    ENDED,
    WORKING,
    Choice,
    LineState,
    Migration,
    MigrationLine,
    MigrationState,
    MountRule,
    SourceCredentials,
    Word,
)

CARRY_ON: Final = "sync_app.tasks.execute_migration"
MIGRATE_DUE: Final = "sync_app.tasks.migrate_due"
PLAN_HOLDS: Final = timedelta(days=7)
CREDENTIALS_LAST: Final = timedelta(days=14)
FOLLOW_SECONDS: Final = (300, 86_400)
MAX_RULES: Final = 200
_LISTED: Final = 200
_MOVED: Final = "The plan is another one by now. Look at it again."
_WAITS: Final = "needs an approval in {names}: apply again to ask for it, or once it is given"


class Renew(Protocol):
    """Renews the lease of the worker, in its transaction, with other changes."""

    def __call__(self, **changes: Any) -> None:
        """Raise LeaseLost if another worker has the migration."""


def start(
    *,
    actor: Principal,
    source: str,
    settings: Mapping[str, str],
    credentials: Mapping[str, str],
    rules: Sequence[Rule],
) -> Migration:
    """Store a migration, whose plan a worker makes. It may ask KMS; no request is sent to the source.

    Raises BadDestination for a kind, an address or rules that cannot be, Forbidden or Invisible.
    """
    kind = SOURCES.get(source)
    if kind is None or (kind.by_command and actor.kind is not ActorKind.SYSTEM):
        raise BadDestination("choose a source that Keeper knows", field="source")
    environments = _environments(rules)
    for environment in environments:
        _require_may_carry(actor, environment)
    # It refuses what is missing before anything is stored.
    made = kind(settings=settings, credentials=credentials)
    made.close()
    migration = Migration(
        environment=environments[0],
        source=source,
        endpoint=kind.endpoint(made.settings),
        settings=made.settings,
        rules=[rule.stored() for rule in rules],
        actor_kind=actor.kind,
        actor_uuid=actor.uuid,
        actor_name=actor.name,
    )
    sealed = sealed_credentials(migration, credentials)
    with transaction.atomic():
        migration.save(force_insert=True)
        sealed.migration = migration
        sealed.save(force_insert=True)
        _record(migration, actor, Action.MIGRATION_PLAN, {"rules": migration.rules})
    _nudge(migration)
    return migration


def _environments(rules: Sequence[Rule]) -> list[Environment]:
    """Return the environments that rules name, in their order. Raises BadDestination."""
    if not 0 < len(rules) <= MAX_RULES:
        raise BadDestination(f"name 1 to {MAX_RULES} places and where they go", field="rules")
    if len({rule.place for rule in rules}) != len(rules):
        raise BadDestination("name each place once", field="rules")
    uuids = [uuid for rule in rules for uuid in rule.environments.values()]
    found = {str(each.uuid): each for each in Environment.objects.filter(uuid__in=uuids)}
    if not uuids or found.keys() != {*uuids}:
        raise BadDestination("name environments that exist", field="rules")
    return [found[uuid] for uuid in dict.fromkeys(uuids)]


def environments_of(migration: Migration) -> list[Environment]:
    """Return the environments that a migration writes to; those that are gone are left out."""
    uuids = [uuid for rule in migration.rules for uuid in rule["environments"].values()]
    found = {str(each.uuid): each for each in Environment.objects.filter(uuid__in=uuids)}
    return [found[uuid] for uuid in dict.fromkeys(uuids) if uuid in found]


def places_of(migration: Migration) -> list[str]:
    """Return the places of the source that the rules name."""
    return [rule["place"] for rule in migration.rules]


def _require_may_carry(actor: Principal, environment: Environment) -> None:
    for right in (Action.SECRET_IMPORT, Action.SECRET_CREATE):
        if not can_in_any_scope(actor, right, environment):
            require(actor=actor, action=right, environment=environment)


def may_see(actor: Principal, migration: Migration) -> bool:
    """Return whether an actor may see and steer a migration: who may import in all its environments."""
    places = environments_of(migration)
    rights = (Action.SECRET_IMPORT, Action.SECRET_CREATE)
    return bool(places) and all(can_in_any_scope(actor, right, place) for place in places for right in rights)


def visible_migrations(actor: Principal) -> list[Migration]:
    """Return the migrations that an actor may see, the newest first."""
    rows = Migration.objects.select_related("environment")[:_LISTED]
    return [migration for migration in rows if may_see(actor, migration)]


def find_migration(*, actor: Principal, id: int) -> Migration:
    """Return a migration. Raises Invisible if there is none that the actor may see."""
    migration = Migration.objects.select_related("environment").filter(pk=id).first()
    if migration is None:
        raise Invisible("There is no such migration.")
    if not may_see(actor, migration):
        for environment in environments_of(migration):
            # It records the refusal.
            _require_may_carry(actor, environment)
        raise Invisible("There is no such migration.")
    return migration


def require_usable(actor: Principal, migration: Migration) -> None:
    """Raise Forbidden or Invisible, or Tampered."""
    for environment in environments_of(migration) or [migration.environment]:
        _require_may_carry(actor, environment)
    if not verified_rows([migration]):
        raise Tampered("The migration's record was changed outside Keeper; nothing is done.")


def request_apply(
    *, actor: Principal, migration: Migration, digest: str, follow_seconds: int = 0
) -> list[int]:
    """Let a worker store what the plan of this digest has; return the ids of approvals that are still asked.

    In a protected environment the lines wait for an approval of the digest, and the others are carried. With
    `follow_seconds` the source is looked at again until the migration is stopped.

    Raises ApprovalNeeded if each environment waits for one, MigrationNotReady, Forbidden or Invisible,
    Tampered, ApprovalVoid.
    """
    require_usable(actor, migration)
    _require_ready(migration, digest, follow_seconds)
    _require_may_lead(actor, migration)
    asked: list[int] = []
    grants = []
    free: set[str] = set()
    # An approval covers whether the source is followed.
    approvals = migration.approvals if migration.follow_seconds == follow_seconds else {}
    for environment in environments_of(migration):
        if unneeded_approval(actor, environment) or str(environment.uuid) in approvals:
            free.add(str(environment.uuid))
            continue
        try:
            proposal = _proposal(migration, environment, follow_seconds)
            grants.append((environment, require_approval(actor=actor, proposal=proposal)))
        except ApprovalNeeded as error:
            asked.append(error.approval)
    if asked and not grants and not free:
        raise ApprovalNeeded(asked[0])
    with transaction.atomic(), lock_authentic(migration) as stored:
        if (stored.state, stored.plan_digest) != (migration.state, migration.plan_digest):
            raise MigrationNotReady(_MOVED)
        stored.approvals = approvals
        for environment, grant in grants:
            spent = grant.consume(environment, actor=actor, state=_state(stored))
            stored.approvals = {**stored.approvals, str(environment.uuid): spent["approval"]}
        stored.follow_seconds, stored.state = follow_seconds, MigrationState.APPLYING
        stored.attempts, stored.error, stored.due_at = 0, "", None
        stored.save()
        told = {"plan": stored.plan_digest, "counts": stored.counts, "follow": follow_seconds}
        _record(stored, actor, Action.MIGRATION_APPLY, told)
    migration.refresh_from_db()
    _nudge(migration)
    return asked


def _require_may_lead(actor: Principal, migration: Migration) -> None:
    """Refuse whoever may not make the rules that the migration makes for its requester."""
    allowed = [change.stored for change in rule_changes(migration, actor) if change.may]
    for change in rule_changes(migration, migration_principal(migration)):
        if change.may and not any(_is_place(change.stored, rule) for rule in allowed):
            right = Action.SECRET_UPDATE if change.is_new else Action.ENVIRONMENT_UPDATE
            require(actor=actor, action=right, environment=change.stored.environment)


def _is_place(one: MountRule, other: MountRule) -> bool:
    return (one.environment, one.mount, one.folder) == (other.environment, other.mount, other.folder)


def _require_ready(migration: Migration, digest: str, follow_seconds: int) -> None:
    """Raise MigrationNotReady unless the migration waits with the plan of this digest."""
    if follow_seconds and not FOLLOW_SECONDS[0] <= follow_seconds <= FOLLOW_SECONDS[1]:
        raise MigrationNotReady("Follow every 5 minutes to 24 hours.")
    if migration.state not in {MigrationState.PLANNED, MigrationState.FAILED} or not migration.plan_digest:
        raise MigrationNotReady("The migration has no plan that waits to be applied.")
    if not hmac.compare_digest(migration.plan_digest.encode(), digest.encode()):
        raise MigrationNotReady(_MOVED)
    if migration.planned_at is None or migration.planned_at < timezone.now() - PLAN_HOLDS:
        raise MigrationNotReady("The plan is older than 7 days. Plan again.")


def _state(migration: Migration) -> str:
    return str(migration.plan_digest[:32])


def _proposal(migration: Migration, environment: Environment, follow_seconds: int) -> Proposal:
    lines = MigrationLine.objects.filter(
        migration=migration, plan=migration.plan, environment_uuid=environment.uuid
    )
    counts = dict(lines.order_by().values_list("word").annotate(Count("pk")))
    taken = lines.filter(word=Word.CHANGED, chosen=Choice.TAKE).count()
    paths = lines.filter(word=Word.CHANGED, chosen=Choice.TAKE).order_by("place", "path")
    chosen = hashlib.sha256(canonical_json([list(each) for each in paths.values_list("place", "path")]))
    # What it changes for old clients is approved as well.
    paths_led = led(migration, environment)
    return Proposal(
        action=Action.MIGRATION_APPLY,
        environment=environment,
        object=migration.audit_object,
        expected=_state(migration),
        arguments={
            "migration": migration.pk,
            "digest": migration.plan_digest,
            "follow": follow_seconds,
            "taken": taken,
            "chosen": chosen.hexdigest(),
            "mounts": [*paths_led],
        },
        summary=[
            Line("Source", "", f"{SOURCES[migration.source].label}: {migration.endpoint}"),
            *(Line("Rule", "", each) for each in rules_there(migration, environment)),
            *(Line("Old paths", "", each) for each in paths_led),
            *(Line(word.capitalize(), "", str(count)) for word, count in sorted(counts.items())),
            *([Line("Taken from the source", "", str(taken))] if taken else []),
            *(
                [Line("Follow", "", f"every {follow_seconds} seconds until stopped")]
                if follow_seconds
                else []
            ),
        ],
    )


def lines_to_carry(migration: Migration) -> QuerySet[MigrationLine]:
    """Return the lines of the plan by which something is stored."""
    chosen = Q(word__in=[Word.NEW, Word.RENAMED, Word.NEWER]) | Q(word=Word.CHANGED, chosen=Choice.TAKE)
    return MigrationLine.objects.filter(chosen, migration=migration, plan=migration.plan)


def rules_there(migration: Migration, environment: Environment) -> list[str]:
    """Return what goes into an environment, and where, in words."""
    found = []
    for rule in map(Rule.of, migration.rules):
        for folder, uuid in rule.environments.items():
            if uuid == str(environment.uuid):
                where = f"{environment.name}: /{rule.prefix}"
                found.append(f"{'/'.join(filter(None, (rule.place, folder)))} → {where}")
    return found


def led(migration: Migration, environment: Environment | None = None) -> list[str]:
    """Return what becomes of the paths by which old clients ask, in words; of one environment, or of all."""
    return [
        f"{change.stored}: {change.sentence}"
        for change in rule_changes(migration, migration_principal(migration))
        if environment is None or change.stored.environment == environment
    ]


def choose(*, actor: Principal, migration: Migration, line: MigrationLine, choice: Choice) -> None:
    """Choose which side wins where both have changed. Raises MigrationNotReady once it is applied."""
    require_usable(actor, migration)
    if line.word != Word.CHANGED or choice is Choice.SKIP:
        raise MigrationNotReady("There is nothing to choose on this line.")
    with transaction.atomic(), lock_authentic(migration) as stored, lock_authentic(line) as row:
        if (stored.state, stored.plan) != (MigrationState.PLANNED, row.plan):
            raise MigrationNotReady(_MOVED)
        row.chosen = choice
        row.save(update_fields=["chosen"])


def unsettled(migration: Migration) -> list[dict[str, Any]]:
    """Return why lines of the plan cannot be carried, with their number, the most frequent reason first."""
    groups = _refused(migration).order_by().values("word", "reason").annotate(count=Count("pk"))
    return [dict(group) for group in groups.order_by("-count", "word", "reason")[:_LISTED]]


def _refused(migration: Migration) -> QuerySet[MigrationLine]:
    lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan, chosen="")
    return lines.filter(word__in=[Word.REFUSED, Word.UNREADABLE])


def skip(*, actor: Principal, migration: Migration, reason: str) -> int:
    """Settle the lines that cannot be carried for a reason: they stay in the source. Return their number.

    Raises MigrationNotReady once the plan is applied, or is another one.
    """
    require_usable(actor, migration)
    with transaction.atomic(), lock_authentic(migration) as stored:
        if (stored.state, stored.plan) != (MigrationState.PLANNED, migration.plan):
            raise MigrationNotReady(_MOVED)
        lines = verified_rows(_refused(stored).filter(reason=reason).select_related("migration"))
        for line in lines:
            line.chosen = Choice.SKIP
            line.seal_row()
        MigrationLine.objects.bulk_update(lines, ["chosen", "row_mac"], batch_size=500)
        _record(stored, actor, Action.MIGRATION_PLAN, {"skipped": len(lines), "reason": reason})
    return len(lines)


def pause(*, actor: Principal, migration: Migration) -> None:
    """Let no worker go on; what is stored stays. Raises MigrationNotReady."""
    _steer(actor, migration, (*WORKING, MigrationState.FOLLOWING), MigrationState.PAUSED, {"paused": True})


def resume(*, actor: Principal, migration: Migration) -> None:
    """Let a worker go on where it was paused, or where it failed. Raises MigrationNotReady."""
    state = MigrationState.APPLYING if migration.plan_digest else MigrationState.PLANNING
    _steer(actor, migration, (MigrationState.PAUSED, MigrationState.FAILED), state, {"paused": False})
    _nudge(migration)


def plan_again(*, actor: Principal, migration: Migration) -> None:
    """Make the plan anew from what the source has now; approvals of the old one end."""
    before = (MigrationState.PLANNED, MigrationState.FAILED, MigrationState.PAUSED, MigrationState.FOLLOWING)
    _steer(actor, migration, before, MigrationState.PLANNING, {"again": True}, anew=True)
    _nudge(migration)


def stop(*, actor: Principal, migration: Migration) -> None:
    """End a migration: what is stored stays, and the source's credentials are deleted."""
    with transaction.atomic():
        _steer(
            actor,
            migration,
            tuple(each for each in MigrationState if each not in ENDED),
            MigrationState.STOPPED,
            {"credentials": "deleted"},
        )
        SourceCredentials.objects.filter(migration=migration).delete()


def _steer(
    actor: Principal,
    migration: Migration,
    before: Sequence[MigrationState],
    state: MigrationState,
    details: Mapping[str, Json],
    *,
    anew: bool = False,
) -> None:
    """Change the state by an act of a person; a worker that goes on loses its lease."""
    require_usable(actor, migration)
    with transaction.atomic(), lock_authentic(migration) as stored:
        if stored.state not in before:
            raise MigrationNotReady(
                f"The migration is {stored.get_state_display()}: this cannot be done now."
            )
        _change(stored, state, anew=anew)
        action = Action.MIGRATION_PLAN if anew else Action.MIGRATION_STOP
        _record(stored, actor, action, {**details, "state": str(state)})
    migration.refresh_from_db()


def _change(stored: Migration, state: MigrationState, *, anew: bool = False) -> None:
    stored.state, stored.error, stored.attempts, stored.due_at = state, "", 0, None
    stored.lease_owner, stored.lease_until = "", None
    if anew:
        stored.plan += 1
        stored.plan_digest, stored.approvals, stored.follow_seconds = "", {}, 0
    if state in ENDED:
        stored.ended_at = timezone.now()
    stored.save()


def store_plan(migration: Migration, digest: str, renew: Renew) -> None:
    """Note the digest of a plan whose lines are all there; it waits from then on, unless it is of a look."""
    counts = counts_of(migration)
    waits = {"state": MigrationState.PLANNED} if migration.state == MigrationState.PLANNING else {}
    with transaction.atomic():
        renew(**waits)
        migration.refresh_from_db()
        migration.plan_digest, migration.planned_at, migration.counts = digest, timezone.now(), counts
        migration.save(update_fields=["plan_digest", "planned_at", "counts"])
        _record(migration, migration.actor, Action.MIGRATION_PLAN, {"plan": digest, "counts": counts})


def counts_of(migration: Migration) -> dict[str, Any]:
    """Return how many secrets each word and state has, and how many versions are to be carried."""
    lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan).order_by()
    words = dict(lines.values_list("word").annotate(Count("pk")))
    states = dict(lines.values_list("state").annotate(Count("pk")))
    versions = sum(len(each) for each in lines.values_list("versions", flat=True).iterator(2_000))
    return {"secrets": sum(words.values()), "versions": versions, "words": words, "states": states}


def finish_plan(release: Renew) -> None:
    """Let a plan wait for who applies it."""
    release(state=MigrationState.PLANNED, attempts=0, error="", due_at=None)


def begin_next_look(migration: Migration, renew: Renew) -> None:
    """Begin the next plan of a migration that is followed; approvals stay, which were given for that."""
    with transaction.atomic():
        renew()
        migration.refresh_from_db()
        migration.plan += 1
        migration.plan_digest, migration.state = "", MigrationState.APPLYING
        migration.save(update_fields=["plan", "plan_digest", "state"])
        _record(migration, migration.actor, Action.MIGRATION_PLAN, {"follow": migration.follow_seconds})


def finish_apply(migration: Migration, release: Renew) -> None:
    """End the application of a plan: done, followed, or waiting for an approval."""
    migration.refresh_from_db()
    waiting = lines_to_carry(migration).filter(state=LineState.PLANNED).order_by()
    uuids = set(waiting.values_list("environment_uuid", flat=True).distinct())
    names = [each.name for each in environments_of(migration) if each.uuid in uuids]
    error = _WAITS.format(names=", ".join(names))[:500] if uuids else ""
    counts = counts_of(migration)
    # Who it works for is asked again: what they may do by now.
    actor = migration_principal(migration)
    with transaction.atomic():
        if migration.follow_seconds:
            due_at = database_now() + timedelta(seconds=migration.follow_seconds)
            release(state=MigrationState.FOLLOWING, due_at=due_at, attempts=0, error=error, counts=counts)
        elif uuids:
            release(state=MigrationState.PLANNED, attempts=0, error=error, counts=counts)
        else:
            release(counts=counts)
        migration.refresh_from_db()
        if rules := make_rules(migration, actor):
            told: dict[str, Json] = {"plan": migration.plan_digest, "mounts": [str(each) for each in rules]}
            _record(migration, migration.actor, Action.MIGRATION_APPLY, told, beside=rules)
        if migration.follow_seconds or uuids:
            return
        _change(migration, MigrationState.DONE)
        SourceCredentials.objects.filter(migration=migration).delete()
        _record(migration, migration.actor, Action.MIGRATION_STOP, {
            "state": str(MigrationState.DONE), "counts": counts, "credentials": "deleted",
        })  # fmt: skip


def end_overdue() -> int:
    """Stop the migrations whose credentials are 14 days old; return how many those were."""
    old = SourceCredentials.objects.filter(created_at__lt=timezone.now() - CREDENTIALS_LAST)
    ended = 0
    for pk in list(old.values_list("migration_id", flat=True)):
        with transaction.atomic():
            migration = Migration.objects.select_for_update().select_related("environment").get(pk=pk)
            SourceCredentials.objects.filter(migration=migration).delete()
            if migration.state not in ENDED:
                _change(migration, MigrationState.STOPPED)
            _record(
                migration, migration.actor, Action.MIGRATION_STOP, {"credentials": "deleted: 14 days old"}
            )
            ended += 1
    return ended


def _record(
    migration: Migration,
    actor: Actor,
    action: Action,
    details: Mapping[str, Json],
    beside: Sequence[MountRule] = (),
) -> None:
    record(
        actor=actor,
        action=action,
        stream=environment_stream(migration.environment.uuid),
        object=migration.audit_object,
        details={**details, "source": migration.source, **row_digest_entry(migration, *beside)},
    )


def _nudge(migration: Migration) -> None:
    transaction.on_commit(lambda: nudge(CARRY_ON, migration.pk), robust=True)


def parse_rule(text: str, environments: Callable[[str], Environment | None]) -> Rule:
    """Return the rule of a text.

    It is `secret=production`, `secret=production:team` with a prefix, or
    `secret=first-folder:prod=production,stage=staging`. `environments` finds an environment by its name.
    Raises BadDestination.
    """
    place, sign, where = text.partition("=")
    where, _, rest = where.partition(":")
    if not sign or not place.strip("/") or not where:
        raise BadDestination(
            "a rule is PLACE=ENVIRONMENT, or PLACE=first-folder:FOLDER=ENVIRONMENT,…", field="rules"
        )
    how = How.FIRST_FOLDER if where == How.FIRST_FOLDER else How.ALL
    pairs = (
        [pair.partition("=")[::2] for pair in rest.split(",")] if how is How.FIRST_FOLDER else [("", where)]
    )
    found: dict[str, str] = {}
    for folder, name in pairs:
        environment = environments(name)
        if environment is None or (how is How.FIRST_FOLDER and not folder):
            raise BadDestination(f"there is no environment {name[:63]}", field="rules")
        found[folder] = str(environment.uuid)
    prefix = rest.strip("/") if how is How.ALL else ""
    return Rule(place=place.strip("/"), how=how, environments=found, prefix=prefix)
