"""Shows on one screen whether Keeper is well, for a person or for cron."""

import json
import sys
from datetime import datetime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import Count, Max, Min

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.models import Alert
from operations_app.backup import service as backups
from operations_app.frame.navigation import installed_version
from operations_app.health.processes import last_beat
from operations_app.health.service import Result, probes, results, warnings
from operations_app.health.status import standings
from operations_app.system.queues import queues

NEEDS_ATTENTION: Final = 1
CANNOT_SERVE: Final = 2


class Command(BaseCommand):
    """Reads rows, and asks what `/readyz` asks; it changes nothing and records nothing."""

    help = (
        "Show health, workers, backlog, alerts, the last backup and the last verification. "
        "Exits with 0 if all is well, 1 if something needs attention, 2 if Keeper cannot serve."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        serving, impaired = results(), [*warnings(), *probes()]
        findings = _findings(serving, impaired)
        code = _code(findings)
        if options["format"] == "json":
            self.stdout.write(json.dumps({"exit_code": code, **findings}, default=str, indent=2))
        else:
            self._print(findings)
        sys.exit(code)

    def _print(self, findings: dict[str, Any]) -> None:
        self.stdout.write(f"Keeper {findings['version']}: {findings['status']}")
        for check in findings["checks"]:
            if not check["ok"]:
                self.stdout.write(f"  {check['name']}: {check['detail']}")
        for system in findings["systems"]:
            self.stdout.write(
                f"  {system['name']}: {system['state']}; {system['detail']} {system['remedy']}".rstrip("; ")
            )
        self.stdout.write(f"Worker: last scheduled task {_moment(findings['last_beat'])}")
        for queue in findings["queues"]:
            stuck = f", {queue['stuck']} {queue['stuck_words']}" if queue["stuck"] else ""
            self.stdout.write(
                f"{queue['label']}: {queue['waiting']} waiting, {queue['working']} in progress{stuck}"
            )
        for alert in findings["alerts"]:
            self.stdout.write(
                f"Alert: {alert['kind']}, {alert['count']} open since {_moment(alert['since'])}"
            )
        if not findings["alerts"]:
            self.stdout.write("Alerts: none open")
        late = ", which is late" if findings["backup_is_late"] else ""
        self.stdout.write(f"Last backup: {_moment(findings['last_backup'])}{late}")
        self.stdout.write(f"Last verification of the audit log: {_moment(findings['last_verification'])}")


def _findings(serving: list[Result], impaired: list[Result]) -> dict[str, Any]:
    ailing = [system for system in standings(actor=system_principal(is_admin=True)) if system.ails]
    alerts = Alert.objects.filter(open=True).values("kind").order_by("kind")
    verified = AuditEvent.objects.filter(action=Action.TRAIL_VERIFY)
    last_backup = backups.last_success()
    ready, well = all(check.ok for check in serving), all(check.ok for check in impaired)
    return {
        "version": installed_version(),
        "status": "cannot serve" if not ready else "ok" if well and not ailing else "degraded",
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.for_operators}
            for check in (*serving, *impaired)
        ],
        "systems": [
            {"name": system.name, "state": system.state, "detail": system.detail, "remedy": system.remedy}
            for system in ailing
        ],
        "last_beat": last_beat(),
        "queues": [
            {
                "label": queue.label, "waiting": queue.waiting, "working": queue.working,
                "stuck": queue.stuck, "stuck_words": queue.stuck_words,
            }
            for queue in queues()
        ],
        "alerts": list(alerts.annotate(count=Count("pk"), since=Min("opened_at"))),
        "last_backup": last_backup,
        "backup_is_late": backups.is_late(last_backup),
        "last_verification": verified.aggregate(at=Max("at"))["at"],
    }  # fmt: skip


def _code(findings: dict[str, Any]) -> int:
    if findings["status"] == "cannot serve":
        return CANNOT_SERVE
    stuck = any(queue["stuck"] for queue in findings["queues"])
    calm = (
        findings["status"] == "ok" and not findings["alerts"] and not stuck and not findings["backup_is_late"]
    )
    return 0 if calm else NEEDS_ATTENTION


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
