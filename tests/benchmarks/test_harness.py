"""The statistics of the benchmarks, on fixed numbers."""

import asyncio

import pytest


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds(harness):
    pairs = harness.Pairs(floor=(10.0, 20.0, 40.0), ours=(30.0, 30.0, 100.0))
    assert pairs.ratio() == (2.5, 3.0)  # 3.0, 1.5, 2.5; the ratio of the medians would be 1.5


def test_an_extra_is_the_median_of_the_differences_within_the_rounds(harness):
    pairs = harness.Pairs(floor=(1.0, 5.0, 2.0), ours=(4.0, 8.5, 9.0))
    assert pairs.extra() == (3.5, 3.0)


def test_a_rate_is_a_multiple_of_the_floors_and_not_the_other_way_round(harness):
    pairs = harness.Pairs(floor=(60.0, 50.0, 80.0), ours=(10.0, 20.0, 20.0))
    assert pairs.rate() == (4.0, 5.0)


def test_one_disturbed_block_does_not_make_the_figure_of_the_least_times(harness):
    pairs = harness.Pairs(floor=(900.0, 10.0), ours=(20.0, 700.0))
    assert (pairs.ratio()[1], pairs.extra()[1], pairs.rate()[1]) == (2.0, 10.0, 0.5)


def test_an_even_number_of_rounds_takes_the_mean_of_the_middle_two(harness):
    assert harness.Pairs(floor=(1.0, 1.0), ours=(2.0, 4.0)).ratio() == (3.0, 2.0)


@pytest.mark.parametrize(("floor", "ours"), [((), ()), ((1.0,), (1.0, 2.0))])
def test_rounds_without_a_partner_are_refused(harness, floor, ours):
    with pytest.raises(ValueError, match="as many of each"):
        harness.Pairs(floor, ours)


@pytest.mark.parametrize(
    ("sense", "figure", "met"),
    [
        ("at most", 1.75, True),
        ("at most", 1.7500001, False),
        ("below", 20.0, False),
        ("below", 19.9, True),
        ("at least", 3.0, True),
        ("at least", 2.99, False),
        ("at most", float("nan"), False),
    ],
)
def test_a_target_is_met_on_its_bound_unless_it_says_below(harness, sense, figure, met):
    assert harness.Target(sense, {"at most": 1.75, "below": 20, "at least": 3}[sense]).met(figure) is met


def test_a_figure_without_a_target_is_neither_met_nor_missed(harness):
    assert harness.Figure("memory", 284, "B").met is None
    assert harness.Figure("memory", 284, "B", target=harness.Target("at most", 400)).met is True


def test_a_rate_figure_shows_operations_a_second(harness):
    pairs = harness.Pairs(floor=(50.0, 50.0, 50.0), ours=(10.0, 20.0, 25.0))
    figure = harness.Figure.of_rate("pairs", pairs, "PING", harness.Target("at least", 3))
    assert (figure.ours, figure.floor, figure.measured_in) == (50_000.0, 20_000.0, "/s")
    assert (figure.figure, figure.of_least, figure.met) == (2.5, 5.0, False)


def test_an_extra_figure_shows_both_times(harness):
    figure = harness.Figure.of_extra("call", harness.Pairs((0.5, 0.5), (6.0, 6.5)), "bare")
    assert (figure.ours, figure.floor, figure.figure, figure.of_least) == (6.25, 0.5, 5.75, 5.5)


def test_each_round_begins_with_another_contender(harness):
    orders = [harness.rotate_names(["a", "b", "c"], number) for number in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_contenders_take_turns_and_warm_up_once(harness):
    performed = []
    blocks = {
        "a": lambda times: performed.append(("a", times)),
        "b": lambda times: performed.append(("b", times)),
    }
    found = harness.rounds(blocks, count=2, size=7)
    assert performed == [(name, 7) for name in ("a", "b", "a", "b", "b", "a")]
    assert [len(times) for times in found.times.values()] == [2, 2]


def test_tasks_take_turns_like_functions(harness):
    performed = []

    async def block(times):
        performed.append(times)

    found = asyncio.run(harness.arounds({"a": block, "b": block}, count=3, size=5))
    assert performed == [5] * 8
    assert found.pairs("a", "b").ours == found.times["b"]


def test_a_looping_block_performs_its_operation_as_often_as_it_is_told(harness):
    performed = []
    harness.repeat_operation(lambda: performed.append(1))(5)
    assert len(performed) == 5


def test_an_effort_picks_the_number_for_its_kind_of_run(harness):
    assert harness.Effort(quick=False).times(300, 40) == 300
    assert harness.Effort(quick=True).times(300, 40) == 40
