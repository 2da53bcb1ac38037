"""The form of a new migration; the rules are in the use cases."""

from typing import Any, Final

from django import forms
from django.db.models import QuerySet
from django.urls import reverse

from environments_app.models import Environment
from sync_app.errors import BadDestination
from sync_app.forms.target import SIGN_IN, input_of
from sync_app.migration.placing import Rule, place
from sync_app.migration.service import FOLLOW_SECONDS, environments_of, parse_rule
from sync_app.migration.sources.base import Source
from sync_app.models import Migration

_SETTING: Final = "setting-"
_CREDENTIAL: Final = "credential-"
_LISTED: Final = 20


class MigrationForm(forms.Form):
    """The address of a source, its credentials, which are never shown again, and where its secrets go."""

    def __init__(
        self, *args: Any, source: type[Source], environments: QuerySet[Environment], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._environments = environments
        for each in source.setting_fields:
            self.fields[_SETTING + each.name] = self._shown(input_of(each), each.way)
        self._ways = {_CREDENTIAL + each.name: each.way for each in source.credential_fields if each.way}
        if ways := list(dict.fromkeys(self._ways.values())):
            self.fields[SIGN_IN] = forms.ChoiceField(
                label="Sign-in method",
                choices=[(way, way) for way in ways],
                initial=ways[0],
                required=False,
                widget=forms.RadioSelect,
            )
        for each in source.credential_fields:
            self.fields[_CREDENTIAL + each.name] = self._shown(input_of(each), each.way)
        example = source.place_example
        names = ", ".join(environments.values_list("name", flat=True)[:_LISTED])
        self.fields["rules"] = forms.CharField(
            label="Where to",
            help_text=f"One line for each {source.place_word}. {example}=production carries all of it. "
            f"{example}=production:team puts it under team/. "
            f"{example}=first-folder:prod=production,stage=staging "
            f"takes the environment from the first folder: {example}/prod/app/db becomes app/db of "
            f"production. Your environments: {names}.",
            widget=forms.Textarea(
                {
                    "rows": 4,
                    "spellcheck": "false",
                    "class": "font-monospace",
                    "hx-get": f"{reverse('migration-new')}?source={source.kind}",
                    "hx-trigger": "load, input changed delay:300ms",
                    "hx-target": "#examples",
                    "hx-params": "rules",
                }
            ),
        )

    @classmethod
    def like(cls, migration: Migration, **kwargs: Any) -> "MigrationForm":
        """Return the form of a new migration with the settings and rules of another, without credentials."""
        names = {str(each.uuid): each.name for each in environments_of(migration)}
        rules = [Rule.of(each) for each in migration.rules]
        known = [rule.text(names) for rule in rules if names.keys() >= {*rule.environments.values()}]
        settings = {_SETTING + name: text for name, text in migration.settings.items()}
        return cls(initial={**settings, "rules": "\n".join(known)}, **kwargs)

    def examples(self, text: str) -> list[tuple[str, str]]:
        """Return a path for each line of rules, and where it goes, or why the line is no rule."""
        found: list[tuple[str, str]] = []
        for line in filter(None, map(str.strip, text.splitlines())):
            try:
                rule = parse_rule(line, self._environment)
            except BadDestination as error:
                found.append((line, str(error)))
                continue
            for folder, uuid in rule.environments.items():
                path = "/".join(filter(None, (folder, "app/db")))
                environment = self._environments.get(uuid=uuid)
                found.append((f"{rule.place}/{path}", f"{environment.name}: {place(rule, path).name}"))
        return found

    def _environment(self, name: str) -> Environment | None:
        return self._environments.filter(name=name).first()

    @staticmethod
    def _shown(field: forms.Field, way: str) -> forms.Field:
        if way:
            field.widget.attrs["data-shown-when"] = f"{SIGN_IN}={way}"
        return field

    @property
    def settings(self) -> dict[str, str]:
        return self._named(_SETTING)

    @property
    def credentials(self) -> dict[str, str]:
        """What was entered for the chosen way of signing in."""
        chosen = self.cleaned_data.get(SIGN_IN)
        given = self._named(_CREDENTIAL)
        return {
            name: text
            for name, text in given.items()
            if not chosen or self._ways.get(_CREDENTIAL + name, chosen) == chosen
        }

    def _named(self, prefix: str) -> dict[str, str]:
        given = self.cleaned_data.items()
        return {name.removeprefix(prefix): text for name, text in given if name.startswith(prefix)}

    def clean_rules(self) -> list[Rule]:
        lines = [line.strip() for line in self.cleaned_data["rules"].splitlines() if line.strip()]
        try:
            return [parse_rule(line, self._environment) for line in lines]
        except BadDestination as error:
            raise forms.ValidationError(str(error)) from error

    def field_of(self, name: str) -> str | None:
        """Return the input of a field that an error names."""
        return next(
            (each for each in (_SETTING + name, _CREDENTIAL + name, name) if each in self.fields), None
        )


class FollowForm(forms.Form):
    """How often the source is looked at again."""

    follow_seconds = forms.TypedChoiceField(
        label="Follow the source",
        coerce=int,
        required=False,
        choices=[
            (0, "no, carry it once"),
            (FOLLOW_SECONDS[0], "every 5 minutes"),
            (3600, "every hour"),
            (FOLLOW_SECONDS[1], "every day"),
        ],
        initial=0,
        help_text="New secrets and versions are carried until you stop it. Conflicts wait for you.",
    )
