"""Forgejo and Gitea: what they cannot prove, names, values, lists, lost answers and permissions, on a strict stand-in."""

from collections.abc import Iterator
from datetime import UTC
from uuid import UUID

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.forgejo.tests.world import ForgejoWorld, GiteaWorld
from sync_app.backends.observations import Mark
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    NameUnusable,
    OutcomeUnknown,
    Overwritten,
    PermissionMissing,
    QuotaExceeded,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.tests.applying.stage import Stage

TOKEN = "0123456789abcdef0123456789abcdef"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(forgejo: ForgejoWorld) -> Iterator[Backend]:
    with forgejo.backend() as made:
        yield made


class TestNamesAndValues:
    """What the plan refuses, and what no request is sent for."""

    @pytest.mark.parametrize("name", ["forgejo/x", "gitea-x", "GITHUB_X", "1x"])
    def test_a_name_that_is_not_taken_is_refused_before_any_request(
        self, forgejo: ForgejoWorld, name: str
    ) -> None:
        with forgejo.backend(prefix="") as backend:
            assert backend.explain_refusal("create", name)
            with pytest.raises(NameUnusable):
                backend.create(name, "x", mark=MARK, token=TOKEN)
        assert not forgejo.forgejo.calls

    @pytest.mark.parametrize("value", ["", "one\r\ntwo", "one\rtwo"])
    def test_a_value_that_would_be_altered_is_refused(self, backend: Backend, value: str) -> None:
        assert backend.checks_content
        refusal = backend.explain_content_refusal(value)
        assert refusal
        assert not value or value not in refusal
        with pytest.raises(ValueUnusable):
            backend.create("one", value, mark=MARK, token=TOKEN)
        assert backend.get_metadata("one").presence is Presence.ABSENT

    def test_a_value_that_not_each_database_holds_is_refused(self, backend: Backend) -> None:
        with pytest.raises(QuotaExceeded):
            backend.create("one", "x" * 65_001, mark=MARK, token=TOKEN)

    @pytest.mark.parametrize("place", [{"owner": "a/b"}, {"repository": ".."}, {"ca_certificate": "none"}])
    def test_no_destination_leads_elsewhere(self, forgejo: ForgejoWorld, place: dict[str, str]) -> None:
        with pytest.raises(BadDestination) as caught:
            forgejo.backend(**place)
        assert caught.value.field in place

    def test_the_identity_stays_where_the_server_moves_to_another_zone(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        forgejo.forgejo.zone = UTC
        assert backend.get_metadata("one") == made
        backend.update(made, "second", token=TOKEN)

    def test_it_writes_to_an_organisation(self, forgejo: ForgejoWorld) -> None:
        with forgejo.backend(repository="") as backend:
            backend.create("one", "first", mark=MARK, token=TOKEN)
            assert backend.identify_system().endswith("/organizations/2002")
        assert [found["value"] for found in forgejo.forgejo.organization.values()] == ["first"]
        assert not forgejo.forgejo.repository

    def test_a_description_stays(self, gitea: GiteaWorld) -> None:
        path = f"{gitea.prefix}/one"
        with gitea.backend() as backend:
            made = backend.create("one", "first", mark=MARK, token=TOKEN)
            gitea.forgejo.put(gitea.secrets, next(iter(gitea.secrets)), "theirs", "whose it is")
            backend.update(made, "second", token=TOKEN)
        assert gitea.value(path) == "second"
        assert [found["description"] for found in gitea.secrets.values()] == ["whose it is"]


class TestLists:
    """The list is the only look."""

    def test_it_lists_every_page(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        for number in range(120):
            forgejo.write(f"{forgejo.prefix}/n{number:03}", "x")
        assert len(list(backend.list_secrets())) == 120
        assert backend.get_metadata("n119").presence is Presence.PRESENT

    def test_a_list_that_changes_while_it_is_read_is_not_complete(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        for number in range(60):
            forgejo.write(f"{forgejo.prefix}/n{number:02}", "x")
        seen = backend.list_secrets()
        next(seen)
        forgejo.remove(f"{forgejo.prefix}/n00")
        with pytest.raises(TargetUnreachable):
            list(seen)

    def test_a_list_in_no_order_frees_no_name(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        for number in range(60):
            forgejo.write(f"{forgejo.prefix}/n{number:02}", "theirs")
        # The second page shows names of the first: the last ten are on neither.
        forgejo.forgejo.has_order = False
        with pytest.raises(TargetUnreachable):
            list(backend.list_secrets())
        with pytest.raises(TargetUnreachable):
            backend.create("n59", "ours", mark=MARK, token=TOKEN)
        assert forgejo.value(f"{forgejo.prefix}/n59") == "theirs"

    @pytest.mark.parametrize("total", ["-1", "1"])
    def test_a_count_that_is_not_true_ends(self, forgejo: ForgejoWorld, backend: Backend, total: str) -> None:
        for number in range(3):
            forgejo.write(f"{forgejo.prefix}/n{number}", "x")
        forgejo.forgejo.always = {"X-Total-Count": total}
        assert len(list(backend.list_secrets())) == 3


class TestWrites:
    """What an answer, or none, proves."""

    def test_another_client_creates_it_just_before(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        path = f"{forgejo.prefix}/one"
        forgejo.forgejo.before["put"] = lambda: forgejo.write(path, "theirs")
        with pytest.raises(Overwritten):
            backend.create("one", "ours", mark=MARK, token=TOKEN)

    def test_what_is_deleted_just_before_an_update_is_created(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        path = f"{forgejo.prefix}/one"
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        forgejo.forgejo.before["put"] = lambda: forgejo.remove(path)
        after = backend.update(made, "second", token=TOKEN)
        assert after.remote_id != made.remote_id
        assert (forgejo.value(path), backend.get_metadata("one")) == ("second", after)

    def test_what_was_created_again_is_another(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        forgejo.remove(f"{forgejo.prefix}/one")
        forgejo.write(f"{forgejo.prefix}/one", "theirs")
        for act in (lambda: backend.update(made, "second", token=TOKEN), lambda: backend.delete(made)):
            with pytest.raises(ChangedSinceRead):
                act()
        assert forgejo.value(f"{forgejo.prefix}/one") == "theirs"

    def test_a_creation_without_an_answer_is_known_by_its_time(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        forgejo.forgejo.failing["put"] = 0
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        assert backend.get_metadata("one") == made

    def test_an_update_without_an_answer_is_repeated(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        forgejo.forgejo.failing["put"] = 0
        with pytest.raises(TargetUnreachable) as caught:
            backend.update(made, "second", token=TOKEN)
        assert not caught.value.permanent
        backend.update(made, "second", token=TOKEN)
        assert forgejo.value(f"{forgejo.prefix}/one") == "second"

    def test_a_creation_that_a_list_does_not_show_yet_is_unknown(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        forgejo.forgejo.before["put"] = lambda: forgejo.forgejo.lagging.update(list=1)
        with pytest.raises(OutcomeUnknown) as caught:
            backend.create("one", "first", mark=MARK, token=TOKEN)
        assert backend.is_write_of(backend.get_metadata("one"), caught.value.made)

    def test_a_refused_write_says_what_is_missing(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        forgejo.forgejo.denied.add("write")
        for forgejo.forgejo.hides in (False, True):
            with pytest.raises(PermissionMissing, match="write:repository"):
                backend.create("one", "first", mark=MARK, token=TOKEN)
            grants = [each.grant for each in backend.probe_permissions()]
            assert grants == [Grant.GRANTED, Grant.MISSING, Grant.MISSING]

    def test_the_test_of_permissions_leaves_nothing(self, forgejo: ForgejoWorld, backend: Backend) -> None:
        assert {each.grant for each in backend.probe_permissions()} == {Grant.GRANTED}
        assert not forgejo.secrets

    def test_a_place_that_is_not_shown_is_no_absent_secret(
        self, forgejo: ForgejoWorld, backend: Backend
    ) -> None:
        made = backend.create("one", "first", mark=MARK, token=TOKEN)
        forgejo.forgejo.visible = False
        for act in (
            lambda: backend.get_metadata("one"),
            lambda: list(backend.list_secrets()),
            lambda: backend.update(made, "second", token=TOKEN),
            lambda: backend.delete(made),
        ):
            with pytest.raises(MountMissing):
                act()

    def test_a_token_that_is_not_known_is_told_of(self, forgejo: ForgejoWorld) -> None:
        forgejo.credentials = {"token": "another"}
        with forgejo.backend() as backend, pytest.raises(CredentialsRejected) as caught:
            backend.check_connection()
        assert "another" not in str(caught.value)


@pytest.mark.django_db
class TestPasses:
    """What a pass makes of it."""

    @pytest.fixture
    def stage(self, cast: Cast, forgejo: ForgejoWorld) -> Stage:
        return Stage(cast, forgejo, deletion="recoverable", budget_percent=100)

    def test_another_clients_write_is_replaced_by_the_next_change(
        self, forgejo: ForgejoWorld, stage: Stage
    ) -> None:
        """The limit that docs/sync.md names."""
        stage.keep("one", "first")
        stage.sync()
        stage.edit("one", "theirs")
        assert stage.sync().counts == {"unchanged": 1}
        stage.keep("one", "second")
        stage.sync()
        assert stage.theirs("one") == "second"

    def test_what_another_client_made_again_is_not_ours(self, forgejo: ForgejoWorld, stage: Stage) -> None:
        stage.keep("one", "first")
        stage.sync()
        forgejo.remove(stage.path("one"))
        stage.edit("one", "theirs")
        stage.keep("one", "second")
        stage.sync()
        assert stage.theirs("one") == "theirs"
        assert stage.entry("one").state == "ownership_lost"

    def test_what_keeper_deletes_goes(self, stage: Stage) -> None:
        stage.keep("one", "first")
        stage.keep("two", "first")
        stage.sync()
        stage.drop("one")
        stage.sync()
        assert stage.world.labels_or_none(stage.path("one")) is None
        assert stage.theirs("two") == "first"


def test_no_error_repeats_a_value(forgejo: ForgejoWorld, backend: Backend) -> None:
    for status in (400, 422, 500):
        forgejo.forgejo.failing["put"] = status
        with pytest.raises(BackendError) as caught:
            backend.create("one", "kanarienvogel", mark=MARK, token=TOKEN)
        assert "kanarienvogel" not in f"{caught.value!r} {caught.value.__cause__!r}"
