"""Calls a function in a Keeper's own process: `python -m benchmarks.inside MODULE:FUNCTION ARGUMENTS`.

Arguments and answer are JSON. Measuring here goes round HTTP on purpose.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

import django


def prepare() -> dict[str, Any]:
    """Issue an editor's token for each environment; return the tokens and the environments' ids."""
    from environments_app.authorization.principals import system_principal
    from environments_app.models import Environment
    from environments_app.tokens.service import issue

    environments = list(Environment.objects.all())
    actor = system_principal(is_admin=True)
    tokens = {
        each.name: issue(actor=actor, environment=each, role="editor", name="benchmark")[1]
        for each in environments
    }
    return {"tokens": tokens, "environments": {each.name: each.pk for each in environments}}


def main() -> None:
    """Set Django up and call what the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
    # Standard output is the answer; what is logged goes to the file alone.
    answer, sys.stdout = sys.stdout, sys.stderr
    django.setup()
    from audit_app.interfaces import keyring

    keyring().open_all()
    module, _, function = sys.argv[1].partition(":")
    answer.write(json.dumps(getattr(import_module(module), function)(**json.loads(sys.argv[2]))) + "\n")


if __name__ == "__main__":
    main()
