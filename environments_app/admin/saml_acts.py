"""Who would be changed by a mapping of single sign-on, asked before it is made or removed."""

from collections.abc import Sequence
from typing import Final

from django import forms

from audit_app.events.actions import Action
from environments_app.admin.act_pages import offer
from environments_app.admin.acts import Act, Shown
from environments_app.models import Environment, SamlGroupMapping
from environments_app.saml.mapping_effect import Change, changed_by_mapping, changed_by_removal

_REST: Final = "Keeper learns who is in a group at each sign-in: others in it change at their next one."


class MappingForm(forms.Form):
    """A mapping that is considered."""

    group = forms.CharField(max_length=200)
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        help_text="Leave blank for a role in the installation.",
    )
    role = forms.ChoiceField(choices=SamlGroupMapping._meta.get_field("role").choices or ())
    # A field is no class attribute once the class is made: Form.prefix is not touched.
    prefix = forms.CharField(required=False, max_length=512)  # type: ignore[assignment]


def _shown_changes(changes: Sequence[Change]) -> Shown:
    lines = [_line(each) for each in changes]
    return Shown(lines=[*(lines or ["It changes no one whom Keeper knows to be in the group."]), _REST])


def _line(each: Change) -> str:
    roles = f"{each.before or 'no access'} now, {each.after or 'no access'} after the next sign-in"
    others = f"; also given access there by {', '.join(each.by_others)}" if each.by_others else ""
    return f"{each.username}: {roles}{others}."


_MAPPINGS: Final = (
    Act(
        name="preview",
        label="Who would this change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_mapping,
        form=MappingForm,
        confirmation="Describe a mapping. Keeper lists the people whose access it would change; nothing is "
        "stored.",
        done="People",
        show=_shown_changes,
    ),
    Act(
        name="removal",
        label="Who would its removal change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_removal,
        takes="mapping",
        confirmation="Keeper lists the people who have access by this mapping; nothing is changed.",
        done="People",
        show=_shown_changes,
        bulk=False,
    ),
)


def register() -> None:
    """Offer the acts, once the pages are registered."""
    offer(SamlGroupMapping, *_MAPPINGS)
