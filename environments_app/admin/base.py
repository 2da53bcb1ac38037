"""The base of every admin page that changes something: what it does, the services do."""

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from audit_app.admin_pages.base import OperatorAdmin
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.errors import AccessError, ConfirmationNeeded
from environments_app.forms.authentication import confirm_link

if TYPE_CHECKING:
    from django.forms import ModelForm


# Bulk actions that change nothing.
READING: Final = frozenset({"export_csv"})


class _ConfirmationAsked:
    """A form that keeps what was typed and leads to the page that asks for the password."""

    def clean(self) -> None:
        """Refuse, with a link that opens beside the form."""
        raise ValidationError(confirm_link())


class _Refused:
    """A form that keeps what was typed and shows what a use case refused, beside its field if it has one."""

    refused: ClassVar[tuple[str, str]]

    def clean(self) -> Any:
        form: Any = self
        cleaned = super().clean()  # type: ignore[misc]  # the form that this is mixed into
        field, reason = self.refused
        form.add_error(field if field in form.fields else None, reason)
        return cleaned


class ServiceAdmin(OperatorAdmin):
    """An admin page whose saving and deleting go through the use cases.

    A subclass defines which of `create`, `change` and `remove` exist; others are not possible. Nothing is
    edited in lists or inline, nothing is deleted in bulk. Django would run a page's POST in one transaction;
    here it does not, since a denial must survive.
    """

    list_editable: ClassVar[tuple[str, ...]] = ()
    inlines: ClassVar[tuple[Any, ...]] = ()
    # What a use case raises to refuse; it becomes a message.
    refusals: ClassVar[tuple[type[Exception], ...]] = (AccessError,)

    def create(self, *, actor: Principal, form: "ModelForm[Any]") -> models.Model:
        """Make the object that the form describes, by a use case."""
        raise NotImplementedError

    def change(self, *, actor: Principal, row: Any, form: "ModelForm[Any]") -> models.Model:
        """Change an object by a use case."""
        raise NotImplementedError

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Delete, revoke or end an object by a use case."""
        raise NotImplementedError

    @property
    def absent(self) -> frozenset[str]:  # type: ignore[override]  # computed, where others name it
        """What no use case of the page does."""
        acts = {"add": "create", "delete": "remove"}
        return frozenset(act for act, use_case in acts.items() if not self._defines(use_case))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._defines("create") and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._defines("change") and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._defines("remove") and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer what a page names, and not Django's own act, which deletes in bulk.

        Auditors are offered what only reads (`READING`).
        """
        actions = {
            name: act for name, act in super().get_actions(request).items() if name != "delete_selected"
        }
        if getattr(request.user, "is_admin", False):
            return actions
        return {name: act for name, act in actions.items() if name in READING}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the fields of the form, or else the columns that are for people."""
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return list(super().get_fields(request, obj))
        return list(self.shown_columns())

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        **kwargs: Any,
    ) -> type["ModelForm[Any]"]:
        """Return the form; with an error if the use case needs a fresh proof, or refused a field."""
        form = super().get_form(request, obj, change, **kwargs)
        if refused := getattr(request, "refused", None):
            return type(form.__name__, (_Refused, form), {"refused": refused})
        if getattr(request, "confirmation_needed", False):
            return type(form.__name__, (_ConfirmationAsked, form), {})
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save the form outside a transaction; a refused form keeps what was typed."""
        try:
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]  # Django's, without a stub
        except ConfirmationNeeded:
            # The same form once more, so that what was typed stays.
            request.confirmation_needed = True  # type: ignore[attr-defined]  # ours, on Django's request
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]  # Django's, without a stub
        except self.refusals as error:
            if request.method != "POST":
                return self._refusal(request, error)
            request.refused = (getattr(error, "field", ""), str(getattr(error, "reason", error)))  # type: ignore[attr-defined]  # as above
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]  # Django's, without a stub

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Ask, then delete outside a transaction; a refusal becomes a message."""
        try:
            return self._delete_view(request, object_id, extra_context)  # type: ignore[attr-defined]  # Django's, without a stub
        except self.refusals as error:
            return self._refusal(request, error)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Let the use case save, and show what it stored."""
        actor = principal_of(request)
        if change:
            # The form has changed `obj`, and the use case asks what of the stored row a change would alter.
            row = type(obj)._base_manager.get(pk=obj.pk)  # noqa: SLF001 - Django documents it
            stored = self.change(actor=actor, row=row, form=form)
        else:
            stored = self.create(actor=actor, form=form)
        obj.__dict__.update(stored.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(actor=principal_of(request), row=obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete one by one; no page offers it."""
        for row in queryset:
            self.delete_model(request, row)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save nothing besides: what belongs together, the use case has stored."""

    def _defines(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(ServiceAdmin, name)

    def _refusal(self, request: HttpRequest, error: Exception) -> HttpResponse:
        self.message_user(request, str(error), level=messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())
