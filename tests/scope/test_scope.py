"""Scopes: nesting, labels, limits, entering and leaving in every way."""

from __future__ import annotations

import asyncio
import contextvars
from decimal import Decimal

import pytest
from running import default_runtime

from costscope import (
    BudgetExceeded,
    CallUnscoped,
    InvalidAmount,
    InvalidInput,
    InvalidLabel,
    Runtime,
    budget_scope,
    metered_tool,
)
from costscope.engine.run.run_life import close_scope
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of

CENT = 10_000_000


@pytest.fixture
def tool(runtime):
    return metered_tool("t", price="0.01", runtime=runtime)(lambda: None)


def test_labels_are_inherited_and_added_to(runtime):
    with budget_scope(runtime=runtime, tenant="acme") as outer:
        with budget_scope(runtime=runtime, agent="a", tenant="acme") as inner:
            assert inner.labels == {"tenant": "acme", "agent": "a"}
            assert inner.parent is outer
        assert outer.labels == {"tenant": "acme"}
        assert outer.parent is None


def test_a_child_may_not_change_what_it_inherited(runtime):
    with budget_scope(runtime=runtime, tenant="acme"):
        with pytest.raises(InvalidLabel, match="a child may not change"):
            budget_scope(runtime=runtime, tenant="evil").__enter__()
        with budget_scope(runtime=runtime, agent="a"), pytest.raises(InvalidLabel, match="tenant='acme'"):
            budget_scope(runtime=runtime, tenant="evil").__enter__()
        assert runtime.current_scope().labels == {"tenant": "acme"}, "a refused scope is not entered"


def test_the_same_label_in_two_spellings_is_the_same(runtime):
    with (
        budget_scope(runtime=runtime, tenant="caf\u00e9"),
        budget_scope(runtime=runtime, tenant="cafe\u0301") as inner,
    ):
        assert inner.labels == {"tenant": "caf\u00e9"}


BAD_LABELS = {
    "empty": "",
    "10 kB": "x" * 10_240,
    "129 characters": "x" * 129,
    "NUL": "a\0b",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "escape": "a\x1bb",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
    "a number": 3,
    "none": None,
    "bytes": b"acme",
}
GOOD_LABELS = {
    "braces": "a{b}c",
    "emoji": "🦊",
    "colon": "a:b",
    "slash": "a/b,c=d",
    "percent": "a%3Ab",
    "space": "a b",
    "128 characters": "x" * 128,
    "star": "*",
    "tilde": "~scope",
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_label_that_could_do_harm_is_refused(name, runtime, books):
    with pytest.raises(InvalidLabel, match="tenant") as refusal:
        budget_scope(runtime=runtime, tenant=BAD_LABELS[name]).__enter__()
    assert len(str(refusal.value)) < 300, "the message does not repeat ten kilobytes"
    assert "\n" not in str(refusal.value)
    assert runtime.current_scope() is None


@pytest.mark.parametrize("name", GOOD_LABELS)
def test_a_label_with_odd_characters_keeps_an_account_of_its_own(name, runtime, tool, books):
    value = GOOD_LABELS[name]
    with budget_scope(runtime=runtime, run=value, max_cost="1") as scope:
        tool()
        scope.refresh()
        assert scope.spent == Decimal("0.01")
        (row,) = [row for row in scope.balances() if row.budget == "~scope"]
        assert row.labels == {"run": value}
    with budget_scope(runtime=runtime, run=value + "x"[: 128 - len(value)] or "other", max_cost="1") as other:
        other.refresh()
        assert other.spent == 0 or len(value) == 128
    books.settle()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"run": "a:b"}, {"run": "a", "b": "b"}),
        ({"run": "a,b=c"}, {"run": "a", "b": "c"}),
        ({"run": "a/0-0"}, {"run": "a"}),
        ({"run": "a%2Cb"}, {"run": "a,b"}),
        ({"run": "A"}, {"run": "a"}),
        ({"run": "a", "agent": "b"}, {"run": "b", "agent": "a"}),
        ({"run": "x}"}, {"run": "x"}),
        ({"run": "é"}, {"run": "e"}),
    ],
)
def test_different_labels_never_share_an_account(one, two, runtime, tool, books):
    for labels in (one, two):
        with budget_scope(runtime=runtime, **labels, max_cost="0.01") as scope:
            tool()
            with pytest.raises(BudgetExceeded):
                tool()
            assert scope.remaining == 0
    assert len([key for key in books.accounts() if key.startswith("~scope/")]) == 2
    books.settle()


