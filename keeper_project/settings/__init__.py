"""Keeper's settings, by subject. Environment variables are declared where they are read.

`.env.example` and docs/configuration.md list all variables.
"""

# The order is that of the reference, and the first module reads .env.
# isort: off
from keeper_project.settings.installation import *  # noqa: F403
from keeper_project.settings.network import *  # noqa: F403
from keeper_project.settings.sign_in import *  # noqa: F403
from keeper_project.settings.sign_in import *  # noqa: F403
from keeper_project.settings.secrets import *  # noqa: F403
from keeper_project.settings.secrets import *  # noqa: F403
from keeper_project.settings.audit import *  # noqa: F403
from keeper_project.settings.sync import *  # noqa: F403
from keeper_project.settings.notifications import *  # noqa: F403
from keeper_project.settings.framework import *  # noqa: F403
from keeper_project.settings.schedule import *  # noqa: F403
from keeper_project.settings.wiring import *  # noqa: F403
