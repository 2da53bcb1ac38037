"""The components that the pages are made of, so that each looks and behaves the same everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final, cast
from zlib import crc32

from django import template
from django.core.exceptions import ValidationError
from django.forms import (
    BoundField,
    CheckboxInput,
    CheckboxSelectMultiple,
    ChoiceField,
    Field,
    FileField,
    IntegerField,
    RadioSelect,
    Select,
)
from django.templatetags.static import static
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import conditional_escape, escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from audit_app.events import action_labels
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.queries.reports import Cell
from core.canonical_json import parsed_details
from core.ui import charts, labels, times
from environments_app.approvals.access_proposals import duration_words

register = template.Library()
# As many as `.avatar-0` and the rest in frame.css.
_AVATAR_COLOURS: Final = 6


@register.simple_tag
def icon(name: str, label: str = "", size: int = 16) -> SafeString:
    """Draw an icon of the sprite; without `label` it is decoration and hidden from readers."""
    href = f"{static('keeper/icons.svg')}#{name}"
    if not label:
        return format_html(
            '<svg class="icon" width="{0}" height="{0}" aria-hidden="true" focusable="false">'
            '<use href="{1}"></use></svg>',
            size,
            href,
        )
    return format_html(
        '<svg class="icon" width="{0}" height="{0}" role="img" aria-label="{2}"><use href="{1}"></use></svg>',
        size,
        href,
        label,
    )


@register.simple_tag
def state(name: str, word: str = "") -> SafeString:
    """Show a state by icon, word and colour together; `word` replaces its usual word."""
    look = labels.state(name)
    return format_html(
        '<span class="state state-{}">{}<span>{}</span></span>', look.tone, icon(look.icon), word or look.word
    )


@register.simple_tag
def avatar(name: str) -> SafeString:
    """Show the first two letters of a person's name, in a colour that this name always has."""
    colour = crc32(name.encode()) % _AVATAR_COLOURS
    return format_html('<span class="avatar avatar-{}" aria-hidden="true">{}</span>', colour, name[:2])


@register.filter
def state_word(name: str) -> str:
    """Return the usual word of a state: `in_sync` reads "in sync"."""
    return labels.state(name).word


@register.simple_tag
def person(account: Any) -> SafeString:
    """Show an account in a list: its mark, its username, and the name that its person has given."""
    name = account.display_name
    shown = format_html(' <span class="quiet">{}</span>', name) if name else ""
    return format_html("{}{}{}", avatar(account.username), account.username, shown)


@register.simple_block_tag
def folded(content: SafeString) -> SafeString:
    """Show further actions of a page's head: side by side, and on a phone in one menu."""
    if not content.strip():
        return content
    return format_html(
        '<span class="page-actions at-medium">{0}</span><details class="menu menu-end-aligned at-narrow"'
        ' data-menu><summary class="btn" aria-label="More actions">{1}</summary>'
        '<div class="menu-panel folded">{0}</div></details>',
        content,
        icon("more"),
    )


@register.simple_tag
def when(moment: datetime | date | None, prefix: str = "", missing: str = "-") -> SafeString:
    """Show a time relative to now, with the exact one on hover; `missing` stands for no time."""
    # An attribute of nothing reaches a tag as an empty text.
    if not moment:
        return format_html('<span class="quiet">{}</span>', missing)
    moment = _aware(moment)
    words = times.relative(moment, now=timezone.now())
    return _time(moment, f"{prefix} {words}" if prefix else words)


@register.simple_tag
def cell(content: Cell) -> SafeString:
    """Show a cell of a report: a time as everywhere, yes or no for a truth, and else the text."""
    if isinstance(content, datetime):
        return when(content)
    if isinstance(content, bool):
        return SafeString("yes" if content else "no")
    return conditional_escape("" if content is None else str(content))


@register.simple_tag
def until(moment: datetime | date) -> SafeString:
    """Show how long something lasts, with its exact end on hover."""
    moment = _aware(moment)
    return _time(moment, times.until(moment, now=timezone.now()))


def _aware(moment: datetime | date) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.min)
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        times.exact(moment),
        words,
    )


@register.simple_tag
def masked(label: str = "Value is masked") -> SafeString:
    """Return a mask of constant length in place of a value."""
    return format_html(
        '<span class="masked"><span aria-hidden="true">••••••••••••</span>'
        '<span class="visually-hidden">{}</span></span>',
        label,
    )


@register.filter
def verbatim(value: str) -> SafeString:
    """Escape a value so that the page's text equals it: HTML would turn CR LF into LF."""
    return mark_safe(escape(value).replace("\r", "&#13;"))  # noqa: S308 - escaped right here


@register.filter
def took(seconds: int | None) -> str:
    """Show how long something took, in the largest unit that fits."""
    return "" if seconds is None else times.duration(seconds)


# The first that a browser names: most also name those whose pages they want.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


