"""The options of the decorators: price, estimate, usage, on_error, on_lost, idempotency_key."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from decimal import Decimal

import pytest
from running import Books, open_url
from workers import identify

from costscope import (
    BudgetExceeded,
    HoldMismatch,
    InvalidAmount,
    InvalidInput,
    ModelUnpriced,
    NotBilled,
    Runtime,
    Usage,
    UsageWarning,
    budget_scope,
    metered_model,
    metered_tool,
)

USAGE = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}


def spend(runtime, books, colour, decorate, body=lambda *_, **__: USAGE, args=("hi",)):
    """What one call of a model function costs, in nano-units."""

    @decorate
    @colour.define
    def ask(text, max_tokens=100):
        return body(text)

    before = books.spent() if books.accounts() else 0
    with budget_scope(runtime=runtime):
        colour.run(ask, *args)
    books.settle()
    return books.spent() - before


@pytest.mark.parametrize(
    ("price", "nano"),
    [
        ("0.01", 10_000_000),
        (0.01, 10_000_000),
        (Decimal("0.01"), 10_000_000),
        (2, 2_000_000_000),
        (0, 0),
        ({"input": "1", "output": "2"}, 10 * 1000 + 5 * 2000),
        ({"input": 1, "output": 2}, 10 * 1000 + 5 * 2000),
        (lambda usage: Decimal(usage.input_tokens + usage.output_tokens) / 1000, 15_000_000),
    ],
)
def test_price_sets_what_a_model_call_costs(price, nano, runtime, books, colour):
    def decorate(function):
        return metered_model("m", price=price, runtime=runtime)(function)

    assert spend(runtime, books, colour, decorate) == nano


@pytest.mark.parametrize(
    "price", ["-1", "NaN", float("inf"), True, "1e3", [], {"inputs": "1"}, {}, "1_0", 2**53]
)
@pytest.mark.parametrize("decorate", [metered_model, metered_tool])
def test_a_bad_price_is_refused_at_decoration(price, decorate):
    with pytest.raises(InvalidAmount, match="price"):
        decorate("m", price=price)


@pytest.mark.parametrize(
    ("estimate", "nano"),
    [
        ("0.05", 50_000_000),
        (Decimal("0.05"), 50_000_000),
        ({"cost": "0.05", "tokens": 77}, 50_000_000),
        (lambda text, max_tokens=0: "0.02" if text == "hi" else "9", 20_000_000),
        (lambda text, max_tokens=0: {"cost": "0.02"}, 20_000_000),
    ],
)
def test_estimate_sets_what_is_held_and_charged_without_usage(estimate, nano, runtime, books, colour):
    def decorate(function):
        return metered_model("m", price="9", estimate=estimate, runtime=runtime)(function)

    assert spend(runtime, books, colour, decorate, lambda _: None) == nano
    assert books.spent("tokens") == (77 if isinstance(estimate, dict) else 0)


@pytest.mark.parametrize("estimate", ["loose", "-1", object(), {"costs": 1}, True, ["0.1"], float("nan")])
def test_a_bad_estimate_is_refused_at_decoration(estimate):
    with pytest.raises(InvalidAmount, match="estimate"):
        metered_model("m", estimate=estimate)


def test_a_function_that_returns_a_bad_estimate_refuses_the_call(runtime, books, colour):
    ran = []
    ask = metered_tool("t", estimate=lambda: "lots", runtime=runtime)(colour.define(lambda: ran.append(1)))
    with budget_scope(runtime=runtime), pytest.raises(InvalidAmount, match="lots"):
        colour.run(ask)
    assert not ran
    assert not books.snapshot().holds


def test_strict_and_capped_differ_where_little_is_left(runtime, books, colour):
    """strict refuses what might not fit; capped cuts the output to what does, and says so in the arguments."""
    received = []

    def body(text, max_tokens=1000):
        received.append(max_tokens)
        return {"usage": {"prompt_tokens": 10, "completion_tokens": max_tokens}}

    price = {"input": "1", "output": "100"}  # 100,000 nano-units per output token
    strict = metered_model("m", price=price, estimate="strict", runtime=runtime)(colour.define(body))
    capped = metered_model("m", price=price, estimate="capped", runtime=runtime)(colour.define(body))
    with budget_scope(runtime=runtime, max_cost="0.01") as scope:
        with pytest.raises(BudgetExceeded) as refusal:
            colour.run(strict, "hi")
        assert refusal.value.kind == "never_fits"
        colour.run(capped, "hi")
        scope.refresh()
        assert 16 <= received[0] < 100
        assert scope.spent <= Decimal("0.01")
    books.settle()


@pytest.mark.parametrize(
    "usage",
    [
        lambda result: Usage(10, 5),
        lambda result: (10, 5),
        lambda result: {"input_tokens": 10, "output_tokens": 5},
        lambda result: result["inner"],
    ],
)
def test_usage_reads_what_the_function_returned(usage, runtime, books, colour):
    def decorate(function):
        return metered_model("m", price={"input": "1", "output": "2"}, usage=usage, runtime=runtime)(function)

    inner = {"inner": {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}}
    assert spend(runtime, books, colour, decorate, lambda _: inner) == 20_000


@pytest.mark.parametrize(
    "usage",
    [
        lambda _: {"input_tokens": -1, "output_tokens": 1},
        lambda _: "ten",
        lambda _: 1 / 0,
        lambda _: (True, 2),
    ],
)
def test_usage_that_cannot_be_believed_charges_the_estimate_and_warns(usage, runtime, books, colour):
    def decorate(function):
        return metered_model("m", price="9", estimate="0.05", usage=usage, runtime=runtime)(function)

    with pytest.warns(UsageWarning, match="the estimate is charged"):
        assert spend(runtime, books, colour, decorate) == 50_000_000


def test_a_warning_that_is_an_error_does_not_lose_the_settlement(runtime, books, colour):
    def decorate(function):
        return metered_model("m", price="9", estimate="0.05", usage=lambda _: 1 / 0, runtime=runtime)(
            function
        )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spend(runtime, books, colour, decorate) == 50_000_000


def test_usage_of_a_tool_is_what_it_cost(runtime, books, colour):
    tool = metered_tool("t", price="0.10", usage=lambda result: result, runtime=runtime)(
        colour.define(lambda cost: cost)
    )
    with budget_scope(runtime=runtime):
        colour.run(tool, "0.03")
        colour.run(tool, None)
    assert books.spent() == 30_000_000 + 100_000_000
    assert books.spent("tool_calls") == 2
    books.settle()


@pytest.mark.parametrize(
    ("on_error", "error", "nano"),
    [
        (None, ValueError, 10_000_000),
        (None, NotBilled, 0),
        (None, ConnectionRefusedError, 0),
        (None, TimeoutError, 10_000_000),
        ("charge", NotBilled, 10_000_000),
        ("release", ValueError, 0),
        (lambda error: "release", ValueError, 0),
        (lambda error: "charge", NotBilled, 10_000_000),
        (lambda error: "0.003", ValueError, 3_000_000),
        (lambda error: None, ValueError, 10_000_000),
        (lambda error: None, NotBilled, 0),
    ],
)
def test_on_error_decides_what_a_failed_call_costs(on_error, error, nano, runtime, books, colour):
    def fail():
        raise error

    options = {} if on_error is None else {"on_error": on_error}
    tool = metered_tool("t", price="0.01", runtime=runtime, **options)(colour.define(fail))
    with budget_scope(runtime=runtime), pytest.raises(error):
        colour.run(tool)
    assert books.spent() == nano
    books.settle()


@pytest.mark.parametrize("verdict", [lambda _: 1 / 0, lambda _: "maybe", lambda _: -1])
def test_an_on_error_that_fails_itself_charges_the_hold(verdict, runtime, books, colour):
    def fail():
        raise ValueError

    tool = metered_tool("t", price="0.01", runtime=runtime, on_error=verdict)(colour.define(fail))
    with budget_scope(runtime=runtime), pytest.warns(UsageWarning), pytest.raises(ValueError):
        colour.run(tool)
    assert books.spent() == 10_000_000
    books.settle()


@pytest.mark.parametrize(
    "options",
    [
        {"on_error": "refund"},
        {"on_error": 3},
        {"on_lost": "refund"},
        {"on_lost": None},
        {"usage": "result.usage"},
        {"idempotency_key": 3},
        {"idempotency_key": ""},
    ],
)
@pytest.mark.parametrize("decorate", [metered_model, metered_tool])
def test_options_that_mean_nothing_are_refused_at_decoration(options, decorate):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        decorate("m", **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="prize"):
        metered_tool("t", prize="1")


def test_a_key_argument_that_the_function_does_not_have_is_refused():
    """A misspelt name would switch the protection off without a word."""
    with pytest.raises(InvalidInput, match="job_id"):

        @metered_tool("t", idempotency_key="job_id")
        def tool(job): ...


@pytest.mark.parametrize("on_lost", ["charge", "release"])
def test_on_lost_decides_about_a_hold_whose_process_died(on_lost):
    """On the memory store, whose clock a test can move."""
    from costscope_memory import MemoryStore

    now = [1_800_000_000_000_000_000]
    store = MemoryStore(clock=lambda: now[0])
    policy = {"budgets": [{"id": "all", "limits": {"cost": "1"}}]}
    with Runtime(store=store, policy=policy, clock=lambda: now[0], lease_s=60) as runtime:
        books = Books(runtime)

        @metered_tool("t", price="0.01", on_lost=on_lost, runtime=runtime)
        def tool():
            now[0] += 61 * 10**9  # as if this process had been suspended
            counters = books.counters()
            assert (counters.held, counters.presumed) == (0, 10_000_000 if on_lost == "charge" else 0)

        with budget_scope(runtime=runtime):
            tool()
        assert books.spent() == 10_000_000, "the late commit says what it really cost, either way"
        books.settle()


# ------------------------------------------------------------------------------ idempotency


def keyed(runtime, colour, body=lambda job: job, **options):
    options = {"price": "0.01", "idempotency_key": "job"} | options
    return metered_tool("t", runtime=runtime, **options)(colour.define(body))


def test_one_key_is_charged_once(runtime, books, colour):
    tool = keyed(runtime, colour)
    with budget_scope(runtime=runtime):
        for job in ("a", "a", "b", "a"):
            assert colour.run(tool, job) == job, "the function runs each time: only its cost is counted once"
        colour.run(tool, job="a")
    assert books.spent() == 20_000_000
    books.settle()


def test_one_key_of_a_model_is_charged_once(runtime, books, colour):
    model = metered_model("m", runtime=runtime, price="0.01", estimate="0.01", idempotency_key="job")(
        colour.define(lambda job: job)
    )
    with budget_scope(runtime=runtime):
        for job in ("a", "a", "b"):
            colour.run(model, job)
    assert books.spent() == 20_000_000
    books.settle()


def test_no_key_is_no_protection(runtime, books, colour):
    tool = keyed(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(tool, None)
        colour.run(tool, None)
    assert books.spent() == 20_000_000
    books.settle()


def test_a_key_made_by_a_function(runtime, books, colour):
    tool = keyed(runtime, colour, idempotency_key=lambda job: f"job-{job % 2}")
    with budget_scope(runtime=runtime):
        for job in range(4):
            colour.run(tool, job)
    assert books.spent() == 20_000_000
    books.settle()


def test_the_same_key_for_another_function_is_another_call(runtime, books, colour):
    one = metered_tool("one", price="0.01", idempotency_key="job", runtime=runtime)(
        colour.define(lambda job: 1)
    )
    two = metered_tool("two", price="0.01", idempotency_key="job", runtime=runtime)(
        colour.define(lambda job: 2)
    )
    with budget_scope(runtime=runtime):
        assert (colour.run(one, "a"), colour.run(two, "a")) == (1, 2)
    assert books.spent() == 20_000_000


@pytest.mark.parametrize("key", [3, "", b"a", ["a"]])
def test_a_key_that_is_no_text_refuses_the_call(key, runtime, colour):
    tool = keyed(runtime, colour)
    with budget_scope(runtime=runtime), pytest.raises(InvalidInput, match="idempotency_key"):
        colour.run(tool, key)


def test_after_a_failure_that_was_not_billed_a_retry_is_a_new_call(runtime, books, colour):
    outcomes = [NotBilled, NotBilled, None, None]

    def body(job):
        error = outcomes.pop(0)
        if error is not None:
            raise error
        return "done"

    tool = keyed(runtime, colour, body)
    with budget_scope(runtime=runtime):
        for _ in range(2):
            with pytest.raises(NotBilled):
                colour.run(tool, "a")
        assert books.spent() == 0
        assert colour.run(tool, "a") == "done"
        assert books.spent() == 10_000_000
        assert colour.run(tool, "a") == "done"
    assert books.spent() == 10_000_000, "from here on it is a repeat"
    books.settle()


def test_a_key_with_another_estimate_is_refused(runtime, books, colour):
    """The same key for another amount is a mistake of the caller, not a retry."""
    tool = keyed(runtime, colour, lambda job, amount: amount, estimate=lambda job, amount: amount)
    with budget_scope(runtime=runtime):
        colour.run(tool, "a", "0.01")
        with pytest.raises(HoldMismatch, match="idempotency key"):
            colour.run(tool, "a", "0.02")
    assert books.spent() == 10_000_000
    books.settle()


def test_a_key_repeated_while_the_first_call_runs_is_charged_once(runtime, books):
    """A queue that redelivers too early."""
    import asyncio

    @metered_tool("t", price="0.01", idempotency_key="job", runtime=runtime)
    async def tool(job):
        await asyncio.sleep(0.01)

    async def both():
        await asyncio.gather(tool("a"), tool("a"), tool("a"))

    with budget_scope(runtime=runtime):
        asyncio.run(both())
    assert books.spent() == 10_000_000
    books.settle()


def test_the_same_keys_in_two_processes_are_charged_once(patient_url):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=identify, args=(patient_url, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == ["done", "done"]
    for process in processes:
        process.join(30)
    store = open_url(patient_url)
    with Runtime(store=store) as runtime:
        books = Books(runtime)
        assert books.spent() == 20 * 10_000_000
        books.settle()
    store.close()


def test_a_model_without_a_price_is_refused_before_it_runs(runtime, colour):
    ran = []
    ask = metered_model("no-such-model", runtime=runtime)(colour.define(lambda max_tokens=5: ran.append(1)))
    with budget_scope(runtime=runtime), pytest.raises(ModelUnpriced, match="no-such-model"):
        colour.run(ask)
    assert not ran


def test_tokens_count_though_the_users_estimate_names_only_money(runtime, books):
    """`estimate="0.05"` holds no tokens; what the call used is entered all the same, as an overrun."""

    @metered_model("gpt-4o-mini", estimate="0.05", runtime=runtime)
    def complete():
        return {"usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}}

    with budget_scope(runtime=runtime, max_tokens=40, max_cost="1") as scope:
        complete()
        assert next(row.spent for row in scope.balances() if row.meter == "tokens") == 42
    books.settle()
