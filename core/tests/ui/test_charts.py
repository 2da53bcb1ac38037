from datetime import date, timedelta

import pytest

from core.ui.charts import BASELINE, WIDTH, Part, activity_chart, rows, strip

FIRST = date(2026, 10, 26)


def days(*counts: tuple[int, int, int]) -> list[dict[str, object]]:
    return [
        {"day": FIRST + timedelta(days=offset), "reads": reads, "writes": writes, "denials": denials}
        for offset, (reads, writes, denials) in enumerate(counts)
    ]


def test_segments_stand_on_each_other_from_the_baseline() -> None:
    bar = activity_chart(days((60, 30, 10))).bars[0]

    floor = float(BASELINE)
    for segment in bar.segments:
        assert segment.y + segment.height == pytest.approx(floor, abs=0.02)
        floor = segment.y
    assert [segment.series for segment in bar.segments] == ["reads", "writes", "denials"]


def test_heights_are_in_proportion() -> None:
    first, second = activity_chart(days((100, 0, 0), (50, 0, 0))).bars

    assert first.segments[0].height == pytest.approx(2 * second.segments[0].height)


def test_a_single_event_stays_visible_beside_thousands() -> None:
    quiet = activity_chart(days((100_000, 0, 0), (0, 0, 1))).bars[1]

    assert quiet.segments[0].height >= 1.5


def test_bars_stay_within_the_drawing() -> None:
    chart = activity_chart(days(*[(1, 1, 1)] * 30))

    assert all(
        segment.x >= 0 and segment.x + segment.width <= WIDTH
        for bar in chart.bars
        for segment in bar.segments
    )
    assert all(segment.y >= 0 for bar in chart.bars for segment in bar.segments)


def test_nothing_at_all_is_drawn_as_nothing() -> None:
    chart = activity_chart(days((0, 0, 0), (0, 0, 0)))

    assert chart.busiest is None
    assert [bar.segments for bar in chart.bars] == [(), ()]
    assert activity_chart([]).bars == ()


def test_totals_and_the_busiest_day_are_told() -> None:
    chart = activity_chart(days((1, 2, 3), (10, 0, 0)))

    assert chart.totals == {"reads": 11, "writes": 2, "denials": 3}
    assert chart.busiest is not None
    assert chart.busiest.day == FIRST + timedelta(days=1)


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (3, 3), (7, 8), (9, 10), (11, 20), (22, 30), (501, 600)]
)
def test_the_scale_ends_at_a_round_number(most: int, top: int) -> None:
    assert activity_chart(days((most, 0, 0))).top == top


def test_a_strip_is_filled_by_its_pieces_and_shows_the_smallest() -> None:
    parts = [Part(label="many", count=100_000), Part(label="none", count=0), Part(label="one", count=1)]
    many, one = strip(parts)

    assert (many.part.label, one.part.label) == ("many", "one")
    assert many.x == 0
    assert one.x == pytest.approx(many.width, abs=0.02)
    assert many.width + one.width == pytest.approx(100, abs=0.02)
    assert one.width > 0.9
    assert strip([]) == strip([Part(label="none", count=0)]) == []


def test_rows_are_in_proportion_to_the_longest_and_none_is_left_out() -> None:
    found = rows([Part(label="a", count=50), Part(label="b", count=100), Part(label="c", count=0)])

    assert [piece.width for piece in found] == [50, 100, 0]
    assert [piece.width for piece in rows([Part(label="c", count=0)])] == [0]