@pytest.mark.parametrize("name", ["Tenant", "9lives", "a-b", "a b", "é", "x" * 65])
def test_a_label_name_is_an_identifier(name, runtime):
    with pytest.raises(InvalidLabel, match="label"):
        budget_scope(runtime=runtime, **{name: "x"}).__enter__()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("max_costs", "max_cost"),
        ("max_model_call", "max_model_calls"),
        ("max_tool_cals", "max_tool_calls"),
        ("max_foo", ""),
    ],
)
def test_a_limit_that_does_not_exist_is_refused_with_a_suggestion(wrong, right):
    with pytest.raises(InvalidInput, match=f"{wrong}= is no limit") as refusal:
        budget_scope(**{wrong: 3})
    assert (f"did you mean {right}=?" in str(refusal.value)) == bool(right)
    assert "max_output_tokens" in str(refusal.value)


BAD_MONEY = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    -0.01,
    "-1",
    True,
    2**53,
    "9007199.254740992",
    "1e400",
    1e400,
    "1e3",
    "1_0",
    "١٢",
    "\uff11",
    " 1",
    "1 ",
    "+1",
    "",
    ".5",
    "1.",
    "0x10",
    "NaN",
    "Infinity",
    "1,5",
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal(-1),
    b"1",
    [1],
    1j,
    10**5000,
]
BAD_COUNTS = [float("nan"), 1.0, -1, True, 2**53, "5", "1e400", Decimal(5), type(None), b"1", 10**5000]


@pytest.mark.parametrize(
    "amount",
    BAD_MONEY,
    ids=lambda amount: repr(amount)[:30] if not isinstance(amount, int) else f"int{amount % 1000}",
)
def test_a_cost_limit_that_is_no_amount_is_refused(amount):
    with pytest.raises(InvalidAmount, match="max_cost") as refusal:
        budget_scope(max_cost=amount)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "amount",
    BAD_COUNTS,
    ids=lambda amount: repr(amount)[:30] if not isinstance(amount, int) else f"int{amount % 1000}",
)
@pytest.mark.parametrize(
    "limit", ["max_tokens", "max_input_tokens", "max_output_tokens", "max_model_calls", "max_tool_calls"]
)
def test_a_count_limit_that_is_no_count_is_refused(limit, amount):
    with pytest.raises(InvalidAmount, match=limit) as refusal:
        budget_scope(**{limit: amount})
    assert len(str(refusal.value)) < 300


def test_zero_is_a_limit(runtime, tool):
    with budget_scope(runtime=runtime, max_tool_calls=0), pytest.raises(BudgetExceeded) as refusal:
        tool()
    assert (refusal.value.kind, refusal.value.limit, refusal.value.requested) == ("never_fits", 0, 1)
    with budget_scope(runtime=runtime, max_cost=0), pytest.raises(BudgetExceeded):
        tool()


def test_the_largest_limit_is_2_to_the_53_minus_1(runtime, tool):
    with budget_scope(runtime=runtime, max_cost="9007199.254740991", max_tool_calls=2**53 - 1) as scope:
        tool()
        scope.refresh()
        cost = next(row for row in scope.balances() if (row.budget, row.meter) == ("~scope", "cost"))
        assert cost.remaining == 2**53 - 1 - CENT


# --------------------------------------------------------------------------- what it limits


def test_every_scope_around_a_call_pays(runtime, tool, books):
    with budget_scope(runtime=runtime, max_cost="0.05") as outer:
        with budget_scope(runtime=runtime, agent="a", max_cost="0.02") as inner:
            tool()
            tool()
            with pytest.raises(BudgetExceeded) as refusal:
                tool()
            assert refusal.value.limit == 2 * CENT
            inner.refresh()
            assert (inner.spent, inner.remaining) == (Decimal("0.02"), 0)
        with budget_scope(runtime=runtime, agent="b", max_cost="0.05") as second:
            for _ in range(3):
                tool()
            with pytest.raises(BudgetExceeded) as refusal:
                tool()
            assert refusal.value.limit == 5 * CENT, "the outer one is exhausted now"
            second.refresh()
            assert second.spent == Decimal("0.03")
        outer.refresh()
        assert outer.spent == Decimal("0.05")
    books.settle()


