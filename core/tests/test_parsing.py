import pytest

from core.parsing import whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("200", 200)])
def test_it_reads_digits_within_the_bound(text: str, number: int) -> None:
    assert whole_number(text, largest=200) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "1.0", "٣", "²", "201", "0200", "9" * 5000])
def test_it_refuses_everything_else(text: str) -> None:
    assert whole_number(text, largest=200) is None
