from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from environments_app import attempts
from environments_app.models import FailedSignIns

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def fail(username: str, times: int = attempts.MAX_FAILURES) -> None:
    for _ in range(times):
        attempts.note_failure(username)


def test_an_account_is_locked_whether_or_not_it_exists() -> None:
    fail("nobody", attempts.MAX_FAILURES - 1)
    attempts.check_account("nobody")
    fail("nobody", 1)
    with pytest.raises(TooManyRefusals):
        attempts.check_account("nobody")
    attempts.check_account("somebody")


def test_neither_other_names_nor_a_restart_unlock_it() -> None:
    fail("admin")
    for number in range(320):
        attempts.note_failure(f"user{number}")
    cache.clear()
    with pytest.raises(TooManyRefusals):
        attempts.check_account("admin")


def test_the_lock_ends_and_counting_starts_anew() -> None:
    fail("admin")
    over = timezone.now() - timedelta(seconds=attempts.WINDOW_SECONDS)
    FailedSignIns.objects.update(since=over)
    attempts.check_account("admin")
    fail("other", 1)
    assert FailedSignIns.objects.count() == 1
    fail("admin", 1)
    attempts.check_account("admin")


def test_a_right_password_starts_the_count_anew() -> None:
    fail("admin")
    attempts.forget_failures("admin")
    attempts.check_account("admin")


def test_what_was_typed_as_a_name_is_not_kept() -> None:
    fail("hunter2secret", 1)
    assert "hunter2secret" not in str(vars(FailedSignIns.objects.get()))
