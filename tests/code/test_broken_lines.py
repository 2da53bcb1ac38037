"""The lines that `make broken-lines` breaks are still there, each once, and their tests exist."""

import pytest

from tools.broken_lines import BREAKS, ROOT, misplaced


def test_each_line_is_there_once() -> None:
    assert misplaced() == []


@pytest.mark.parametrize("path", sorted({path for each in BREAKS for path in each.tests.split()}))
def test_the_tests_that_notice_exist(path: str) -> None:
    assert (ROOT / path).exists()
