"""The pages of access reviews: all of them, and one with what its viewer decides."""

from functools import cache
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from core.errors import KeeperError
from core.pagination import KeysetPagination
from core.parsing import whole_number
from environments_app import acts
from environments_app.authentication.drf import principal_of
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, allows, environments_for, require
from environments_app.errors import ConfirmationNeeded
from environments_app.models import AccessKind, Decision, Environment, Review, ReviewItem, Role, UserRole
from environments_app.names import MAX_PREFIX
from environments_app.reviews import service as reviews
from environments_app.reviews.coverage import GAP_DAYS, MAX_GAP_DAYS, visible_gaps, without_access
from environments_app.reviews.decisions import UNCHANGED, Less, decide
from environments_app.reviews.population import (
    BACK_OTHERWISE,
    digest_of_given,
    key_of,
    lines_for,
    unsettled,
)
from environments_app.reviews.reviewers import candidates_in, why_not_reviewer
from environments_app.views.base import (
    act_page,
    as_sentence,
    ask_administrator,
    attempt,
    confirm_first,
    render_page,
)

_MOST_AT_ONCE: Final = 200
_LARGEST: Final = 2**63 - 1


class ReviewForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="Such as: Access, fourth quarter.")
    environments = forms.ModelMultipleChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    installation = forms.BooleanField(
        required=False, label="Administrators, auditors and tokens of the installation"
    )
    days = forms.IntegerField(
        min_value=1,
        max_value=reviews.MAX_DUE_DAYS,
        initial=reviews.DUE_DAYS,
        label="Days to decide",
    )
    # A field is no class attribute once the class is made: Form.prefix is not touched.
    prefix = forms.CharField(  # type: ignore[assignment]  # not Form.prefix
        max_length=MAX_PREFIX,
        required=False,
        label="Path",
        help_text="Only access that reaches names under it. Empty: all.",
    )
    kinds = forms.MultipleChoiceField(
        choices=AccessKind.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Kinds of access",
        help_text="None chosen: all.",
    )
    ends_undecided = forms.BooleanField(
        required=False,
        label="End what nobody decided",
        help_text=f"Keeper ends it {reviews.GRACE_DAYS} days after the review was due.",
    )


