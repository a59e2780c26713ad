"""What calls of a name usually use: a moving average, kept for a bounded number of names."""

from costscope import Usage
from costscope.engine.control.call_stats import CallAverages


def test_the_first_call_is_what_is_usual_and_later_ones_move_it():
    usual = CallAverages()
    assert usual.of("t", "cost") == 0
    usual.record_call("t", 800, None)
    assert usual.of("t", "cost") == 800
    usual.record_call("t", 1600, None)
    assert usual.of("t", "cost") == 900
    for _ in range(100):
        usual.record_call("t", 80, None)
    assert 80 <= usual.of("t", "cost") <= 88


def test_names_and_meters_are_apart():
    usual = CallAverages()
    usual.record_call("a", 5, Usage(input_tokens=10, output_tokens=3))
    usual.record_call("b", 7, None)
    assert [usual.of("a", meter) for meter in ("cost", "tokens", "input_tokens", "output_tokens")] == [
        5,
        13,
        10,
        3,
    ]
    assert [usual.of("b", meter) for meter in ("cost", "tokens")] == [7, 0]


def test_any_number_of_names_takes_bounded_room():
    usual = CallAverages()
    for number in range(10_000):
        usual.record_call(f"name-{number}", 1, None)
    assert len(usual._averages) <= 1024
    assert usual.of("name-9999", "cost") == 1
