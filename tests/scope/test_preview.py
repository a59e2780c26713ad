"""`scope.preview`: what a call would do, without doing it."""

import asyncio

import pytest

from costscope import BudgetExceeded, Runtime, budget_scope, metered_model, metered_tool
from costscope.errors import InvalidInput


def test_an_allowed_call_names_the_tightest_account_and_how_many_fit(runtime):
    with (
        budget_scope(runtime=runtime, tenant="acme", max_cost="1.00"),
        budget_scope(runtime=runtime, agent="a", max_cost="0.05", max_tool_calls=9) as scope,
    ):
        preview = scope.preview(tool="search", price="0.02")
    assert (preview.allowed, preview.kind, preview.fits) == (True, None, 2)
    assert (preview.tightest.meter, preview.tightest.limit) == ("cost", 50_000_000)
    assert preview.requested == {"cost": 20_000_000, "tool_calls": 1}
    assert str(preview).startswith(
        "allowed: USD 0.02 asked of budget '~scope', which has USD 0.05 left; 2 such calls"
    )


def test_nothing_is_reserved(runtime):
    with budget_scope(runtime=runtime, max_cost="0.05") as scope:
        for _ in range(5):
            assert scope.preview(tool="search", price="0.02").allowed
        assert (scope.spent, scope.held) == (0, 0)
        assert runtime.audit().holds == 0


@pytest.mark.parametrize(("price", "kind"), [("0.06", "never_fits"), ("0.03", "exhausted"), ("0.02", None)])
def test_a_preview_and_the_call_agree(runtime, price, kind):
    """Whatever the preview says, the call of the same moment does."""

    @metered_tool("search", price=price, runtime=runtime)
    def search():
        return "found"

    with budget_scope(runtime=runtime, max_cost="0.05") as scope:
        metered_tool("first", price="0.03", runtime=runtime)(lambda: None)()
        preview = scope.preview(tool="search", price=price)
        assert (preview.allowed, preview.kind) == (kind is None, kind)
        if kind is None:
            assert search() == "found"
        else:
            assert preview.fits == 0
            with pytest.raises(BudgetExceeded) as refusal:
                search()
            assert refusal.value.kind == kind


def test_what_is_held_by_others_is_in_flight(runtime):
    answers = []

    @metered_tool("slow", price="0.04", runtime=runtime)
    def slow(scope):
        answers.append(scope.preview(tool="search", price="0.02"))

    with budget_scope(runtime=runtime, max_cost="0.05") as scope:
        slow(scope)
    assert [(answer.allowed, answer.kind) for answer in answers] == [(False, "in_flight")]


def test_a_capped_call_is_told_the_output_it_could_pay_for(runtime):
    """The preview's `max_output_tokens` is what the reservation of the same moment gets."""
    given = []

    @metered_model("gpt-4o-mini", estimate="capped", runtime=runtime)
    def complete(prompt, *, max_tokens=50_000):
        given.append(max_tokens)

    with budget_scope(runtime=runtime, max_cost="0.001") as scope:
        preview = scope.preview(
            model="gpt-4o-mini", input_text={"prompt": "hi"}, max_output_tokens=50_000, estimate="capped"
        )
        complete("hi")
    assert preview.allowed
    assert 16 <= preview.max_output_tokens < 50_000
    assert abs(given[0] - preview.max_output_tokens) < 50, "they bound the same text"


def test_a_scope_without_budgets_allows_everything():
    with Runtime() as runtime, budget_scope(runtime=runtime, tenant="acme") as scope:
        preview = scope.preview(tool="search", price="5")
    assert (preview.allowed, preview.tightest, preview.fits) == (True, None, -1)
    assert "no budget covers" in str(preview)


def test_a_limit_of_zero_refuses_any_cost(runtime):
    with budget_scope(runtime=runtime, max_cost="0") as scope:
        assert scope.preview(tool="search", price="0.01").kind == "never_fits"
        assert scope.preview(tool="search", price="0").allowed


def test_the_call_must_be_a_model_or_a_tool(runtime):
    with (
        budget_scope(runtime=runtime, max_cost="1") as scope,
        pytest.raises(InvalidInput, match="either model= or tool="),
    ):
        scope.preview(price="0.01")


def test_it_has_an_awaitable_twin(runtime):
    async def main():
        async with budget_scope(runtime=runtime, max_cost="0.05") as scope:
            preview = await scope.apreview(tool="search", price="0.02")
        await runtime.store.aclose()
        return preview

    assert asyncio.run(main()).fits == 2
