"""`keeper release` lists what waits, and takes one thing at a time."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from environments_app.errors import Forbidden, Invisible
from environments_app.tests.cast import Cast
from operations_app.backup.restore import release, suspendables, waiting


def test_nothing_waits_where_nothing_was_restored(cast: Cast) -> None:
    out = StringIO()
    call_command("release", stdout=out)
    assert out.getvalue() == "Nothing waits for its release.\n"


def test_it_releases_no_kind_as_a_whole(cast: Cast) -> None:
    with pytest.raises(CommandError, match="one by one"):
        call_command("release", "membership")


def test_it_refuses_what_does_not_wait(cast: Cast) -> None:
    with pytest.raises(CommandError, match="Not found"):
        call_command("release", "membership", str(cast.alice.uuid))


def test_administrators_alone_may_look(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        list(waiting(actor=cast.principal(cast.alice)))
    assert list(waiting(actor=cast.principal(cast.root))) == []
    assert release.__doc__


def test_administrators_alone_release_and_others_learn_of_none(cast: Cast) -> None:
    for each in suspendables():
        for person, refusal in ((cast.alice, Forbidden), (cast.root, Invisible)):
            with pytest.raises(refusal):
                each.release(actor=cast.principal(person), uuid=cast.bob.uuid, since=timezone.now())


def test_programs_read_that_nothing_waits(cast: Cast) -> None:
    for options in ([], ["--probe"]):
        out = StringIO()
        call_command("release", *options, "--format", "json", stdout=out)
        assert json.loads(out.getvalue()) == []
