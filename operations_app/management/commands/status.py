"""Shows on one screen whether Keeper is well, for a person or for cron."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseProblem
from django.db.models import Count, Min
from django.utils import timezone

from audit_app.events.actions import Outcome
from core.db.concurrency import reason_of
from core.listing import add_format
from core.ui.times import relative
from environments_app.authorization.principals import system_principal
from environments_app.models import Alert
from environments_app.operator_jobs import last_verification
from operations_app.backup import service as backups
from operations_app.health.processes import last_beat
from operations_app.health.running import WEB, running
from operations_app.health.schema import installed_version, later_migrations, missing_migrations
from operations_app.health.service import UNAVAILABLE, Result, probes, results, verdict, warnings
from operations_app.health.status import REMEDIES, standings
from operations_app.models import System
from operations_app.system.queues import queues

NEEDS_ATTENTION: Final = 1
CANNOT_SERVE: Final = 2


class Command(BaseCommand):
    """Reads rows, and asks what `/readyz` asks; it changes nothing and records nothing."""

    help = (
        "Show health, processes, backlog, alerts, the last backup and the last verification. "
        "Exits with 0 if all is well, 1 if something needs attention, 2 if Keeper cannot serve or the "
        "database does not tell."
    )

    # `keeper check` reports settings; cron wants neither their warnings nor the time that they take.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        findings = _findings()
        code = _code(findings)
        if options["format"] == "json":
            self.stdout.write(json.dumps({"exit_code": code, **findings}, default=str, indent=2))
        else:
            self.stdout.write("\n".join(_lines(findings)))
        sys.exit(code)


def _findings() -> dict[str, Any]:
    """Return what is known; what the schema of another release does not tell is None, named in `unknown`."""
    serving = results()
    if not serving[0].ok:
        # All else would wait for the same database.
        return {"version": installed_version(), "status": UNAVAILABLE, "checks": [_check(serving[0])]}
    impaired = [*warnings(), *probes()]
    found, unknown = dict.fromkeys(_SECTIONS), []
    for name, section in _SECTIONS.items():
        try:
            found[name] = section()
        except DatabaseProblem:
            unknown.append(name)
    alive = found["processes"] or []
    return {
        "version": installed_version(),
        "status": verdict(serving, impaired),
        "checks": [*map(_check, (*serving, *impaired))],
        "serves": any(process["kind"] == WEB for process in alive),
        **found,
        "backup_is_late": backups.is_late(found["last_backup"]),
        "unknown": unknown,
    }


def _check(check: Result) -> dict[str, Any]:
    return {"name": check.name, "ok": check.ok, "detail": _reason(check)}


def _reason(check: Result) -> str:
    """Return why a check failed in the words that other commands print; a page has only their kind."""
    if isinstance(check.condition, DatabaseProblem):
        return reason_of(check.condition)
    return str(check.condition or check.for_operators)


def _systems() -> list[dict[str, str]]:
    """Return what ails."""
    return [
        {"name": system.name, "state": system.state, "detail": system.detail, "remedy": system.remedy}
        for system in standings(actor=system_principal(is_admin=True))
        if system.ails
    ]


def _processes() -> list[dict[str, Any]]:
    return [
        {"kind": each.kind, "host": each.host, "release": each.release, "seen_at": each.seen_at}
        for each in running()
    ]


def _queues() -> list[dict[str, Any]]:
    return [
        {
            "label": queue.label, "waiting": queue.waiting, "working": queue.working,
            "stuck": queue.stuck, "stuck_words": queue.stuck_words, "why": queue.why,
        }
        for queue in queues()
    ]  # fmt: skip


def _alerts() -> list[Any]:
    alerts = Alert.objects.filter(open=True).values("kind").order_by("kind")
    return list(alerts.annotate(count=Count("pk"), since=Min("opened_at")))


def _verification() -> dict[str, Any] | None:
    """Return when the audit log was last verified, also by an administrator's page, and how that went."""
    event = last_verification(actor=system_principal(is_admin=True))
    return {"at": event.at, "sound": event.outcome == Outcome.ALLOWED} if event else None


