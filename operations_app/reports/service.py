"""Makes reports: who may, which sections, recorded before anything is read, and the controls they serve.

A section is evidence for controls of four frameworks. A control is named by its number and in words of our
own. A section is evidence that an auditor can examine, never proof that the control is fulfilled. A control
without sections has no evidence in Keeper: it is listed to show that the coverage is incomplete.

Numbers and meanings were compared in November 2026 with what of each framework can be had in public, which
is not all of each: compare a control with your own copy before you rely on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from django.db.models import Q
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.queries.reports import Cell, Row, Scope, Section, sections
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.errors import BadQuery
from environments_app.authorization.policy import Principal, environments_for, require
from environments_app.authorization.principals import refresh_principal
from environments_app.models import Environment
from environments_app.sessions.service import lock_actor

SOC2: Final = "SOC 2"
ISO: Final = "ISO 27001:2022"
PCI: Final = "PCI DSS 4.0.1"
ASVS: Final = "ASVS 5.0"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control of a framework, and the keys of the sections that an auditor looks at for it."""

    framework: str
    number: str
    about: str
    sections: tuple[str, ...] = ()


def _control(framework: str, number: str, about: str, *sections: str) -> Control:
    return Control(framework=framework, number=number, about=about, sections=sections)


CONTROLS: Final = (
    _control(SOC2, "CC6.1", "Logical access is restricted, data protected", "access", "encryption"),
    _control(SOC2, "CC6.2", "Accounts are authorised before use", "people", "privileged", "reviews"),
    _control(SOC2, "CC6.3", "Access follows roles, ends when not needed", "access", "offboarding", "reviews"),
    _control(SOC2, "CC6.4", "Physical access to facilities is restricted"),
    _control(SOC2, "CC6.7", "Data is protected while it is moved", "sync"),
    _control(SOC2, "CC7.2", "Systems are watched for anomalies", "refused", "damage"),
    _control(SOC2, "CC7.3", "Security events are evaluated"),
    _control(SOC2, "CC8.1", "Changes are authorised and recorded", "privileged"),
    _control(ISO, "A.5.3", "Conflicting duties are separated", "hands"),
    _control(ISO, "A.5.15", "Access control", "access", "tokens", "trusts"),
    _control(ISO, "A.5.16", "Identity management", "people", "offboarding"),
    _control(ISO, "A.5.17", "Authentication information", "rotation", "expiry"),
    _control(ISO, "A.5.18", "Rights are reviewed, removed", "reviews", "unreviewed", "access", "offboarding"),
    _control(ISO, "A.5.23", "Use of cloud services", "sync"),
    _control(ISO, "A.8.2", "Privileged access rights", "privileged", "people"),
    _control(ISO, "A.8.13", "Backup of information"),
    _control(ISO, "A.8.15", "Logging, protected against change", "chain"),
    _control(ISO, "A.8.16", "Monitoring activities", "refused", "damage"),
    _control(ISO, "A.8.24", "Use of cryptography", "encryption"),
    _control(PCI, "3.6.1", "Keys that protect stored data are themselves protected", "encryption"),
    _control(PCI, "3.7.4", "Keys are replaced at the end of their cryptoperiod", "encryption"),
    _control(PCI, "7.2.4", "Access is reviewed every six months", "reviews", "unreviewed", "access"),
    _control(PCI, "7.2.5", "Application and system accounts: least rights", "tokens", "trusts", "reviews"),
    _control(PCI, "8.2.5", "Access of those who left is ended at once", "offboarding"),
    # For people: Keeper's reports contain nothing about their passwords.
    _control(PCI, "8.3.9", "People's only passwords are changed, or their accounts' posture analysed"),
    _control(PCI, "8.6.3", "Passwords of applications are changed periodically", "rotation", "inventory"),
    _control(PCI, "10.2.1", "Audit logs are active, and record privileged acts", "privileged", "refused"),
    _control(PCI, "10.3.4", "Audit logs are protected against change", "chain"),
    _control(ASVS, "V8.2", "Functions and data need explicit permissions", "access", "refused"),
    _control(ASVS, "V11.1", "Keys have a life cycle, and are listed", "encryption"),
    _control(ASVS, "V13.3", "Secrets lie in a vault, granted narrowly", "inventory", "expiry", "tokens"),
    _control(ASVS, "V16.2", "Security events are logged with who, what and when", "privileged", "refused"),
    _control(ASVS, "V16.4", "Logs are protected and kept elsewhere", "chain"),
    _control(ASVS, "V15.1", "Components are documented and updated"),
)  # fmt: skip


