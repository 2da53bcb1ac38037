"""Guides a new installation to a first environment, secret, token, read by a program, and target.

A step counts as done when its object exists, the read when a token was used; nothing else is stored.
"""

from dataclasses import dataclass

from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, environments_for, grants_allow
from environments_app.models import Environment, ServiceToken
from environments_app.tokens.expiry_alerts import listed_tokens
from secrets_app.queries.lookup import visible_secrets
from sync_app.targets.lookup import visible_targets


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; `url` leads to where it is done."""

    title: str
    why: str
    done: bool
    url: str
    label: str


def first_steps(actor: Principal, *, environments: list[Environment], secrets: int) -> list[Step]:
    """Return the steps for a user who may do all of them somewhere, until each is done; else none."""
    place = _managed(actor, environments)
    if place is None and not (actor.is_admin and not environments):
        return []
    steps = [
        Step(
            title="Create an environment",
            why="Group secrets with their own members, tokens and encryption keys.",
            done=bool(environments),
            url=reverse("environment-new"),
            label="New environment",
        )
    ]
    if place is not None:
        steps += _inside(actor, place, secrets)
    return [] if all(step.done for step in steps) else steps


def _inside(actor: Principal, place: Environment, secrets: int) -> list[Step]:
    named = f"?environment={place.name}"
    tokens = listed_tokens(actor)
    newest = tokens.order_by("-pk").first()
    return [
        Step(
            title="Add a secret",
            why="Encrypted at rest. Every reveal is logged.",
            done=bool(secrets),
            url=reverse("secret-new") + named,
            label="New secret",
        ),
        Step(
            title="Issue a service token",
            why="Let an app or CI job read secrets.",
            done=newest is not None,
            url=reverse("environment-detail", args=[place.name]) + "#tokens",
            label="Issue a token",
        ),
        Step(
            title="Read the secret from a program",
            why="Run the command on the secret's page with the token. It appears under Activity.",
            done=tokens.filter(last_used_at__isnull=False).exists(),
            url=_use_of_a_secret(actor, newest, place),
            label="Show the command",
        ),
        Step(
            title="Connect a sync target",
            why="Sync to AWS, GitHub, GitLab, Kubernetes or Vault. Review a plan before anything changes.",
            done=visible_targets(actor).exists(),
            url=reverse("target-new") + named,
            label="New target",
        ),
    ]


def _use_of_a_secret(actor: Principal, token: ServiceToken | None, place: Environment) -> str:
    """Return where a page shows how the token reads a secret; or the list of secrets while there is none."""
    secrets = visible_secrets(actor).filter(environment=token.environment_id if token else place.pk)
    if token and token.prefix:
        secrets = secrets.filter(name__startswith=f"{token.prefix}/")
    first = secrets.values_list("pk", flat=True).first()
    return reverse("secret-detail", args=[first]) + "#use-title" if first else reverse("secret-list")


def _managed(actor: Principal, environments: list[Environment]) -> Environment | None:
    """Return the first environment in which the actor may take every step, by their own grants."""
    if environments_for(actor, Action.TOKEN_ISSUE) is None:
        return None
    manages = (
        each for each in environments if grants_allow(actor, Action.TARGET_CREATE, environment_id=each.pk)
    )
    return next(manages, None)
