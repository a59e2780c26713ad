"""Prices far from the public ones, fallbacks that are dearer, models without a price."""

import pytest

from costscope.policy.lint.policy_lint import lint_policy
from costscope.policy.load.loader import parse_policy
from costscope.pricing.prices.book import PriceBook

pytest.importorskip("genai_prices")


def priced(**rates):
    said = ", ".join(f"{name}: '{value}'" for name, value in rates.items())
    return f"prices: {{models: {{gpt-4o: {{{said}}}}}}}\n"


def test_a_price_per_million_that_was_taken_for_one_per_thousand(warnings_of):
    """In the strands-costguard format `input_per_1k: 2.50`, here 2500 per million."""
    found = warnings_of(priced(input="2500", output="10000"))
    assert found == {
        "$.prices.models.gpt-4o.input": "2.50 per 1k is 1000 x the known price of gpt-4o: per million? "
        "(the public one is 2.50 per million)",
        "$.prices.models.gpt-4o.output": "10.00 per 1k is 1000 x the known price of gpt-4o: per million? "
        "(the public one is 10.00 per million)",
    }


def test_the_same_in_the_other_direction(warnings_of):
    found = warnings_of(priced(input="0.0025", output="0.01"))
    assert found["$.prices.models.gpt-4o.input"] == (
        "0.0025 per million is 1/1000 of the known price of gpt-4o: per 1k? (the public one is 2.50 per million)"
    )
    assert len(found) == 2


def test_a_price_of_nothing(warnings_of):
    assert (
        "is nothing, which is less than the known price of gpt-4o"
        in (warnings_of(priced(input="0", output="10"))["$.prices.models.gpt-4o.input"])
    )


@pytest.mark.parametrize(
    ("rate", "suspicious"), [("249", False), ("250", True), ("0.0251", False), ("0.025", True)]
)
def test_a_hundred_times_is_where_it_begins(warnings_of, rate, suspicious):
    assert bool(warnings_of(priced(input=rate, output="10"))) == suspicious


@pytest.mark.parametrize("text", ["house-model: {input: 99999, output: 1}", "gpt-4o: {max_output_tokens: 5}"])
def test_what_cannot_be_compared_is_left_alone(warnings_of, text):
    assert warnings_of(f"prices: {{models: {{{text}}}}}\n") == {}


def test_public_prices_are_in_dollars_and_say_nothing_about_others(warnings_of):
    assert warnings_of(f"currency: JPY\n{priced(input='2500', output='10000')}") == {}


def stages(*models):
    first, *others = models
    return f"routing: [{{id: r, stages: [{{model: {first}, fallbacks: [{', '.join(others)}]}}]}}]\n"


def test_a_fallback_dearer_than_its_default(warnings_of):
    [(place, problem)] = warnings_of(stages("gpt-4o-mini", "gpt-4o")).items()
    assert place == "$.routing[0].stages[0].fallbacks[0]"
    assert problem == (
        "gpt-4o is dearer than gpt-4o-mini: 0.0125 against 0.00075 for 1,000 tokens in and 1,000 out; "
        "it is passed over where less is to be spent"
    )
    assert warnings_of(stages("gpt-4o", "gpt-4o-mini")) == {}


def test_a_fallback_dearer_than_the_one_before_it(warnings_of):
    own = "prices: {models: {a: {input: 3, output: 3}, b: {input: 1, output: 1}, c: {input: 2, output: 2}}}\n"
    assert list(warnings_of(own + stages("a", "b", "c"))) == ["$.routing[0].stages[0].fallbacks[1]"]
    assert warnings_of(own + stages("a", "c", "b")) == {}


def test_a_model_without_a_price_is_refused_as_a_default_and_passed_over_as_a_fallback(warnings_of):
    found = warnings_of(
        stages("gpt-4o", "no-such-model-x")
        + "budgets: [{id: a, limits: {cost: 1}, thresholds: [{at: 5, actions: [{downgrade_model: nor-this-y}]}]}]\n"
    )
    assert set(found) == {
        "$.routing[0].stages[0].fallbacks[0]",
        "$.budgets[0].thresholds[0].actions[0].model",
    }
    assert all("no price is known" in problem and "is passed over" in problem for problem in found.values())
    [(place, problem)] = warnings_of(stages("no-such-model-x", "gpt-4o-mini")).items()
    assert (place, "its calls are refused" in problem) == ("$.routing[0].stages[0].model", True)


def test_without_the_table_a_note_says_what_was_not_looked_at(monkeypatch):
    monkeypatch.setattr(PriceBook, "preload", lambda _: False)
    found = lint_policy(parse_policy(priced(input="2500", output="1")))
    assert found.warnings == ()
    assert "pip install 'costscope[prices]'" in found.notes[0]
    assert lint_policy(parse_policy("budgets: [{id: a, limits: {cost: 1}}]")).notes == ()
