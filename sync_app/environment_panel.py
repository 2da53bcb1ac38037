"""Shows on the page of an environment the targets that it is kept in step with."""

from collections.abc import Mapping
from typing import Any

from environments_app.models import Environment
from sync_app.models import Target
from sync_app.target_rows import target_rows


class TargetPanel:
    """The sync's part of the page of an environment, which its managers and administrators see."""

    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        """Return the targets of an environment; three statements, however many there are."""
        targets = Target.objects.filter(environment=environment, live=True).select_related("environment")
        return {
            "template": "sync_app/_environment_panel.html",
            "rows": target_rows(targets.defer("credentials")),
        }