@pytest.mark.parametrize("limit", ["max_tool_calls", "max_cost"])
def test_a_refusal_says_everything(limit, runtime, tool):
    value = {"max_tool_calls": 1, "max_cost": "0.01"}[limit]
    with budget_scope(runtime=runtime, tenant="acme", **{limit: value}):
        tool()
        with pytest.raises(BudgetExceeded) as refusal:
            tool()
    error = refusal.value
    assert (error.kind, error.budget, error.meter) == ("exhausted", "~scope", limit.removeprefix("max_"))
    assert error.labels == {"tenant": "acme"}
    assert error.spent == error.limit == error.requested
    assert (error.held, error.resets_at, error.retry_after) == (0, None, None)
    for word in ("tenant=acme", "limit", "spent", "Raise the limit"):
        assert word in str(error)


def test_more_than_sixteen_budgets_are_refused_with_their_names(make_runtime):
    budgets = [{"id": f"b{n}", "limits": {"cost": "1"}} for n in range(16)]
    runtime = make_runtime(policy={"budgets": budgets})
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: "ran")
    with budget_scope(runtime=runtime):
        assert tool() == "ran"
        with (
            budget_scope(runtime=runtime, max_cost="1"),
            pytest.raises(InvalidInput, match="17 budgets") as refusal,
        ):
            tool()
    assert "at most 16" in str(refusal.value)
    assert "b15" in str(refusal.value)


def test_spent_held_and_remaining_without_a_limit_of_ones_own(runtime, books):
    """They count this process's calls then; the policy's budget says what remains."""
    seen = []

    with budget_scope(runtime=runtime) as outer:

        @metered_tool("t", price="0.01", runtime=runtime)
        def look():
            seen.append((outer.held, inner.held))

        with budget_scope(runtime=runtime, agent="a") as inner:
            look()
        assert seen == [(Decimal("0.01"), Decimal("0.01"))]
        assert (outer.spent, outer.held) == (Decimal("0.01"), Decimal("0.00"))
        assert (inner.spent, inner.held) == (Decimal("0.01"), Decimal("0.00"))
        outer.refresh()
        assert outer.remaining == Decimal("999.99")


def test_remaining_is_none_where_nothing_limits_the_cost(make_runtime):
    runtime = make_runtime(policy=None)
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime, max_tool_calls=5) as scope:
        tool()
        assert scope.remaining is None
        assert scope.spent == Decimal("0.01")


def test_anybody_can_look_at_what_a_user_has_spent(make_runtime, store_kind):
    """Without making a call, and from a process that has made none."""
    policy = {"budgets": [{"id": "each", "per": ["user"], "limits": {"cost": "1", "tokens": 10}}]}
    runtime = make_runtime(policy=policy)
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    for user, calls in (("ann", 3), ("bob", 1)):
        with budget_scope(runtime=runtime, user=user):
            for _ in range(calls):
                tool()
    asking = runtime if store_kind == "memory" else make_runtime(policy=policy)
    for user, calls in (("ann", 3), ("bob", 1), ("eve", 0)):
        with budget_scope(runtime=asking, user=user) as scope:
            rows = {row.meter: row for row in scope.refresh()}
            assert (rows["cost"].spent, rows["tokens"].spent) == (calls * CENT, 0)
            assert scope.remaining == 1 - calls * Decimal("0.01")


def test_refresh_sees_what_others_did(make_runtime, store_kind):
    """Two runtimes on one ledger, as two processes are."""
    one = make_runtime()
    two = one if store_kind == "memory" else make_runtime()
    tool = metered_tool("t", price="0.01", runtime=two)(lambda: None)
    with budget_scope(runtime=one, run="r", max_cost="1") as mine:
        context = contextvars.Context()

        def elsewhere():
            with budget_scope(runtime=two, run="r", max_cost="1"):
                tool()

        context.run(elsewhere)
        (row,) = [row for row in mine.refresh() if row.budget == "~scope"]
        assert row.spent == CENT

        async def again():
            found = await mine.arefresh()
            await one.store.aclose()
            return found

        assert asyncio.run(again()) == mine.balances()
        assert mine.spent == Decimal("0.01")


