"""Imports entries of a file: what is new all or none, what changes one by one, by a plan that was seen.

A request writes for PART_SECONDS at most. What is left is written by the next request, for which the client
sends the file again: between two of them nothing of the file is stored (ADR 20).
"""

import hmac
import time
from collections.abc import Sequence
from typing import Final

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Principal
from environments_app.errors import ApprovalNeeded
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, NameTaken
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import Line, Plan, PlanChanged, Verdict, plan_import
from secrets_app.services.bulk_create import NewSecret, create_many
from secrets_app.services.write import update
from secrets_app.values.batch_results import ItemResult, run_item

# Well below the 60 seconds after which proxies give a request up.
PART_SECONDS: Final = 20.0
_COMMENT: Final = "imported"


def import_entries(
    *,
    actor: Principal,
    environment: Environment,
    entries: Sequence[Entry],
    keep_existing: bool = False,
    digest: str | None = None,
    after: int | None = None,
) -> tuple[Plan, list[ItemResult]]:
    """Carry out an import, or a part of it; return its plan, and a result for each entry that was looked at.

    `digest` is that of the previewed plan, `after` the index of the last entry of an earlier part. Refused
    entries are left out. `left_over` returns what the next part has to write.

    Raises PlanChanged if the plan is another by now, NameTaken if a new name was taken meanwhile (nothing is
    written then), TooManyItems, KeyUnavailable, and Forbidden or Invisible.
    """
    plan = plan_import(actor=actor, environment=environment, entries=entries, keep_existing=keep_existing)
    if digest is not None and not hmac.compare_digest(plan.digest.encode(), digest.encode()):
        raise PlanChanged(plan)
    # The first part creates all that is new.
    new = plan.of(Verdict.NEW) if after is None else []
    changed = [line for line in plan.of(Verdict.CHANGED) if after is None or line.index > after]
    commit_record(
        actor=actor,
        action=Action.SECRET_IMPORT,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={"new": len(new), "changed": len(changed), "refused": len(plan.of(Verdict.REFUSED))},
    )
    ends = time.monotonic() + PART_SECONDS
    results = _create(actor, environment, new)
    for line in changed:
        results.append(_change(actor, line))
        # One at least is changed.
        if time.monotonic() >= ends:
            break
    return plan, results


def left_over(plan: Plan, results: Sequence[ItemResult], *, after: int | None = None) -> list[Line]:
    """Return the changes that a part did not come to, in the order of the file."""
    seen = {result.name for result in results}
    begin = -1 if after is None else after
    return [line for line in plan.of(Verdict.CHANGED) if line.index > begin and line.entry.name not in seen]


def _create(actor: Principal, environment: Environment, lines: Sequence[Line]) -> list[ItemResult]:
    if not lines:
        return []
    items = [
        NewSecret(
            environment=environment,
            name=line.entry.name,
            secret_type=line.secret_type,
            value=line.entry.value,
            comment=_COMMENT,
            metadata=line.entry.metadata,
        )
        for line in lines
    ]
    try:
        secrets = create_many(actor=actor, items=items)
    except ApprovalNeeded as error:
        # The rest of the file is told apart, and asks for itself.
        return [ItemResult(name=line.entry.name, done=False, reason=str(error)) for line in lines]
    except NameTaken as error:
        raise NameTaken(
            "A name of the file was taken meanwhile. Nothing was written. Preview the file again."
        ) from error
    return [
        ItemResult(name=secret.name, done=True, word="created", secret_id=secret.pk) for secret in secrets
    ]


def _change(actor: Principal, line: Line) -> ItemResult:
    if (secret := line.secret) is None:
        raise AssertionError("only what exists changes")

    def write() -> int:
        if secret.uses_references:
            reason = "This secret resolves references, and an import is literal. Change it on its page."
            raise InvalidInput("value", reason)
        update(
            actor=actor,
            secret=secret,
            value=line.entry.value,
            secret_type=line.secret_type,
            expected=secret.etag,
            comment=_COMMENT,
            # What is deleted because its current version is comes back by a new one.
            anew=secret.is_withdrawn,
            **line.entry.metadata,
        )
        return int(secret.pk)

    return run_item(line.entry.name, write, word="changed")