@register.filter
def browser(agent: str) -> str:
    """Name a browser and its system: "Chrome on Linux"; another program by the beginning of its name."""
    name = next((shown for mark, shown in _BROWSERS if mark in agent), "")
    system = next((shown for mark, shown in _SYSTEMS if mark in agent), "")
    return f"{name} on {system}" if name and system else agent[:40]


@register.filter
def path(name: str) -> SafeString:
    """Show a name so that it wraps after its slashes rather than inside a segment."""
    return format_html_join(mark_safe("/<wbr>"), "{}", ((segment,) for segment in name.split("/")))


@register.filter
def environment_class(environment: Any) -> str:
    """Return the palette class of an environment (or of a palette key)."""
    colour = environment if isinstance(environment, str) else getattr(environment, "colour", "")
    return f"env-{colour}" if colour in labels.ENVIRONMENT_COLOURS else "env-slate"


@register.filter
def other_name(environment: Any) -> str:
    """Return the display name of an environment unless it only repeats the name in other letters."""
    shown = str(environment.display_name)
    plain = shown.casefold().replace(" ", "-").replace("_", "-")
    return "" if plain == str(environment.name).replace("_", "-") else shown


@register.inclusion_tag("components/environment_label.html")
def environment_label(environment: Any, url: str = "") -> dict[str, Any]:
    """Name an environment with its colour, and with a lock if it is protected."""
    return {"environment": environment, "url": url}


@register.filter
def type_icon(secret_type: str) -> str:
    """Return the icon of a kind of secret."""
    return labels.TYPE_ICONS.get(str(secret_type), "text")


def _reading(event: Any) -> str:
    """Return how one value was read: on a page it was revealed, and nobody saw it by a roll back or token."""
    details = parsed_details(event.details)
    if details.get("purpose") == "rollback":
        return "read an earlier version of"
    by_program = event.actor_kind == ActorKind.TOKEN or details.get("via")
    return "read" if by_program else action_labels.verb(str(event.action))


@register.filter
def verb(event: Any) -> str:
    """Return what happened in an audit event, as words that follow its actor."""
    if event.action == Action.SECRET_REVEAL and event.outcome == Outcome.ALLOWED:
        return _reading(event)
    return action_labels.verb(str(event.action), str(event.outcome), of=str(event.object_kind))


@register.filter
def is_about_actor(event: Any) -> bool:
    """Return whether a person signed in or out: their name is shown once."""
    return event.action in {"session.sign_in", "session.sign_out"} and event.object_uuid == event.actor_uuid


@register.filter
def act_words(action: str) -> str:
    """Return an action's label in the imperative: "write", "grant access to"."""
    act = action_labels.ACTIONS.get(action)
    return act.tried if act else action


@register.filter
def duration(minutes: int | None) -> str:
    """Return how long access is to last, in words."""
    return duration_words(minutes)


@register.filter
def fact_label(name: str) -> str:
    """Return the name of a derived fact as a label: `not_after` reads "Not after"."""
    return labels.FACT_LABELS.get(name, name.replace("_", " ").capitalize())


@register.simple_tag
def fact(content: Any) -> SafeString:
    """Show a derived fact: a moment relative to now, a list line by line, yes or no, else its text."""
    if isinstance(content, bool):
        return format_html("{}", "yes" if content else "no")
    if isinstance(content, list):
        return format_html_join("", '<span class="fact-item">{}</span>', ((item,) for item in content))
    moment = _moment(content)
    if moment is not None:
        return when(moment)
    return format_html('<span class="font-monospace">{}</span>', content)


def _moment(content: Any) -> datetime | None:
    """Return the time that a fact holds as ISO 8601 text, if it is one to the second."""
    if not isinstance(content, str) or "T" not in content:
        return None
    try:
        return parse_datetime(content)
    except ValueError:
        return None


@register.filter
def expiry_state(moment: datetime | None) -> str:
    """Return the state that an expiry date puts its secret in, or nothing while it is far off."""
    if moment is None:
        return ""
    time_left = moment - timezone.now()
    if time_left.total_seconds() <= 0:
        return "expired"
    return "expiring" if time_left.days < EXPIRING_WITHIN_DAYS else ""


EXPIRING_WITHIN_DAYS = 30


@register.filter
def is_past(moment: datetime | None) -> bool:
    """Return whether a time that may be none is over."""
    return moment is not None and moment <= timezone.now()


@register.inclusion_tag("components/pager.html")
def pager(previous_url: str | None, next_url: str | None, what: str = "page") -> dict[str, Any]:
    """Offer the page before and after; lists know neither page numbers nor totals."""
    return {"previous_url": previous_url, "next_url": next_url, "what": what}


@register.inclusion_tag("components/empty.html")
def empty(icon: str, title: str, text: str = "", url: str = "", label: str = "") -> dict[str, str]:
    """Render an empty page: what belongs here, why, and a button to create the first."""
    return {"icon": icon, "title": title, "text": text, "url": url, "label": label}


