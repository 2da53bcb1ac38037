"""Fixtures of the sync's tests, for those in the folders of systems as well."""

from sync_app.tests.fixtures import *  # noqa: F403 - pytest looks for them here
from tests.servers.fixtures import *  # noqa: F403 - pytest looks for them here
