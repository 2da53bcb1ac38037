from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from django.template import Context, Template
from django.utils import timezone

from audit_app.events import action_labels


def drawn(source: str, **context: Any) -> str:
    return Template("{% load keeper_ui %}" + source).render(Context(context)).strip()


def test_an_icon_is_decoration_unless_it_has_a_label() -> None:
    assert 'aria-hidden="true"' in drawn('{% icon "key" %}')
    labelled = drawn('{% icon "lock" "protected" %}')
    assert 'role="img" aria-label="protected"' in labelled
    assert "aria-hidden" not in labelled


@pytest.mark.parametrize("name", ["in_sync", "drifted", "failed", "something_else"])
def test_a_state_has_an_icon_and_a_word(name: str) -> None:
    html = drawn("{% state name %}", name=name)

    assert "<use href=" in html
    assert "<span></span>" not in html


def test_a_state_may_say_it_in_other_words_and_escapes_them() -> None:
    assert "<span>a &lt;b&gt;</span>" in drawn("{% state 'ok' word %}", word="a <b>")


def test_a_state_is_a_word_where_its_icon_alone_is_seen() -> None:
    assert drawn("{{ 'in_sync'|state_word }}") == "in sync"


def test_a_label_is_written_as_its_field_was() -> None:
    labels = [
        drawn("{{ name|fact_label }}", name=name) for name in ("sts_endpoint", "approle_mount", "mount")
    ]
    assert labels == ["STS endpoint", "AppRole mount", "Mount"]


def test_a_masked_value_has_one_length() -> None:
    assert drawn("{% masked %}").count("•") == 12


def test_a_time_is_relative_and_exact_on_hover() -> None:
    moment = timezone.now() - timedelta(hours=3, minutes=1)

    html = drawn("{% when moment %}", moment=moment)

    assert ">3 hours ago</time>" in html
    assert f'datetime="{moment.isoformat(timespec="seconds")}"' in html
    assert f"{moment:%H:%M:%S} UTC" in html


def test_a_missing_time_says_what_that_means() -> None:
    assert drawn("{% when None missing='never' %}") == '<span class="quiet">never</span>'


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("green", "env-green"), ("", "env-slate"), ("red;x", "env-slate"), (None, "env-slate")],
)
def test_an_environment_takes_a_class_of_the_palette_only(colour: str | None, expected: str) -> None:
    environment = SimpleNamespace(name="production", colour=colour, protected=False)

    assert drawn("{{ environment|environment_class }}", environment=environment) == expected


def test_a_protected_environment_wears_a_lock() -> None:
    environment = SimpleNamespace(name="production", colour="red", protected=True)

    assert 'aria-label="protected"' in drawn("{% environment_label environment %}", environment=environment)


def test_a_name_breaks_after_its_slashes_and_is_escaped() -> None:
    assert drawn("{{ name|path }}", name="a/b/<i>") == "a/<wbr>b/<wbr>&lt;i&gt;"


def test_a_value_reaches_the_page_to_the_letter() -> None:
    assert drawn("{{ value|verbatim }}", value="<a>\r\n&") == "&lt;a&gt;&#13;\n&amp;"


@pytest.mark.parametrize(
    ("days", "expected"), [(-1, "expired"), (0.5, "expiring"), (29, "expiring"), (31, ""), (400, "")]
)
def test_an_expiry_is_told_when_it_is_near(days: float, expected: str) -> None:
    moment = timezone.now() + timedelta(days=days)

    assert drawn("{{ moment|expiry_state }}", moment=moment) == expected


def test_no_expiry_is_no_state() -> None:
    assert drawn("{{ moment|expiry_state }}", moment=None) == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (True, "yes"),
        (False, "no"),
        (["a", "<b>"], '<span class="fact-item">a</span><span class="fact-item">&lt;b&gt;</span>'),
        (4096, '<span class="font-monospace">4096</span>'),
        ("Not a Time", '<span class="font-monospace">Not a Time</span>'),
        ("2026-99-99T00:00:00", '<span class="font-monospace">2026-99-99T00:00:00</span>'),
    ],
)
def test_a_fact_is_shown_by_its_kind(content: object, expected: str) -> None:
    assert drawn("{% fact content %}", content=content) == expected


def test_a_fact_that_is_a_time_is_relative() -> None:
    moment = timezone.now() + timedelta(days=10, hours=1)

    assert ">in 10 days</time>" in drawn("{% fact content %}", content=moment.isoformat())


class SampleForm(forms.Form):
    name = forms.CharField(help_text="A path")
    kind = forms.ChoiceField(choices=[("a", "A")], required=False)
    agreed = forms.BooleanField(required=False)


def test_a_field_is_tied_to_its_label_help_and_error() -> None:
    html = drawn("{% field form.name %}", form=SampleForm({}))

    assert 'for="id_name"' in html
    assert 'aria-describedby="id_name_helptext id_name_error"' in html
    assert 'id="id_name_helptext"' in html
    assert 'id="id_name_error"' in html
    assert "is-invalid" in html


def test_a_field_takes_the_class_of_its_kind() -> None:
    form = SampleForm()

    assert 'class="form-control"' in drawn("{% field form.name %}", form=form)
    assert 'class="form-select"' in drawn("{% field form.kind %}", form=form)
    assert 'class="form-check-input"' in drawn("{% field form.agreed %}", form=form)