@register.inclusion_tag("components/events.html")
def events(rows: Sequence[Any], about: str = "") -> dict[str, Any]:
    """List audit events, newest first, one line each; the name of the object `about` is omitted."""
    return {"rows": rows, "about": about}


@register.inclusion_tag("components/activity_chart.html")
def activity_chart(
    days: Sequence[Mapping[str, Any]], urls: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Draw 30 days of reads, writes and denials as SVG that also reads as text."""
    return {"chart": charts.activity_chart(days), "urls": urls or {}}


@register.inclusion_tag("components/strip_chart.html")
def strip_chart(parts: Sequence[charts.Part]) -> dict[str, Any]:
    """Draw parts of a whole as one bar; the list below has the same in words and numbers."""
    return {"pieces": charts.strip(parts)}


@register.inclusion_tag("components/row_chart.html")
def row_chart(parts: Sequence[charts.Part]) -> dict[str, Any]:
    """Draw counts as bars below each other, each with its words and its number beside it."""
    return {"pieces": charts.rows(parts)}


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, label: str = "", *, mono: bool = False) -> dict[str, Any]:
    """Render a form field with its label, help and errors tied to it for assistive technology."""
    widget = bound.field.widget
    names = [_widget_class(widget), *widget.attrs.get("class", "").split()]
    names += ["font-monospace"] * mono + ["is-invalid"] * bool(bound.errors)
    attrs: dict[str, str | bool] = {"class": " ".join(dict.fromkeys(names))}
    parts = {"helptext": bound.help_text, "error": bound.errors}
    described = [f"{bound.auto_id}_{part}" for part, shown in parts.items() if shown and bound.auto_id]
    if described:
        attrs["aria-describedby"] = " ".join(described)
    return {
        "bound": bound,
        "label": label or bound.label,
        "control": bound.as_widget(attrs=attrs),
        "errors": named_errors(bound),
        # A choice on the form may need a field that the form without it does not.
        # One that is chosen from a list has a value already; one that is disabled keeps it.
        "required": not bound.field.disabled
        and (bound.field.required or widget.attrs.get("aria-required") == "true")
        and not isinstance(widget, Select),
        "checkbox": isinstance(widget, CheckboxInput),
        "group": isinstance(widget, RadioSelect | CheckboxSelectMultiple),
    }


@register.filter
def named_errors(bound: BoundField) -> list[str]:
    """Return the errors of a field, each as what to do: "Enter a name.", "Enter 1 to 72."."""
    return [_sentence(bound, error) for error in bound.errors.as_data()]


def _sentence(bound: BoundField, error: ValidationError) -> str:
    """Return an error in Keeper's words where it is one of Django's own, and else in its own."""
    field, said = bound.field, error.messages[0]
    if error.code in {"min_value", "max_value"} and isinstance(field, IntegerField):
        least, most = field.min_value, field.max_value
        if least is not None and most is not None:
            return f"Enter {least:,} to {most:,}."
        return f"Enter {least:,} or more." if most is None else f"Enter at most {most:,}."
    if error.code == "max_length":
        return f"Use at most {(error.params or {})['limit_value']:,} characters."
    if error.code == "invalid_choice":
        return "Choose one of the list."
    if said != str(Field.default_error_messages["required"]):
        return said
    label = str(bound.label)
    noun = label if label[:2].isupper() else label[:1].lower() + label[1:]
    plural = noun.endswith("s") and not noun.endswith("ss")
    article = "" if plural else "an " if noun[:1].lower() in "aeio" else "a "
    verb = "Choose" if isinstance(field, ChoiceField | FileField) else "Enter"
    return f"{verb} {article}{noun}."


@register.simple_tag
def filter_select(bound: BoundField) -> SafeString:
    """Render one control of a filter bar: small, named for assistive technology by its label."""
    kind = "form-select" if isinstance(bound.field.widget, Select) else "form-control"
    return bound.as_widget(attrs={"class": f"{kind} {kind}-sm", "aria-label": str(bound.label)})


@register.simple_tag
def filter_acts(bound: BoundField) -> SafeString:
    """Render the control that narrows to one action, by its name, below the heading of its group."""
    field = cast("ChoiceField", bound.field)
    groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in action_labels.HEADINGS}
    first: list[tuple[str, str]] = []
    for action, label in cast("Iterable[tuple[str, str]]", field.choices):
        if action in action_labels.ACTIONS:
            groups[action_labels.group_of(action)].append((action, label))
        elif action in groups:
            groups[action].append((action, label))
        else:
            first.append((action, label))
    for acts in groups.values():
        # Below the one that stands for all of them.
        acts.sort(key=lambda act: (act[0] not in action_labels.HEADINGS, act[1]))
    field.choices = [*first, *((heading, acts) for heading, acts in groups.items() if acts)]
    return filter_select(bound)


def _widget_class(widget: Any) -> str:
    if isinstance(widget, RadioSelect | CheckboxSelectMultiple | CheckboxInput):
        return "form-check-input"
    return "form-select" if isinstance(widget, Select) else "form-control"
