"""Targets, plans and entries as rows made by hand, for the tests of pages that only show them."""

from typing import Any

from django.utils import timezone

from environments_app.models import Environment
from secrets_app.models import Secret
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.planning.service import rules_snapshot
from sync_app.targets.credentials import seal_credentials


def make_target(environment: Environment, name: str = "vault", **fields: Any) -> Target:
    """Store a target in Vault that nobody connects to."""
    made: dict[str, Any] = {
        "backend": "vault_kv2",
        "destination": {"address": "https://vault.example", "mount": "secret", "prefix": name},
        "endpoint": "https://vault.example",
        "system": f"vault/{environment.uuid}",
        "place": name,
        "interval_seconds": 0,
    }
    target = Target(environment=environment, name=name, **(made | fields))
    seal_credentials(target, {"token": "s.example"})
    target.save()
    return target


def make_plan(target: Target, state: str = "ready", **fields: Any) -> Plan:
    """Store a plan of a target."""
    return Plan.objects.create(
        target=target,
        state=state,
        rules=rules_snapshot(target),
        made_by="alice",
        made_by_kind="user",
        made_by_uuid=target.uuid,
        ready_at=timezone.now(),
        **fields,
    )


def make_item(plan: Plan, name: str, act: str = "create", **fields: Any) -> PlanItem:
    """Store an item of a plan, and count it."""
    item = PlanItem.objects.create(plan=plan, name=name, act=act, **{"reason": "only in Keeper", **fields})
    plan.counts = {**plan.counts, act: plan.counts.get(act, 0) + 1}
    plan.save()
    return item


def make_entry(target: Target, secret: Secret | None, state: str, **fields: Any) -> SyncEntry:
    """Store how a secret stands at a target."""
    name = secret.name if secret else fields.pop("name")
    return SyncEntry.objects.create(
        target=target,
        name=name,
        secret_uuid=secret.uuid if secret else None,
        state=state,
        **{"base_number": 1, "synced_at": timezone.now(), **fields},
    )


def make_run(target: Target, state: str = "running", **fields: Any) -> Run:
    """Store a run of a target."""
    return Run.objects.create(
        target=target,
        state=state,
        active=state in {"queued", "running"} or None,
        trigger="person",
        actor_kind="user",
        actor_uuid=target.uuid,
        actor_name="alice",
        **{"kind": "apply", **fields},
    )