DAYS = 90
ALL = "all"
# The sections that can be made of an earlier time.
PAST: Final = ("access", "tokens", "trusts")
# A row is read in well under a millisecond, so that a lost right ends a report within a second.
_ROWS_BETWEEN_LOOKS = 500


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that is recorded and may be read: its sections' rows are read as they are passed on."""

    title: str
    scope: Scope
    made_at: datetime
    sections: Sequence[Section]

    def rows(self, section: Section) -> Iterator[Row]:
        """Yield the rows of one section, as long as the viewer may have what they had when it began.

        A report may be long. Raises Forbidden, recorded, once the viewer lost any of it.
        """
        for number, row in enumerate(section.rows(self.scope)):
            if number % _ROWS_BETWEEN_LOOKS == 0:
                self._require_still()
            yield row

    def as_of(self, section: Section) -> datetime | None:
        """Return the time whose state a section shows; None if it shows what happened in a time."""
        if section.of_time:
            return None
        return self.scope.as_of if section.key in PAST and self.scope.as_of else self.made_at

    def state(self, section: Section) -> str:
        """Say as of when a section is; empty if it shows what happened in the time of the report."""
        if (at := self.as_of(section)) is None:
            return ""
        if at != self.made_at:
            return (
                f"As of {at:%Y-%m-%d %H:%M} UTC, by the audit log, in the environments that exist now. "
                "Two-factor, sign-ins and last uses of that time are not in it."
            )
        return f"As of {at:%Y-%m-%d %H:%M} UTC, when this report was made."

    def _require_still(self) -> None:
        viewer = self.scope.viewer
        if isinstance(viewer, Principal):
            now = refresh_principal(viewer)
            if (viewer.sees_installation and not now.sees_installation) or not set(viewer.grants) <= set(
                now.grants
            ):
                nobody = replace(now, is_admin=False, is_auditor=False, grants=())
                require(actor=nobody, action=Action.REPORT_GENERATE, environment=None)


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One control in a report: the sections that are evidence, or "not assessed"."""

    control: Control
    evidence: Sequence[Section]

    @property
    def words(self) -> str:
        """Name the evidence; a report judges nothing."""
        if not self.evidence:
            return "not assessed"
        return "evidence: " + ", ".join(section.title for section in self.evidence)


def offered(*, actor: Principal) -> list[Section]:
    """Return the sections visible to the actor: for managers those of environments. Raises Forbidden."""
    if environments_for(actor, Action.TRAIL_VIEW) is None:
        # Who manages no environment as a whole is refused as an operator's act is, and recorded.
        require(actor=actor, action=Action.REPORT_GENERATE, environment=None)
    return [section for section in sections().values() if actor.sees_installation or not section.operators]


def make(
    *,
    actor: Principal,
    key: str,
    since: datetime | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> Report:
    """Return a report of one section or of all, after recording that it was made.

    The last 90 days where no time is given. `as_of` is for the sections of access, tokens and trusts, which
    in the report of a time that is over are as of its end.
    Raises Forbidden, or BadQuery if there is no such section or the time runs backwards.
    """
    may = offered(actor=actor)
    chosen = may if key == ALL else [section for section in may if section.key == key]
    if not chosen:
        raise BadQuery("section", "Report section not found.")
    now = timezone.now()
    until = until or now
    since = since or until - timedelta(days=DAYS)
    if since >= until:
        raise BadQuery("since", "The start must be before the end.")
    if as_of and (key not in PAST or as_of > now):
        raise BadQuery("as_of", f"Only the sections {', '.join(PAST)} have an earlier state.")
    if as_of is None and until < now and any(section.key in PAST for section in chosen):
        as_of = until
    title = "Compliance report" if key == ALL else chosen[0].title
    deployment = deployment_uuid()
    with _lock_viewer(actor):
        record(
            actor=actor,
            action=Action.REPORT_GENERATE,
            stream=streams.SYSTEM,
            object=AuditObject("report", uuid5(NAMESPACE_URL, f"{deployment}/report/{key}"), title),
            details={
                "section": key,
                "since": since.isoformat(),
                "until": until.isoformat(),
                **({"as_of": as_of.isoformat()} if as_of else {}),
            },
        )
    scope = Scope(viewer=actor, since=since, until=until, as_of=as_of)
    return Report(title=title, scope=scope, made_at=now, sections=chosen)


def _lock_viewer(actor: Principal) -> AbstractContextManager[None]:
    """Ask again for the right of `offered`, in the transaction that records a report."""
    if actor.sees_installation:
        return lock_actor(actor, Action.TRAIL_VIEW)
    managed = Environment.objects.filter(environments_for(actor, Action.TRAIL_VIEW) or Q(pk=None))
    return lock_actor(actor, Action.TRAIL_VIEW, managed.order_by("pk").first())


def findings(report: Report) -> list[ReportRow]:
    """Return the result for each control; "not assessed" without evidence."""
    sections_by_key = {section.key: section for section in report.sections}
    return [
        ReportRow(
            control=control,
            evidence=[sections_by_key[key] for key in control.sections if key in sections_by_key],
        )
        for control in CONTROLS
    ]


def plain(cell: Cell) -> str:
    """Return a cell as text for people."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return str(cell)