_SECTIONS: Final[dict[str, Callable[[], Any]]] = {
    "missing_migrations": missing_migrations,
    "later_migrations": later_migrations,
    "processes": _processes,
    "last_beat": last_beat,
    "systems": _systems,
    "queues": _queues,
    "alerts": _alerts,
    "last_backup": backups.last_success,
    "last_verification": _verification,
}


def _code(findings: dict[str, Any]) -> int:
    if findings["status"] == UNAVAILABLE or findings["unknown"] or not findings["serves"]:
        return CANNOT_SERVE
    verified = findings["last_verification"]
    alarming = (
        findings["status"] != "ok",
        findings["later_migrations"],
        findings["systems"],
        findings["alerts"],
        any(queue["stuck"] for queue in findings["queues"]),
        findings["backup_is_late"],
        verified and not verified["sound"],
    )
    return NEEDS_ATTENTION if any(alarming) else 0


def _state(findings: dict[str, Any]) -> str:
    """Return the word of the first line: "ok" goes with exit code 0 alone."""
    words = {0: "ok", NEEDS_ATTENTION: "needs attention", CANNOT_SERVE: "cannot serve"}
    return str(findings["status"]) if findings["status"] != "ok" else words[_code(findings)]


def _lines(findings: dict[str, Any]) -> Iterator[str]:
    """Yield the screen; a section that is unknown is left out and named at the end."""
    yield f"Keeper {findings['version']}: {_state(findings)}"
    for check in findings["checks"]:
        if not check["ok"]:
            yield f"  {check['name']}: {check['detail']}"
    if "serves" not in findings:
        yield f"  {REMEDIES[System.DATABASE]}"
        return
    for system in findings["systems"] or ():
        yield f"  {system['name']}: {system['state']}; {system['detail']} {system['remedy']}".rstrip("; ")
    if later := findings["later_migrations"]:
        yield f"Schema: of a later release, which has {len(later)} more migrations; update this machine"
    yield from _process_lines(findings)
    for queue in findings["queues"] or ():
        why = f": {queue['why']}" if queue["why"] else ""
        stuck = f", {queue['stuck']} {queue['stuck_words']}{why}" if queue["stuck"] else ""
        yield f"{queue['label']}: {queue['waiting']} waiting, {queue['working']} in progress{stuck}"
    for alert in findings["alerts"] or ():
        yield f"Alert: {alert['kind']}, {alert['count']} open since {_moment(alert['since'])}"
    if findings["alerts"] == []:
        yield "Alerts: none open"
    yield from _last_lines(findings)
    if findings["unknown"]:
        yield f"Unknown, as the schema is of another release: {', '.join(findings['unknown'])}"


def _last_lines(findings: dict[str, Any]) -> Iterator[str]:
    if "last_backup" not in findings["unknown"]:
        late = ", which is late" if findings["backup_is_late"] else ""
        yield f"Last backup: {_moment(findings['last_backup'])}{late}"
    if "last_verification" not in findings["unknown"]:
        verified = findings["last_verification"]
        found = "" if not verified else ": no problem found" if verified["sound"] else ": problems found"
        yield f"Last recorded verification of the audit log: {_moment(verified and verified['at'])}{found}"


def _process_lines(findings: dict[str, Any]) -> Iterator[str]:
    counted = Counter((each["kind"], each["release"]) for each in findings["processes"] or ())
    for (kind, release), count in sorted(counted.items()):
        yield f"{kind.capitalize()}: {count} of release {release}"
    if not findings["serves"] and "processes" not in findings["unknown"]:
        yield "Web: no process has stored in the last 90 s that it runs"
    yield f"Worker: last scheduled task {_moment(findings['last_beat'])}"


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC, {relative(at, now=timezone.now())}"
