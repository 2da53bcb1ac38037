"""The pages of acts in the admin: a button of an object, an entry of its list, or both.

Each act shows first what will happen to which rows, then the result for each row. What is shown once, such as
a token, is in the answer to the POST alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_variables

from environments_app.authentication.drf import principal_of
from environments_app.authorization.act import Act, Shown
from environments_app.authorization.policy import Principal, record_denial
from environments_app.errors import AccessError, ConfirmationNeeded
from environments_app.forms.authentication import confirm_link

MAX_ROWS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an act ended for one row; `unconfirmed` if the actor has to prove who they are first.

    `field` is the field of the form that was refused, if one was.
    """

    row: str
    done: str = ""
    problem: str = ""
    shown: Shown = field(default_factory=Shown)
    field: str = ""
    unconfirmed: bool = False

    @property
    def ok(self) -> bool:
        """Whether it was done, and found nothing wrong."""
        return not self.problem and self.shown.ok


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic to the type checker only
    ModelAdmin = admin.ModelAdmin

# The answer to the question, in the form that asked it.
_AGREED = "agreed"


class ActsAdmin(ModelAdmin):
    """Adds the `acts` of a model to its pages; see `offer`."""

    acts: ClassVar[tuple[Act, ...]] = ()
    refusals: ClassVar[tuple[type[Exception], ...]] = (AccessError,)

    def get_urls(self) -> list[URLPattern]:
        base = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path("acts/<slug:act>/", self.admin_site.admin_view(self.list_act_view), name=f"{base}_act"),
            path(
                "<path:object_id>/acts/<slug:act>/",
                self.admin_site.admin_view(self.object_act_view),
                name=f"{base}_object_act",
            ),
        ]
        return [*own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = dict(super().get_actions(request) or {})
        if getattr(request.user, "is_admin", False) and request.GET.get("_popup") is None:
            offered = [act for act in self.acts if act.takes and act.bulk]
            actions.update({act.name: (_bulk(act), act.name, act.label) for act in offered})
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        actor = principal_of(request)
        offered = [act for act in self.acts if not act.takes and act.listed and act.permitted(actor, None)]
        links = [
            {"act": act, "url": reverse(self._name("act"), args=[act.name], current_app=self.admin_site.name)}
            for act in offered
        ]
        return super().changelist_view(request, {**(extra_context or {}), "acts": links})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row, actor = kwargs.get("obj"), principal_of(request)
        if row is not None:
            context["acts"] = [
                {"act": act, "url": reverse(self._name("object_act"), args=[row.pk, act.name])}
                for act in self.acts
                if act.takes and not act.objection(actor, row)
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def list_act_view(self, request: HttpRequest, act: str) -> HttpResponse:
        chosen = self._act(act)
        if chosen.takes:
            raise Http404
        return self._answer(request, chosen, [None], back=reverse(self._name("changelist")))

    def object_act_view(self, request: HttpRequest, object_id: str, act: str) -> HttpResponse:
        chosen, row = self._act(act), self.get_object(request, unquote(object_id))
        if row is None or not chosen.takes:
            raise Http404
        return self._answer(request, chosen, [row], back=reverse(self._name("change"), args=[row.pk]))

    def run_bulk(self, request: HttpRequest, act: Act, rows: QuerySet[Any]) -> HttpResponse:
        """Ask about an act on the chosen rows of the list, or carry it out once that was agreed to."""
        back = request.get_full_path()
        selected = list(rows[: MAX_ROWS + 1])
        if len(selected) > MAX_ROWS:
            self.message_user(request, f"At most {MAX_ROWS} rows at a time.", messages.ERROR)
            return HttpResponseRedirect(back)
        hidden = {
            "action": [act.name],
            "select_across": [request.POST.get("select_across", "0")],
            ACTION_CHECKBOX_NAME: request.POST.getlist(ACTION_CHECKBOX_NAME),
        }
        return self._answer(request, act, selected, back=back, hidden=hidden, agreed=_AGREED in request.POST)

    @sensitive_variables("outcomes")
    def _answer(
        self,
        request: HttpRequest,
        act: Act,
        rows: Sequence[Any],
        *,
        back: str,
        hidden: dict[str, list[str]] | None = None,
        agreed: bool | None = None,
    ) -> HttpResponse:
        actor = self._require_administrator(request, act)
        posted = request.method == "POST" if agreed is None else agreed
        make = act.form_of(rows[0]) if act.form_of else act.form
        form = (make(request.POST) if posted else make()) if make else None
        if not posted or (form is not None and not form.is_valid()):
            return self._question(request, act, rows, form, back=back, hidden=hidden or {})
        given = form.cleaned_data if form else {}
        outcomes = [self._outcome(act, actor, row, given) for row in rows]
        if form is not None and len(outcomes) == 1 and outcomes[0].problem:
            # The same form once more, so that what was typed stays.
            _show_refusal(form, outcomes[0])
            return self._question(request, act, rows, form, back=back, hidden=hidden or {})
        return self._result(request, act, outcomes, back=back)

    @sensitive_variables("result")
    def _outcome(self, act: Act, actor: Principal, row: Any, given: dict[str, Any]) -> Outcome:
        """Run an act for one row and return how it ended; a refusal is a result, not an error."""
        label = act.named(row) if act.takes else ""
        if reason := (act.against(row) if act.takes else ""):
            return Outcome(row=label, problem=reason)
        try:
            result = act.perform(actor=actor, row=row, **given)
        except ConfirmationNeeded as error:
            return Outcome(row=label, problem=str(error), unconfirmed=True)
        except self.refusals as error:
            return Outcome(row=label, problem=str(error), field=getattr(error, "field", ""))
        done = act.done.format(row=row, result=result, **given)
        return Outcome(row=label, done=done, shown=act.show(result) if act.show else Shown())

    def _require_administrator(self, request: HttpRequest, act: Act) -> Principal:
        actor = principal_of(request)
        if not actor.is_admin:
            record_denial(actor=actor, action=act.permission, environment=None)
            raise PermissionDenied
        return actor

    def _question(
        self,
        request: HttpRequest,
        act: Act,
        rows: Sequence[Any],
        form: forms.Form | None,
        *,
        back: str,
        hidden: dict[str, list[str]],
    ) -> HttpResponse:
        actor = principal_of(request)
        listed = [_described(act, actor, row) for row in rows if act.takes]
        context = {
            "title": f"{act.label}?",
            "form": form,
            "rows": listed,
            "hidden": hidden,
            "agreed": _AGREED,
            "possible": not listed or any(not row_facts["objection"] for row_facts in listed),
        }
        return self._page(request, "admin/act.html", act, context, back=back)

    @sensitive_variables("outcomes")
    def _result(
        self, request: HttpRequest, act: Act, outcomes: Sequence[Outcome], *, back: str
    ) -> HttpResponse:
        only = outcomes[0] if len(outcomes) == 1 else None
        if only and only.ok and not (only.shown.lines or only.shown.once):
            self.message_user(request, f"{only.done} ({only.row})" if only.row else only.done)
            return HttpResponseRedirect(back)
        unconfirmed = any(outcome.unconfirmed for outcome in outcomes)
        context = {
            "title": act.label,
            "outcomes": outcomes,
            "succeeded": sum(outcome.ok for outcome in outcomes),
            "confirm": confirm_link() if unconfirmed else "",
        }
        response = self._page(request, "admin/act_result.html", act, context, back=back)
        add_never_cache_headers(response)
        return response

    def _page(
        self, request: HttpRequest, template: str, act: Act, context: dict[str, Any], *, back: str
    ) -> HttpResponse:
        shown = {
            **self.admin_site.each_context(request),
            **context,
            "opts": self.opts,
            "media": self.media,
            "act": act,
            "back": back,
        }
        return TemplateResponse(request, template, shown)

    def _act(self, name: str) -> Act:
        for act in self.acts:
            if act.name == name:
                return act
        raise Http404

    def _name(self, page: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"


def _show_refusal(form: forms.Form, outcome: Outcome) -> None:
    find = getattr(form, "field_of", None)
    name = find(outcome.field) if find else outcome.field
    form.add_error(
        name if name in form.fields else None, confirm_link() if outcome.unconfirmed else outcome.problem
    )


def _described(act: Act, actor: Principal, row: Any) -> dict[str, Any]:
    objection = act.objection(actor, row)
    lines = act.foresee(actor, row) if act.foresee and not objection else ()
    return {"row": act.named(row), "objection": objection, "lines": lines}


def _bulk(act: Act) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse]:
    def run(page: ActsAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        return page.run_bulk(request, act, rows)

    return run


def offer(model: type[Model], *acts: Act, refusals: tuple[type[Exception], ...] = ()) -> None:
    """Offer acts on the pages of a model that is registered already, beside those that it has.

    `refusals` are what use cases raise to refuse.
    """
    page = admin.site._registry[model]  # noqa: SLF001 - the registered page has no other name
    admin.site.unregister(model)
    acts = tuple(act for act in acts if act.in_admin and act.confirmation)
    refused: tuple[type[Exception], ...] = (AccessError, *refusals)
    bases: tuple[type, ...] = (ActsAdmin, type(page))
    if isinstance(page, ActsAdmin):
        acts, refused, bases = (*page.acts, *acts), (*page.refusals, *refused), (type(page),)
    admin.site.register(model, type(type(page).__name__, bases, {"acts": acts, "refusals": refused}))
