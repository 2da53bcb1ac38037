"""Makes reports: who may, which sections, recorded before anything is read; and what the controls find."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.queries.reports import Cell, Row, Scope, Section, sections
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.errors import BadQuery
from environments_app.authorization.policy import Principal, environments_for, require
from environments_app.authorization.principals import refresh_principal
from keeper_project.reports.controls import CONTROLS, Control

DAYS = 90
ALL = "all"
# The section that can be made of an earlier time.
AS_OF = "access"
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

    The last 90 days where no time is given. `as_of` is for the section of access alone.
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
    if as_of and (key != AS_OF or as_of > now):
        raise BadQuery("as_of", f"Only the section {AS_OF} has an earlier state, and none of the future.")
    title = "Compliance report" if key == ALL else chosen[0].title
    commit_record(
        actor=actor,
        action=Action.REPORT_GENERATE,
        stream=streams.SYSTEM,
        object=AuditObject("report", uuid5(NAMESPACE_URL, f"{deployment_uuid()}/report/{key}"), title),
        details={
            "section": key,
            "since": since.isoformat(),
            "until": until.isoformat(),
            **({"as_of": as_of.isoformat()} if as_of else {}),
        },
    )
    scope = Scope(viewer=actor, since=since, until=until, as_of=as_of)
    return Report(title=title, scope=scope, made_at=now, sections=chosen)


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