# ------------------------------------------------------------------------ entering, leaving


def test_async_with(runtime, tool):
    async def main():
        async with (
            budget_scope(runtime=runtime, tenant="a") as outer,
            budget_scope(runtime=runtime, agent="b") as inner,
        ):
            assert runtime.current_scope() is inner
            await asyncio.sleep(0)
            assert inner.parent is outer
        assert runtime.current_scope() is None

    asyncio.run(main())


def test_one_opener_is_open_once_at_a_time_and_reusable_after(runtime):
    opener = budget_scope(runtime=runtime, tenant="a")
    with opener as first:
        with pytest.raises(RuntimeError, match="open already"):
            opener.__enter__()
        assert runtime.current_scope() is first
    with opener as second:
        assert second is not first
    assert runtime.current_scope() is None


def test_leaving_twice_or_without_entering_does_no_harm(runtime):
    opener = budget_scope(runtime=runtime)
    opener.__exit__(None, None, None)
    with opener as scope:
        close_scope(state_of(scope))
        close_scope(state_of(scope))
    assert scope.closed


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_the_scope(error, runtime):
    with pytest.raises(error), budget_scope(runtime=runtime) as scope:
        raise error
    assert scope.closed
    assert runtime.current_scope() is None


def test_left_in_another_context_it_is_closed_all_the_same(runtime, tool):
    """Frameworks enter and leave in two copies of a context: a Token would raise here."""
    opener = budget_scope(runtime=runtime, tenant="a")

    def enter():
        scope = opener.__enter__()
        return scope, contextvars.copy_context()

    scope, inside = contextvars.copy_context().run(enter)
    contextvars.copy_context().run(opener.__exit__, None, None, None)
    assert scope.closed
    with pytest.raises(CallUnscoped):
        inside.run(tool)


def test_left_in_another_task(runtime):
    opener = budget_scope(runtime=runtime, tenant="a")

    async def main():
        scope = await asyncio.create_task(opener.__aenter__())
        await asyncio.create_task(opener.__aexit__(None, None, None))
        return scope

    assert asyncio.run(main()).closed


def test_a_task_that_outlives_its_scope_pays_the_nearest_open_one(runtime, tool):
    async def main():
        with budget_scope(runtime=runtime, tenant="a", max_cost="1") as outer:
            go = asyncio.Event()

            async def late():
                await go.wait()
                tool()

            with budget_scope(runtime=runtime, agent="b", max_cost="1") as inner:
                task = asyncio.create_task(late())
                await asyncio.sleep(0)
            go.set()
            await task
            return outer, inner

    outer, inner = asyncio.run(main())
    outer.refresh()
    inner.refresh()
    assert (outer.spent, inner.spent) == (Decimal("0.01"), 0)


def test_left_out_of_order(runtime, tool):
    outer, inner = budget_scope(runtime=runtime, tenant="a"), budget_scope(runtime=runtime, agent="b")
    first, second = outer.__enter__(), inner.__enter__()
    outer.__exit__(None, None, None)
    assert runtime.current_scope() is second
    inner.__exit__(None, None, None)
    assert first.closed
    assert runtime.current_scope() is None
    with pytest.raises(CallUnscoped):
        tool()


# ---------------------------------------------------------------------------------- unscoped


def test_outside_every_scope_a_call_is_refused_by_default(tool, books):
    with pytest.raises(CallUnscoped, match="bind_scope") as refusal:
        tool()
    assert refusal.value.kind == "unscoped"
    assert books.accounts() == set()


@pytest.mark.parametrize("where", ["runtime", "policy"])
def test_unscoped_calls_may_be_allowed_and_still_pay_the_policy(where, make_runtime, policy):
    from running import Books

    options = {"unscoped": "allow"} if where == "runtime" else {"policy": {**policy, "unscoped": "allow"}}
    runtime = make_runtime(**options)
    metered_tool("t", price="0.01", runtime=runtime)(lambda: None)()
    assert Books(runtime).spent() == CENT


