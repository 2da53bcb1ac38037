"""The forms of targets and rotators: what is asked depends on what was chosen before."""

import json

import pytest
from django.template import engines

from secrets_app.types.generators.registry import GENERATORS
from sync_app.backends.vault.backend import VaultKv2
from sync_app.forms.rotation import ConnectionForm
from sync_app.forms.target import CredentialsForm, DestinationForm, RulesForm
from sync_app.models import RotationPolicy, Target
from sync_app.rotators.generated.rotator import GeneratedValue

PLACE = {"destination-address": "https://vault.example", "destination-mount": "secret"}
SECRETS = {"credential-token": "t", "credential-role_id": "r", "credential-secret_id": "s"}


@pytest.mark.parametrize(
    ("way", "kept"),
    [("Token", {"token"}), ("AppRole", {"role_id", "secret_id"}), ("", {"token", "role_id", "secret_id"})],
)
def test_only_the_credentials_of_the_chosen_way_are_taken(way: str, kept: set[str]) -> None:
    form = DestinationForm({**PLACE, **SECRETS, "sign_in": way}, backend=VaultKv2)
    assert form.is_valid(), form.errors
    assert {name for name, text in form.credentials.items() if text} == kept


def test_the_fields_of_a_way_are_shown_with_it_and_its_credentials_are_required() -> None:
    form = DestinationForm(backend=VaultKv2)
    assert form.fields["destination-approle_mount"].widget.attrs["data-shown-when"] == "sign_in=AppRole"
    page = engines["django"].from_string("{% load keeper_ui %}{% field bound %}")
    shown = {name: page.render({"bound": form[name]}) for name in ("credential-token", "destination-prefix")}
    assert ["is-required" in each for each in shown.values()] == [True, False]


def test_a_rule_of_the_system_is_offered_with_the_rules_and_not_with_the_credentials() -> None:
    target = Target(backend="vault_kv2", destination={"address": "https://vault.example"})
    rules = RulesForm(initial=RulesForm.initial_of(target), target=target)
    # A target that is older than the rule has the form that it wrote until now.
    assert rules.initial["destination-objects"] == "value"
    assert "destination-objects" not in CredentialsForm(target=target).fields
    begin = DestinationForm(backend=VaultKv2)
    assert begin.fields["destination-objects"].initial == "keys"
    assert RulesForm(target=Target(backend="aws_secrets_manager")).fields.keys() == RulesForm().fields.keys()


def test_every_generator_is_offered_by_fields_and_comes_back_as_its_settings() -> None:
    for kind in GENERATORS:
        begin = ConnectionForm(rotator=GeneratedValue)
        posted = {
            name: field.initial
            for name, field in begin.fields.items()
            if field.initial not in (None, False, "")
        } | {"setting-kind": kind}
        form = ConnectionForm(posted, rotator=GeneratedValue)
        assert form.is_valid(), form.errors
        assert form.settings == {"kind": kind, "options": "{}"}


def test_what_differs_from_the_defaults_is_kept_and_shown_again() -> None:
    posted = {
        "setting-kind": "password",
        "setting-option-password-length": "40",
        "setting-option-password-digits": "on",
    }
    form = ConnectionForm(posted, rotator=GeneratedValue)
    assert form.is_valid(), form.errors
    settings = form.settings
    options = json.loads(settings["options"])
    assert (options["length"], options["symbols"]) == (40, False)
    GeneratedValue(settings=settings, admin={})
    initial = ConnectionForm.initial_of(RotationPolicy(rotator="generated", settings=settings))
    assert initial["setting-option-password-length"] == 40
    assert initial["setting-option-password-symbols"] is False
