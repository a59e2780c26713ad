"""The table of meters: what is made from it agrees with it."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from costscope import Usage, budget_scope
from costscope.ledger.meters import (
    ADMISSION_METERS,
    CALL_METERS,
    COUNTERS,
    METERS,
    RUN_METERS,
    SLOTS,
    Meter,
    Slot,
)
from costscope.policy.model.controls import Constraints
from costscope.pricing.estimate.amounts import settled_amounts
from costscope.pricing.estimate.model_call import model_estimate
from costscope.pricing.prices.option import price_option

PRICE = price_option({"input": "1", "output": "2"})


def test_the_names_of_the_type_are_the_rows():
    assert tuple(METERS) == get_args(Meter)
    assert set(get_args(Slot)) == SLOTS
    assert all(row.name == name for name, row in METERS.items())


def test_a_letter_is_for_ever():
    """Books that were written with them are read with them."""
    assert {name: row.letter for name, row in METERS.items()} == {
        "cost": "a",
        "tokens": "b",
        "input_tokens": "c",
        "output_tokens": "d",
        "model_calls": "e",
        "tool_calls": "f",
        "runs": "g",
        "iterations": "h",
        "concurrent_runs": "i",
        "concurrent_calls": "j",
        "halts": "k",
    }


def test_what_each_group_holds():
    assert (*CALL_METERS, "runs", "iterations") == COUNTERS
    assert CALL_METERS == ("cost", "tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls")
    assert RUN_METERS == ("runs", "iterations", "concurrent_runs")
    assert ADMISSION_METERS == ("runs", "concurrent_runs")


def test_the_arguments_of_a_scope_are_those_of_the_table():
    arguments = [name for name in inspect.signature(budget_scope).parameters if name.startswith("max_")]
    expected = [f"max_{name}" for name, row in METERS.items() if row.argument]
    assert arguments == [*expected, "max_wall_clock"]


def test_the_constraints_of_a_run_are_meters():
    assert set(Constraints.__struct_fields__) <= {*METERS, "wall_clock"}


def test_a_model_call_holds_and_takes_of_every_meter_with_a_bound():
    bound = {name for name, row in METERS.items() if row.bound is not None}
    held = model_estimate(PRICE, input_tokens=10, output_tokens=5).amounts
    taken = settled_amounts(PRICE, Usage(8, 3))
    assert held.keys() == taken.keys() == bound
    assert held == {"cost": 20_000, "tokens": 15, "input_tokens": 10, "output_tokens": 5, "model_calls": 1}
    assert taken == {"cost": 14_000, "tokens": 11, "input_tokens": 8, "output_tokens": 3, "model_calls": 1}


@pytest.mark.parametrize("row", METERS.values(), ids=list(METERS))
def test_what_a_usage_says_of_a_meter_is_an_attribute_of_it(row):
    assert row.usage is None or isinstance(getattr(Usage(1, 2), row.usage), int)
