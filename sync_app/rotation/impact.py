"""Where copies of a secret are, and what breaks if it is rotated now; nothing is opened or contacted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.effective_access import PERSON
from environments_app.authorization.policy import Principal, allows
from secrets_app.models import Secret
from secrets_app.rows.references import secrets_that_follow
from secrets_app.services.share import open_shares
from secrets_app.services.usage import Reader, UsageReport
from sync_app.domain.delivery_state import ALERTING
from sync_app.models import SyncEntry, Target
from sync_app.rotation.execution.consumers import explain_lag, find_unacknowledged
from sync_app.rotation.lookup import policy_of
from sync_app.rotation.status import working_rotations
from sync_app.state.references import ReferenceRights, load_resolutions

# A program that uses it at least twice a day follows a change by itself.
_OFTEN: Final = timedelta(hours=12)
_SILENT: Final = timedelta(days=7)
_OLD_DAYS: Final = 365
_MANY_UNUSED: Final = 10
_MODIFIED: Final = "modified outside Keeper"
_ELSEWHERE: Final = "another target"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A copy or consumer, and the evidence."""

    what: str
    why: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What breaks, follows by itself, has to be waited for, and speaks for a rotation; and all copies."""

    breaks: list[Line] = field(default_factory=list)
    follows: list[Line] = field(default_factory=list)
    waits: list[Line] = field(default_factory=list)
    reasons: list[Line] = field(default_factory=list)
    copies: list[Line] = field(default_factory=list)
    # How long the old value keeps working.
    overlap: str = "The old value ends when it is changed: no rotation policy keeps it working."

    @property
    def consumers(self) -> int:
        return len(self.breaks) + len(self.follows)

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        if not self.breaks:
            return "Nothing known breaks. Files that people exported cannot be followed."
        names = ", ".join(line.what for line in self.breaks[:5])
        rest = len(self.breaks) - 5
        more = f" and {rest} more" if rest > 0 else ""
        return f"{len(self.breaks)} of {self.consumers} consumers would keep the old value: {names}{more}."


def impact_of(*, actor: Principal, secret: Secret, report: UsageReport) -> Impact:
    """Return what is known to happen if a secret is rotated now, from its use and its deliveries."""
    policy = policy_of(secret)
    impact = Impact(overlap=_overlap(policy.grace_seconds)) if policy else Impact()
    written_at = secret.rotated_at or secret.created_at
    for reader in [*report.readers, *report.ghosts]:
        _place_reader(impact, secret, reader, written_at)
    _place_targets(impact, actor, secret)
    _place_followers(impact, actor, secret)
    for share in open_shares(secret=secret):
        until = f"unopened, made of v{share.number}, ends {share.expires_at:%d %b %Y %H:%M} UTC"
        line = Line(what="one-time link", why=until)
        impact.breaks.append(line)
        impact.copies.append(line)
    _place_confirmations(impact, secret)
    if policy is None:
        impact.reasons.append(Line(what="no policy", why="No rotation policy: the value is changed by hand."))
    elif rotation := working_rotations([policy]).get(policy.pk):
        why = f"at step {rotation.step}, since {rotation.queued_at:%d %b %H:%M} UTC"
        url = reverse("rotation-policy", args=[policy.pk])
        impact.waits.append(Line(what="a rotation", why=why, url=url))
    impact.reasons.extend(_reasons(report, written_at))
    return impact


def _overlap(seconds: int) -> str:
    if not seconds:
        return "The old value ends at once: its policy has no overlap."
    return f"The old value keeps working for {_words(timedelta(seconds=seconds))}."


def _place_reader(impact: Impact, secret: Secret, reader: Reader, written_at: datetime) -> None:
    now, used_at = timezone.now(), reader.last_used_at
    if reader.exported_at and reader.kind == PERSON:
        # The list of an environment is one event, whether a file was made of it or a program started with it.
        why = (
            f"took it by an export, kpr run or another list of values, {reader.exported_at:%d %b %Y}, "
            f"{_held(reader)}: Keeper does not know whether a file was made"
        )
        impact.copies.append(Line(what=reader.name, why=why))
    hours = secret.environment.offline_hours
    if hours and reader.exported_at and reader.exported_at > now - timedelta(hours=hours):
        until = reader.exported_at + timedelta(hours=hours)
        why = f"may keep an offline copy until {until:%d %b %H:%M} UTC, {_held(reader)}"
        impact.copies.append(Line(what=reader.name, why=why))
    # A person reads again when they need it; a program that may not read any more gets nothing new.
    if reader.kind == PERSON or used_at is None or not reader.why:
        return
    often = reader.interval
    held = f"{_held(reader)}, last used {used_at:%d %b %Y %H:%M} UTC"
    if used_at < written_at:
        impact.breaks.append(Line(what=reader.name, why=f"holds an older value: {held}"))
    elif reader.count <= 1 and reader.asked_at is None and used_at < now - _SILENT:
        impact.breaks.append(Line(what=reader.name, why=f"reads at start only, restart it: {held}"))
    elif (often and often <= _OFTEN and used_at > now - 2 * _OFTEN) or _polls(reader, now):
        words = f"reads about every {_words(often)}" if often and often <= _OFTEN else "asks by itself"
        impact.follows.append(Line(what=reader.name, why=f"{words}: {held}"))
    else:
        why = f"reads about every {_words(often)}: {held}" if often else f"was seen reading once: {held}"
        impact.waits.append(Line(what=reader.name, why=why))


def _polls(reader: Reader, now: datetime) -> bool:
    return reader.asked_at is not None and reader.asked_at > now - 2 * _OFTEN


def _held(reader: Reader) -> str:
    return f"v{reader.holds}" if reader.holds else "version unknown"


def _words(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _place_targets(impact: Impact, actor: Principal, secret: Secret) -> None:
    entries = SyncEntry.objects.filter(secret_uuid=secret.uuid, target__live=True)
    rows = list(entries.select_related("target__environment").defer("target__credentials"))
    genuine = {row.pk for row in verified_rows(rows)}
    for row in rows:
        target = row.target
        visible = _sees(actor, target)
        url = reverse("target-detail", args=[target.pk]) if visible else ""
        name = f"{target.name} ({target.backend})" if visible else _ELSEWHERE
        version = f"v{row.base_number}" if row.base_number else "no version known"
        state = _MODIFIED if row.pk not in genuine else str(row.state).replace("_", " ")
        impact.copies.append(Line(what=name, why=f"{version}, {state}", url=url))
        why = _obstacle(row, is_genuine=row.pk in genuine)
        if why:
            impact.breaks.append(Line(what=name, why=why, url=url))
        else:
            synced = f", last in sync {row.synced_at:%d %b %H:%M} UTC" if row.synced_at else ""
            impact.follows.append(Line(what=name, why=f"delivered automatically: {version}{synced}", url=url))
    if lag := explain_lag(secret):
        impact.waits.append(Line(what="targets", why=lag))


def _obstacle(row: SyncEntry, *, is_genuine: bool) -> str:
    target = row.target
    if not is_genuine:
        return _MODIFIED
    if target.paused_at:
        return "the target is paused"
    if row.state in ALERTING:
        return str(row.state).replace("_", " ")
    if target.failures:
        return f"its last {target.failures} runs failed"
    return "" if target.automatic else "waits for a plan that a person applies"


def _sees(actor: Principal, target: Target) -> bool:
    return allows(actor, Action.TARGET_VIEW, environment_id=target.environment_id, name=str(target.scope))


def _place_followers(impact: Impact, actor: Principal, secret: Secret) -> None:
    followers = secrets_that_follow(secret)
    if not followers:
        return
    resolutions = load_resolutions(followers)
    entries = SyncEntry.objects.filter(secret_uuid__in=list(resolutions), target__live=True)
    by_uuid = {follower.uuid: follower for follower in followers}
    for row in entries.select_related("target__environment").defer("target__credentials"):
        follower = by_uuid.get(row.secret_uuid)
        if follower is None:
            continue
        refusal = ReferenceRights(row.target).explain_refusal(resolutions[follower.uuid])
        line = _follower_line(actor, follower, row.target, refusal)
        impact.copies.append(line)
        (impact.breaks if refusal else impact.follows).append(line)


def _follower_line(actor: Principal, follower: Secret, target: Target, refusal: str) -> Line:
    place = follower.environment_id
    seen = allows(actor, Action.SECRET_VIEW, environment_id=place, name=follower.name)
    name = f"{follower.environment.name}/{follower.name}" if seen else "a secret that refers to this one"
    where = f" at {target.name}" if _sees(actor, target) else ""
    url = reverse("secret-detail", args=[follower.pk]) if seen else ""
    return Line(what=f"reference {name}{where}", why=refusal or "resolved at its next delivery", url=url)


def _place_confirmations(impact: Impact, secret: Secret) -> None:
    for row in find_unacknowledged(secret):
        why = f"confirmed v{row.number}, and not v{secret.current_number}"
        impact.waits.append(Line(what=str(row.consumer_name), why=why))


def _reasons(report: UsageReport, written_at: datetime) -> Iterator[Line]:
    for ghost in report.ghosts:
        why = ", ".join(ghost.hindrances)
        # Who never had this secret knows the value by another, which is among the reasons.
        yield Line(what=ghost.name, why=f"knows {_held(ghost)}: {why}" if ghost.holds else why)
    days = (timezone.now() - written_at).days
    if days > _OLD_DAYS:
        yield Line(what="age", why=f"The value is {days} days old.")
    exported = [reader.name for reader in report.readers if reader.kind == PERSON and reader.exported_at]
    if exported:
        yield Line(what="exports and kpr run by people", why=", ".join(exported))
    unused = sum(reader.people for reader in report.readers if not reader.is_used)
    if unused > _MANY_UNUSED:
        yield Line(what="unused readers", why=f"{unused} may read it and never did.")
