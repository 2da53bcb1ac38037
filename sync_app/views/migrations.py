"""The pages of migrations: the list, a new one, and one with its plan."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, visible_environments
from environments_app.errors import AccessError, Conflict, InvalidField
from environments_app.models import Environment
from environments_app.views.base import as_sentence, attempt, is_partial, render_page
from secrets_app.errors import KeyRefused, KeyUnavailable
from sync_app.errors import SyncError
from sync_app.forms.migration import FollowForm, MigrationForm
from sync_app.migration import service
from sync_app.migration.sources.registry import SOURCES
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import ENDED, WORKING, Choice, LineState, MigrationState, Word
from sync_app.views.base import REFUSALS, page_of, refused

_SHOWN: Final[dict[str, Any]] = {
    "refusals": (InvalidField, Conflict, AccessError, SyncError, KeyUnavailable, KeyRefused),
    "sentence": as_sentence,
}


# As many are listed while rules are written.
_RULES_LENGTH: Final = 20_000


@require_GET
def migration_list(request: HttpRequest) -> HttpResponse:
    rows = service.visible_migrations(principal_of(request))
    kinds = [
        {"label": source.label, "url": f"{reverse('migration-new')}?source={kind}"}
        for kind, source in SOURCES.items()
        if not source.by_command
    ]
    context = {"rows": rows, "kinds": kinds}
    return render_page(request, "sync_app/migration_list.html", context)


@require_http_methods(["GET", "POST"])
def migration_new(request: HttpRequest) -> HttpResponse:
    """Start a migration from a source of the kind that the address names, `like` another one."""
    actor, kind = principal_of(request), request.GET.get("source", "vault")
    source = SOURCES.get(kind)
    if source is None or source.by_command:
        raise Http404
    given: dict[str, Any] = {
        "source": source,
        "environments": Environment.objects.filter(visible_environments(actor)),
    }
    like = request.GET.get("like", "")
    if request.method == "GET" and like.isdecimal():
        other = service.find_migration(actor=actor, id=int(like))
        if other.source != kind:
            raise Http404
        form = MigrationForm.like(other, **given)
    else:
        form = MigrationForm(request.POST or None, **given)
    if request.method == "GET" and is_partial(request):
        examples = form.examples(request.GET.get("rules", "")[:_RULES_LENGTH])
        return render_page(request, "sync_app/_migration_examples.html", {"examples": examples})
    if request.method == "POST" and form.is_valid():
        migration = attempt(form, lambda: _start(actor, kind, form), **_SHOWN)
        if migration is not None:
            messages.success(request, "Migration started. Keeper makes the plan; nothing is written yet.")
            return redirect("migration-detail", id=migration.pk)
    return render_page(
        request,
        "sync_app/migration_form.html",
        {"form": form, "kind": source.label, "source": kind, "needs": source.needs},
    )


def _start(actor: Principal, kind: str, form: MigrationForm) -> Migration:
    return service.start(
        actor=actor,
        source=kind,
        settings=form.settings,
        credentials=form.credentials,
        rules=form.cleaned_data["rules"],
    )


@require_GET
def migration_detail(request: HttpRequest, id: int) -> HttpResponse:
    migration = service.find_migration(actor=principal_of(request), id=id)
    word, state = request.GET.get("word", ""), request.GET.get("state", "")
    lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan)
    if word:
        lines = lines.filter(word=word)
    if state:
        lines = lines.filter(state=state)
    rows, links = page_of(request, lines, by="path")
    counts = migration.counts or {}
    carried = MigrationLine.objects.filter(migration=migration, plan=migration.plan, state=LineState.CARRIED)
    live = migration.state in WORKING
    context = {
        "migration": migration,
        "source": SOURCES[migration.source].label,
        # Of who has a shell: no page starts it, and it has no credentials.
        "by_command": SOURCES[migration.source].by_command,
        "environments": service.environments_of(migration),
        "rules": migration.rules,
        "rows": rows,
        "word": word,
        "words": [
            (each, counts.get("words", {}).get(each, 0)) for each in Word if counts.get("words", {}).get(each)
        ],
        "counts": counts,
        "carried": carried.count() if live else counts.get("states", {}).get(LineState.CARRIED, 0),
        "seen": lines.count() if live else counts.get("secrets", 0),
        "left": counts.get("states", {}).get(LineState.LEFT, 0),
        "live": live,
        "unsettled": service.unsettled(migration) if migration.state == MigrationState.PLANNED else [],
        "led": service.led(migration) if migration.state == MigrationState.PLANNED else [],
        "live_url": request.get_full_path(),
        "follow": FollowForm(),
        "can_apply": migration.state == MigrationState.PLANNED and bool(migration.plan_digest),
        "can_choose": migration.state == MigrationState.PLANNED,
        "can_pause": migration.state in {*WORKING, MigrationState.FOLLOWING},
        "can_resume": migration.state in {MigrationState.PAUSED, MigrationState.FAILED},
        "can_plan": migration.state not in {*ENDED, *WORKING},
        "can_stop": migration.state not in ENDED,
        "changed": Word.CHANGED,
    }
    response = render_page(
        request,
        "sync_app/migration_detail.html",
        context | links,
        partial="sync_app/_migration.html",
        refused=False,
    )
    if is_partial(request) and not live:
        # What can be done has changed, above the part as well.
        response["HX-Refresh"] = "true"
    return response


@require_POST
def migration_act(request: HttpRequest, id: int, act: str) -> HttpResponse:
    """Do to a migration what its page offers."""
    actor = principal_of(request)
    if act not in _ACTS:
        raise Http404
    migration = service.find_migration(actor=actor, id=id)
    try:
        messages.success(request, _ACTS[act](request, actor, migration))
    except REFUSALS as error:
        return refused(request, error, reverse("migration-detail", args=[id]))
    return redirect("migration-detail", id=id)


def _apply(request: HttpRequest, actor: Principal, migration: Migration) -> str:
    form = FollowForm(request.POST)
    seconds = int(form.cleaned_data["follow_seconds"] or 0) if form.is_valid() else 0
    asked = service.request_apply(
        actor=actor, migration=migration, digest=request.POST.get("plan", ""), follow_seconds=seconds
    )
    return "An approval is needed; the request was created." if asked else "The plan is being applied."


def _choose(request: HttpRequest, actor: Principal, migration: Migration) -> str:
    line = MigrationLine.objects.filter(migration=migration, uuid=_uuid(request.POST.get("line", ""))).first()
    choice = request.POST.get("choice", "")
    if line is None or choice not in set(Choice):
        raise Http404
    service.choose(actor=actor, migration=migration, line=line, choice=Choice(choice))
    return "The source's value will be appended." if choice == Choice.TAKE else "Keeper's value stays."


def _skip(request: HttpRequest, actor: Principal, migration: Migration) -> str:
    count = service.skip(actor=actor, migration=migration, reason=request.POST.get("reason", ""))
    return f"{count:,} settled: {'it stays' if count == 1 else 'they stay'} in the source."


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


def _said(act: Callable[..., None], sentence: str) -> Callable[[HttpRequest, Principal, Migration], str]:
    def do(_request: HttpRequest, actor: Principal, migration: Migration) -> str:
        act(actor=actor, migration=migration)
        return sentence

    return do


_ACTS: Final = {
    "apply": _apply,
    "choose": _choose,
    "skip": _skip,
    "again": _said(service.plan_again, "Keeper makes the plan again."),
    "pause": _said(service.pause, "Paused. What is written stays."),
    "resume": _said(service.resume, "The migration goes on."),
    "stop": _said(
        service.stop, "Stopped. What is written stays; the credentials were deleted. Revoke them there."
    ),
}
