"""What is loaded before a fork stays shared: its processes count no references in it."""

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from keeper_project.config.kept_pages import keep_shared

Answer = TypeVar("Answer")
COUNT = 200_000

pytestmark = pytest.mark.skipif(
    not (3, 12) <= sys.version_info[:2] <= (3, 13), reason="another Python counts in another way"
)


def forked(act: Callable[[], Answer]) -> Answer:
    """Return what a function returns in a child: what it makes immortal stays out of this process."""
    answers, answer = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: answer.send(act()))
    process.start()
    answer.close()
    try:
        return answers.recv()  # type: ignore[no-any-return]
    finally:
        process.join()


def test_a_process_that_uses_what_is_loaded_gets_no_copy_of_it() -> None:
    def copied() -> int:
        loaded = [str(number) for number in range(COUNT)]
        keep_shared()

        def use() -> int:
            before = _private_kilobytes()
            held = loaded[:]
            return _private_kilobytes() - before - sys.getsizeof(held) // 1024

        return forked(use)

    # They are 10 MB, which a process would copy by counting a reference to each.
    assert forked(copied) < 3_000


def test_what_is_made_afterwards_is_freed_and_what_was_there_before_still_works() -> None:
    def works() -> tuple[int, dict[str, int], str]:
        table, text = {"one": 1}, str(123)
        keep_shared()
        fresh = object()
        table["two"] = 2
        text += "4"
        return sys.getrefcount(fresh), table, text

    assert forked(works) == (2, {"one": 1, "two": 2}, "1234")


def test_what_code_holds_is_kept_as_well() -> None:
    names: dict[str, Callable[[], str]] = {}
    exec("def answer():\n    return 'a text of its own'", names)  # Code that nothing else holds.

    def counted() -> int:
        keep_shared()
        return sys.getrefcount(names["answer"]())

    assert forked(counted) > COUNT


def _private_kilobytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