def test_a_runtimes_word_goes_before_the_policys(make_runtime, policy):
    runtime = make_runtime(policy={**policy, "unscoped": "allow"}, unscoped="deny")
    with pytest.raises(CallUnscoped):
        metered_tool("t", runtime=runtime)(lambda: None)()


# ------------------------------------------------------------------------------ two runtimes


def test_two_runtimes_side_by_side_never_mix(make_runtime, policy):
    from running import Books

    one, two = make_runtime(), Runtime(policy=policy)
    tools = [metered_tool("t", price="0.01", runtime=runtime)(lambda: None) for runtime in (one, two)]
    with two, budget_scope(runtime=one, tenant="a", max_cost="0.02") as outer:
        with pytest.raises(CallUnscoped):
            tools[1]()
        with budget_scope(runtime=two, tenant="b", max_cost="0.01") as inner:
            assert inner.parent is None, "no label and no limit is inherited from another runtime"
            assert inner.labels == {"tenant": "b"}
            tools[0]()
            tools[1]()
            with pytest.raises(BudgetExceeded):
                tools[1]()
            with budget_scope(runtime=one, agent="x") as nested:
                assert nested.parent is outer
                assert nested.labels == {"tenant": "a", "agent": "x"}
                tools[0]()
                with pytest.raises(BudgetExceeded):
                    tools[0]()
        assert one.current_scope() is outer
        assert two.current_scope() is None
        assert (Books(one).spent(), Books(two).spent()) == (2 * CENT, CENT)
        Books(one).settle()
        Books(two).settle()


def test_a_call_of_one_runtime_inside_a_call_of_the_other_is_charged_in_both(make_runtime, policy):
    from running import Books

    one, two = make_runtime(), Runtime(policy=policy)
    inner = metered_tool("t", price="0.01", runtime=two)(lambda: None)
    outer = metered_tool("t", price="0.01", runtime=one)(inner)
    with two, budget_scope(runtime=one), budget_scope(runtime=two):
        outer()
        assert (Books(one).spent(), Books(two).spent()) == (CENT, CENT)


def test_the_default_runtime_is_found_when_a_scope_opens(runtime):
    opener = budget_scope(tenant="a")
    with default_runtime(runtime), opener as scope:
        assert state_of(scope).services is services_of(runtime)


# ------------------------------------------------------------------------------------ report


def test_the_report_draws_the_tree_with_every_account(runtime, tool):
    with budget_scope(runtime=runtime, tenant="acme", max_cost="1.00") as outer:
        with budget_scope(runtime=runtime, agent="a", max_tool_calls=5):
            tool()
        with budget_scope(runtime=runtime, agent="b"):
            tool()
            outer.refresh()
            report = outer.report()
    lines = str(report).splitlines()
    assert lines[0] == "tenant=acme: spent 0.02, held 0.00"
    assert "  [~scope] cost: USD 0.02 spent + USD 0.00 held of USD 1.00" in lines
    assert "  [all] tool_calls: 2 tool calls spent + 0 tool calls held of 1,000,000,000 tool calls" in lines
    assert "  agent=a: spent 0.01, held 0.00 (closed)" in lines
    assert "    [~scope] tool_calls: 1 tool call spent + 0 tool calls held of 5 tool calls" in lines
    assert "  agent=b: spent 0.01, held 0.00" in lines
    assert [child.own for child in report.children] == [{"agent": "a"}, {"agent": "b"}]
    assert sum("[all] cost" in line for line in lines) == 1, "said where it first applies, not at every level"


def test_a_report_remembers_a_bounded_number_of_children(runtime):
    with budget_scope(runtime=runtime) as outer:
        for number in range(300):
            with budget_scope(runtime=runtime, agent=f"a{number}"):
                pass
        report = outer.report()
    assert len(report.children) == 256
    assert report.more_children == 44
    assert str(report).endswith("... and 44 more scopes")


def test_a_report_is_data(runtime, tool):
    import msgspec

    with budget_scope(runtime=runtime, tenant="acme", max_cost="1.00") as scope:
        tool()
        text = msgspec.json.encode(scope.report()).decode()
    assert '"tenant":"acme"' in text
    assert '"spent":"0.01"' in text
