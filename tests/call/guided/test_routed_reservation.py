"""`costscope.reserve(..., routed=True)`: what a route says reaches whoever reserves without a decorator."""

from __future__ import annotations

import pytest
from running import Books

import costscope
from costscope import BudgetExceeded, InvalidInput, Wait, budget_scope

PRICES = {"models": {"big": {"input": "10", "output": "20"}, "small": {"input": "1", "output": "2"}}}
STAGES = [
    {"stage": "planning", "model": "small", "max_tokens": 50},
    {"fallbacks": ["small"], "max_tokens": 800},
]


@pytest.fixture
def acting(make_runtime):
    def make(**budget):
        budgets = [{"id": "all", "limits": {"cost": "0.03"}} | budget]
        return make_runtime(
            policy={"prices": PRICES, "budgets": budgets, "routing": [{"id": "r", "stages": STAGES}]}
        )

    return make


@pytest.fixture
def reserve(colour):
    """Enters a reservation in either colour; what it says, and what becomes of it."""

    def run(runtime, body=lambda hold: hold.commit((10, 5)), **options):
        given = {"model": "big", "input_text": "Hi", "max_output_tokens": 100, "routed": True} | options
        said = {}

        def inside(hold):
            said.update(model=hold.model, max_tokens=hold.max_tokens, held=hold.held)
            body(hold)

        def plain():
            with costscope.reserve(runtime=runtime, **given) as hold:
                inside(hold)

        async def waiting():
            async with costscope.reserve(runtime=runtime, **given) as hold:
                inside(hold)

        colour.run(plain if colour.name == "sync" else waiting)
        return said

    return run


def test_a_stage_decides_the_model_and_the_cap(acting, reserve):
    runtime = acting()
    with budget_scope(runtime=runtime):
        planning = reserve(runtime, stage="planning")
        assert (planning["model"], planning["max_tokens"]) == ("small", 50)
        assert planning["held"]["output_tokens"] == 50
        other = reserve(runtime, max_output_tokens=900)
        assert (other["model"], other["max_tokens"]) == ("big", 800)
    assert Books(runtime).spent() == 10 * 1_000 + 5 * 2_000 + 10 * 10_000 + 5 * 20_000, (
        "each at its own price"
    )
    Books(runtime).settle()


def test_without_routed_the_model_that_was_named_is_reserved(acting, reserve):
    """Nobody would look at `hold.model`, and a cheaper one's hold would not cover the call."""
    runtime = acting()
    with budget_scope(runtime=runtime, stage="planning"):
        plain = reserve(runtime, routed=False)
        assert (plain["model"], plain["max_tokens"]) == ("big", 100)
        assert reserve(runtime)["model"] == "small", "the scope's label names the stage as well"
    Books(runtime).settle()


def test_a_refused_call_goes_on_to_the_fallback(acting, reserve):
    runtime = acting(on_limit="downgrade_then_reject")
    with budget_scope(runtime=runtime):
        assert reserve(runtime, input_tokens=2000, max_output_tokens=700)["model"] == "small"
        with pytest.raises(BudgetExceeded):
            reserve(runtime, input_tokens=40_000)
    Books(runtime).settle()


def test_a_threshold_caps_and_downgrades(acting, reserve):
    limited = {"do": "limit_capabilities", "max_tokens": 0.5}
    runtime = acting(thresholds=[{"at": 50, "actions": ["downgrade_model", limited]}])
    with budget_scope(runtime=runtime):
        with costscope.reserve(tool="t", price="0.02", runtime=runtime):
            pass
        said = reserve(runtime)
        assert (said["model"], said["max_tokens"], said["held"]["output_tokens"]) == ("small", 50, 50)
    Books(runtime).settle()


def test_what_is_known_of_the_call_goes_with_it(acting, reserve):
    runtime = acting()
    with budget_scope(runtime=runtime):
        before = reserve(runtime)["held"]["input_tokens"]
        assert reserve(runtime, input_tokens=70)["held"]["input_tokens"] == before + 70
        assert reserve(runtime, estimate="0.001")["held"]["cost"] == 1_000_000
        assert reserve(runtime, price="0.002")["held"]["cost"] == 2_000_000
        spent = Books(runtime).spent()
        for _ in range(2):
            reserve(runtime, price="0.002", idempotency_key="job-1", on_denied=Wait("1s"))
        assert Books(runtime).spent() == spent + 2_000_000
    Books(runtime).settle()


@pytest.mark.parametrize(
    "given",
    [{"tool": "t", "model": None}, {"tool": "t"}, {"routed": False, "stage": "planning"}],
    ids=["a tool", "both", "a stage without a route"],
)
def test_only_model_calls_are_routed(given, acting):
    with pytest.raises(InvalidInput, match="routed=True"):
        costscope.reserve(**({"model": "big", "routed": True, "runtime": acting()} | given))