class ChangeForm(forms.Form):
    """What a change leaves; the view asks nothing else of it than the types."""

    role = forms.ChoiceField(
        choices=[("", "Unchanged"), *Role.choices, (UserRole.AUDITOR.value, "Auditor (of administrators)")],
        required=False,
    )
    # As above.
    prefix = forms.CharField(  # type: ignore[assignment]  # not Form.prefix
        max_length=MAX_PREFIX, required=False, label="Path"
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Ends (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )


class _Order:
    ordering_fields: ClassVar[dict[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names: tuple[str, ...] = ("environment",)


class _ItemOrder(_Order):
    default_ordering = "id"
    filter_names = ("show", "environment")


class GapForm(forms.Form):
    days = forms.IntegerField(
        min_value=1, max_value=MAX_GAP_DAYS, required=False, label="Not reviewed for (days)"
    )


@require_GET
def review_list(request: HttpRequest) -> HttpResponse:
    """List reviews, and beside them what none of them covers."""
    actor = principal_of(request)
    form = GapForm({"days": request.GET.get("days") or GAP_DAYS})
    days = form.cleaned_data["days"] if form.is_valid() else None
    paginator = KeysetPagination()
    rows = paginator.paginate_queryset(reviews.visible_reviews(actor), request, view=_Order())
    context = {
        "rows": rows,
        "form": form,
        "days": days,
        "sees_gaps": environments_for(actor, Action.MEMBER_VIEW) is not None,
        "gaps": visible_gaps(actor=actor, days=days) if days else [],
        "without_access": without_access(actor),
        "may_start": (may_start := allows(actor, Action.REVIEW_START, environment_id=None)),
        "who_starts": "" if may_start else ask_administrator(),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render_page(request, "environments_app/review_list.html", context)


@require_http_methods(["GET", "POST"])
def review_new(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    require(actor=actor, action=Action.REVIEW_START, environment=None)
    form = ReviewForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        review = attempt(form, lambda: reviews.start(actor=actor, **form.cleaned_data))
        if review is not None:
            listed = f"{review.items_count} entries of access are listed"
            # The page of the review says why, and what to do.
            if unasked := review.items.filter(reviewer_uuid=None).count():
                messages.warning(
                    request, f"{listed}. {unasked} of them {'has' if unasked == 1 else 'have'} no reviewer."
                )
            else:
                messages.success(request, f"{listed}, and their reviewers are asked.")
            return redirect("review-detail", id=review.pk)
    return render_page(request, "environments_app/review_form.html", {"form": form})


@require_GET
def review_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show what the viewer is asked, or all: each entry as it was frozen, and what has become of it."""
    actor = principal_of(request)
    review = reviews.find_review(actor=actor, id=id)
    items = reviews.visible_items(actor, review)
    asked = items.filter(reviewer_uuid=actor.uuid, decision=Decision.UNDECIDED)
    show = request.GET.get("show") or ("mine" if review.is_open and asked.exists() else "all")
    rows = reviews.filtered(
        items,
        actor,
        mine="true" if show == "mine" else None,
        decision=show if show in reviews.DECISIONS else ("undecided" if show == "mine" else None),
    )
    paginator = KeysetPagination()
    page = paginator.paginate_queryset(rows, request, view=_ItemOrder())
    shown = _rows(actor, review, page)
    decided = items.exclude(decision=Decision.UNDECIDED).count()
    context = {
        "review": review,
        "decided": decided,
        "mine": asked.count(),
        "visible": items.count(),
        "rows": shown,
        "without_reviewer": reviews.without_reviewer(actor, review),
        "selectable": any(row.get("undecided") and not row["obstacle"] for row in shown),
        "show": show,
        "change": ChangeForm(auto_id="id_change_%s"),
        "given": (given := reviews.visible_given(actor, review)),
        "given_digest": digest_of_given(given),
        "max_text": reviews.MAX_TEXT,
        "why_not_signer": reviews.why_not_signer(actor, review) if review.is_open else "",
        "may_sign": allows(actor, Action.REVIEW_SIGN, environment_id=None),
        "may_cancel": allows(actor, Action.REVIEW_START, environment_id=None),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render_page(request, "environments_app/review_detail.html", context)


_EDITED: Final = "This row was changed outside Keeper."


def _rows(actor: Principal, review: Review, items: list[ReviewItem]) -> list[dict[str, Any]]:
    """Return items with their access now, and why the viewer may not decide about each."""
    if not review.is_open:
        return [{"item": item, "obstacle": "" if item.is_authentic() else _EDITED} for item in items]
    lines, listed, custody = lines_for(items), reviews.listed_keys(review), CustodyGraph()
    uuids = {item.environment_uuid for item in items if item.environment_uuid}
    places = {row.uuid: row for row in Environment.objects.filter(uuid__in=uuids)}
    custody.learn({actor.uuid, *(item.subject_uuid for item in items)})
    candidates = cache(candidates_in)
    rows = []
    for item in items:
        line, again = lines.get(key_of(item)), unsettled(item, lines, listed)
        undecided = not item.decision or (bool(again) and again != BACK_OTHERWISE)
        place = places.get(item.environment_uuid) if item.environment_uuid else None
        obstacle = "" if item.is_authentic() else _EDITED
        if undecided and not obstacle:
            obstacle = why_not_reviewer(actor, item, place, custody, candidates)
        rows.append(
            {
                "item": item,
                "now": line.way if line else None,
                "state": line.state if line else "",
                "void": line.void if line else "",
                "changed": line is not None and line.right != item.right,
                "again": again,
                "undecided": undecided,
                "obstacle": obstacle,
            }
        )
    return rows


@require_POST
def review_decide(request: HttpRequest, id: int) -> HttpResponse:
    """Decide about the chosen entries, each by itself: what is refused is named, and stays undecided."""
    actor = principal_of(request)
    review = reviews.find_review(actor=actor, id=id)
    back = reverse("review-detail", args=[review.pk])
    chosen = request.POST.getlist("item")[:_MOST_AT_ONCE]
    decision, done, less = request.POST.get("decision", ""), 0, UNCHANGED
    if decision == Decision.CHANGE:
        form = ChangeForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Enter a role, a path or a time for the change.")
            return HttpResponseRedirect(back)
        less = Less(*(form.cleaned_data[name] or None for name in Less._fields))
    for given in chosen:
        number, _, state = given.partition(":")
        try:
            item = reviews.find_item(actor=actor, id=id, item=whole_number(number, largest=_LARGEST) or 0)
            reason = request.POST.get("reason", "")
            decide(actor=actor, item=item, decision=decision, state=state, reason=reason, less=less)
            done += 1
        except ConfirmationNeeded:
            return confirm_first(request, back=back)
        except KeeperError as error:
            messages.error(request, as_sentence(error))
    if done:
        word = {Decision.KEEP: "kept", Decision.CHANGE: "changed"}.get(Decision(decision), "ended")
        messages.success(request, f"{done} {'entry' if done == 1 else 'entries'} {word}.")
    elif not chosen:
        messages.error(request, "Choose at least one entry.")
    return HttpResponseRedirect(back)


def _find(request: HttpRequest, *, id: int) -> Review:
    return reviews.find_review(actor=principal_of(request), id=id)


def _comment(request: HttpRequest) -> dict[str, Any]:
    return {"comment": request.POST.get("comment", "")}


def _signed(request: HttpRequest) -> dict[str, Any]:
    return {**_comment(request), "given": request.POST.get("given", "")}


ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        _find,
        back=lambda review: reverse("review-detail", args=[review.pk]),
        arguments=_signed if act.name == "sign" else _comment,
    )
    for act in acts.REVIEWS
}