def test_a_required_field_is_marked_unless_it_has_a_value_already() -> None:
    form = type("Asked", (forms.Form,), {"note": forms.CharField(required=False)})()
    assert "is-required" not in drawn("{% field form.note %}", form=form)
    assert "is-required" in drawn("{% field form.name %}", form=SampleForm())
    assert "is-required" not in drawn("{% field form.kind %}", form=SampleForm())


def test_the_pager_links_only_where_there_is_a_page() -> None:
    html = drawn("{% pager previous next %}", previous=None, next="?cursor=a")

    assert 'rel="next" href="?cursor=a"' in html
    assert 'rel="prev"' not in html
    assert drawn("{% pager None None %}") == ""


def test_an_empty_page_offers_to_make_the_first() -> None:
    html = drawn("{% empty 'key' 'Nothing yet' 'Put one here' '/new' 'New' %}")

    assert '<a class="btn btn-primary" href="/new">New</a>' in html


def event(**changes: object) -> SimpleNamespace:
    given = {"actor_kind": "user", "actor_name": "alice", "action": "secret.reveal", "outcome": "allowed"}
    given["details"] = "{}"
    return SimpleNamespace(
        **given | {"object_kind": "secret", "object_name": "payments/db", "at": timezone.now()} | changes
    )


def test_a_person_is_listed_with_the_name_that_they_gave() -> None:
    account = SimpleNamespace(username="ali", display_name="Alice <Ng>")

    assert 'ali <span class="quiet">Alice &lt;Ng&gt;</span>' in drawn("{% person who %}", who=account)
    account.display_name = ""
    assert "quiet" not in drawn("{% person who %}", who=account)


def test_further_actions_are_buttons_and_on_a_phone_a_menu() -> None:
    shown = drawn('{% folded %}<a href="/x">{{ name }}</a>{% endfolded %}', name="<b>")

    assert shown.count('<a href="/x">&lt;b&gt;</a>') == 2
    assert "at-medium" in shown
    assert "at-narrow" in shown
    # No menu without an entry.
    assert drawn("{% folded %} {% if name %}<a></a>{% endif %}{% endfolded %}", name="") == ""


def test_an_event_reads_as_a_sentence() -> None:
    html = drawn("{% events rows %}", rows=[event(outcome="denied", actor_name="<charlie>")])

    assert "<b>&lt;charlie&gt;</b> was not allowed to reveal" in html
    assert "payments/<wbr>db" in html


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "</b> revealed"),
        ({"details": '{"purpose":"rollback"}'}, "</b> read an earlier version of"),
        ({"details": '{"via":"my-laptop"}'}, "</b> read <"),
        ({"actor_kind": "token"}, "</b> read <"),
        ({"details": '{"via":"my-laptop"}', "outcome": "denied"}, "</b> was not allowed to reveal"),
    ],
)
def test_who_saw_nothing_on_a_page_revealed_nothing(given: dict[str, str], words: str) -> None:
    """A roll back shows no value, and a program reads it."""
    assert words in drawn("{% events rows %}", rows=[event(**given)])


def test_events_do_not_repeat_what_the_page_is_about() -> None:
    shown = drawn("{% events rows 'payments/db' %}", rows=[event()])
    assert "payments" not in shown
    # Some verbs end in "of" or "for".
    assert f"{action_labels.verb(event().action)} it</span>" in shown


def test_the_chart_says_in_words_what_it_draws() -> None:
    day = timezone.now().date()

    html = drawn("{% activity_chart days %}", days=[{"day": day, "reads": 3, "writes": 2, "denials": 1}])

    assert "3 reads, 2 writes, 1 denials" in html
    assert 'role="img"' in html
    assert "<table" in html
    assert "style=" not in html


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (forms.CharField(label="Name"), "Enter a name."),
        (forms.CharField(label="Email address"), "Enter an email address."),
        (forms.CharField(label="KMS key"), "Enter a KMS key."),
        (forms.CharField(label="Allowed IP ranges"), "Enter allowed IP ranges."),
        (forms.ChoiceField(label="Role"), "Choose a role."),
        (forms.FileField(label="File"), "Choose a file."),
        (forms.CharField(label="Name", error_messages={"required": "Say which."}), "Say which."),
    ],
    ids=["name", "email", "acronym", "plural", "choice", "file", "own words"],
)
def test_what_is_missing_is_named(field: forms.Field, words: str) -> None:
    form = type("Asked", (forms.Form,), {"one": field})({})
    assert f"<span>{words}</span>" in drawn("{% field form.one %}", form=form)


@pytest.mark.parametrize(
    ("field", "given", "words"),
    [
        (forms.IntegerField(min_value=8, max_value=1_024), "7", "Enter 8 to 1,024."),
        (forms.IntegerField(min_value=8), "7", "Enter 8 or more."),
        (forms.IntegerField(max_value=72), "73", "Enter at most 72."),
        (forms.CharField(max_length=3), "four", "Use at most 3 characters."),
        (forms.ChoiceField(choices=[("a", "A")]), "b", "Choose one of the list."),
        (forms.IntegerField(), "x", "Enter a whole number."),
    ],
    ids=["range", "least", "most", "length", "choice", "other"],
)
def test_an_error_is_told_as_what_to_do(field: forms.Field, given: str, words: str) -> None:
    form = type("Asked", (forms.Form,), {"one": field})({"one": given})
    assert f"<span>{words}</span>" in drawn("{% field form.one %}", form=form)
