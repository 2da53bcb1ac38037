from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import User
from environments_app.tests.cast import Cast


def test_it_makes_an_administrator_on_record(
    cast: Cast, capsys: pytest.CaptureFixture[str], events: Callable[..., list[AuditEvent]]
) -> None:
    call_command("createsuperuser", "Olivia", "--email", "olivia@example.com")
    password = capsys.readouterr().out.strip().rpartition(" ")[2]
    user = User.objects.get(username="olivia")
    assert (user.is_admin, user.check_password(password)) == (True, True)
    (event,) = events(Action.USER_CREATE)
    assert (event.actor_kind, event.object_name) == ("system", "olivia")
    assert password not in str(vars(event))
    with pytest.raises(CommandError, match="is taken"):
        call_command("createsuperuser", "olivia")
