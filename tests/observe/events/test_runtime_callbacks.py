"""What a scope and a runtime are given to call: told of everything, in both colours, and never in the way of the books."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest

import costscope
from costscope import (
    BudgetExceeded,
    CallUnscoped,
    InvalidInput,
    ModelUnpriced,
    NotBilled,
    Runtime,
    budget_scope,
    configure,
    metered_model,
    metered_tool,
)
from costscope.scope.runtime import services_of

ARGUMENTS = ("on_threshold", "on_denied", "on_downgrade", "on_runaway", "on_settled")
PRICES = {"models": {"big": {"input": 1, "output": 4}, "small": {"input": 0.1, "output": 0.4}}}
POLICY = {
    "budgets": [
        {
            "id": "all",
            "match": {"tenant": "*"},
            "per": ["tenant"],
            "period": "daily",
            "limits": {"cost": "1.00"},
            "thresholds": [{"at": 50, "actions": ["callback", {"downgrade_model": "small"}]}],
        }
    ],
    "prices": PRICES,
    "runaway": {"failures": 3, "actions": ["callback"]},
}
ANSWER = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}


@pytest.fixture(params=["plain", "async"])
def listening(request):
    """Makes callbacks that keep what they are told, by name."""

    def make(heard):
        def callback(argument):
            def plain(record):
                heard.append((argument, record))

            async def asynchronous(record):
                await asyncio.sleep(0)
                heard.append((argument, record))

            return plain if request.param == "plain" else asynchronous

        return {argument: callback(argument) for argument in ARGUMENTS}

    return make


def live(runtime, colour, **options):
    """A run in which everything happens once: 5 settled calls of which 3 failed, one refusal, one of each other."""

    @metered_tool("half", price="0.60", runtime=runtime)
    @colour.define
    def half():
        """Cross the threshold."""

    @metered_model("big", runtime=runtime)
    @colour.define
    def ask(prompt, model="big", max_tokens=5):
        return ANSWER | {"model": model}

    @metered_tool("broken", price="0.001", runtime=runtime)
    @colour.define
    def broken(number):
        raise ValueError(number)

    with budget_scope(tenant="acme", run="r-1", runtime=runtime, **options):
        colour.run(half)
        colour.run(ask, "x")
        with pytest.raises(BudgetExceeded):
            colour.run(half)
        for number in range(3):
            with pytest.raises(ValueError, match=str(number)):
                colour.run(broken, number)
    if colour.name == "async":
        colour.run(runtime.events.adrain, 30)
    assert runtime.events.drain(30)


EXPECTED = {"on_threshold": 1, "on_denied": 1, "on_downgrade": 1, "on_runaway": 1, "on_settled": 5}


@pytest.mark.parametrize("where", ["scope", "runtime", "both"])
def test_all_five_are_told_of_what_happens(where, make_runtime, listening, colour):
    locally, globally = [], []
    runtime = make_runtime(policy=POLICY, **(listening(globally) if where != "scope" else {}))
    live(runtime, colour, **(listening(locally) if where != "runtime" else {}))
    for heard, expected in ((locally, where != "runtime"), (globally, where != "scope")):
        assert Counter(argument for argument, _ in heard) == (EXPECTED if expected else {})
    assert runtime.audit().exact


def test_the_records_say_what_was_promised(make_runtime, listening, colour):
    heard = []
    runtime = make_runtime(policy=POLICY)
    live(runtime, colour, **listening(heard))
    told = dict(heard)
    threshold = told["on_threshold"]
    assert (threshold.budget, threshold.threshold, threshold.meter) == ("all", 50, "cost")
    assert (threshold.spent, threshold.held) == (0, 600_000_000)
    assert (threshold.remaining, threshold.limit) == (400_000_000, 1_000_000_000)
    assert threshold.labels == {"tenant": "acme"}
    assert threshold.window_end - threshold.window_start == timedelta(days=1)
    denied = told["on_denied"]
    assert (denied.what, denied.name, denied.kind, denied.budget) == ("tool", "half", "exhausted", "all")
    assert (denied.limit, denied.requested) == (1_000_000_000, 600_000_000)
    assert denied.labels == {"tenant": "acme", "run": "r-1"}
    downgrade = told["on_downgrade"]
    assert (downgrade.asked, downgrade.effective) == ("big", "small")
    assert downgrade.saved > 0
    runaway = told["on_runaway"]
    assert (runaway.run, runaway.reason, runaway.measured) == ("r-1", "failures", 3)
    settled = [record for argument, record in heard if argument == "on_settled"]
    assert Counter((one.name, one.outcome) for one in settled) == {
        ("half", "ok"): 1,
        ("small", "ok"): 1,
        ("broken", "error"): 3,
    }
    asked = next(one for one in settled if one.name == "small")
    assert (asked.input_tokens, asked.output_tokens, asked.cost) == (10, 5, 10 * 100 + 5 * 400)


@pytest.mark.parametrize("error", [ValueError("a mistake"), asyncio.CancelledError(), BudgetExceeded])
def test_a_callback_that_fails_is_logged_and_costs_no_settlement(error, make_runtime, colour, caplog):
    def fails(record):
        raise error if isinstance(error, BaseException) else RuntimeError(record.id)

    async def fails_later(record):
        await asyncio.sleep(0)
        fails(record)

    broken = dict.fromkeys(ARGUMENTS, (fails, fails_later))
    runtime = make_runtime(policy=POLICY, **broken)
    live(runtime, colour, **broken)
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) >= 9 * 2
    report = runtime.audit()
    assert report.exact
    [account] = [one for one in runtime.store.snapshot().accounts if one.key.startswith("all/")]
    cost = account.meters["cost"]
    assert (cost.spent, cost.held) == (600_000_000 + 3_000 + 3 * 1_000_000, 0)


@pytest.mark.parametrize("argument", ["on_settled", "on_threshold"])
def test_ctrl_c_in_a_callback_reaches_the_caller_and_the_call_is_settled_once(argument, make_runtime, colour):
    heard = []

    def interrupted(record):
        heard.append(record)
        if len(heard) == 1:
            raise KeyboardInterrupt

    runtime = make_runtime(policy=POLICY, **{argument: interrupted})

    @metered_tool("half", price="0.50", runtime=runtime)
    @colour.define
    def half():
        """Cross the threshold."""

    with budget_scope(tenant="acme", runtime=runtime) as scope:
        with pytest.raises(KeyboardInterrupt):
            half_run(colour, half)
        assert services_of(runtime).outbox.drain(30)
        assert len(heard) == 1
    report = runtime.audit()
    assert report.exact
    [account] = [one for one in runtime.store.snapshot().accounts if one.key.startswith("all/")]
    # at a threshold the function has not run yet: what was held for it is given back
    assert account.meters["cost"].spent == (500_000_000 if argument == "on_settled" else 0)
    assert account.meters["cost"].held == 0
    assert scope.closed


def half_run(colour, function):
    if colour.name == "sync":
        return function()
    with asyncio.Runner() as runner:  # an interrupt ends a loop
        return runner.run(function())


def test_a_plain_policy_tells_of_settled_calls_too(runtime, books, colour):
    """Where nothing acts calls take a shorter way; also one without budgets, and one that was given back."""
    heard = []
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))

    @metered_tool("unbilled", price="0.01", runtime=runtime)
    @colour.define
    def unbilled():
        raise NotBilled

    with budget_scope(runtime=runtime, on_settled=heard.append):
        colour.run(tool)
        with pytest.raises(NotBilled):
            colour.run(unbilled)
    books.settle()
    assert [(one.name, one.outcome, one.cost, one.held) for one in heard] == [
        ("t", "ok", 10_000_000, 10_000_000),
        ("unbilled", "error", 0, 10_000_000),
    ]


def test_calls_that_no_budget_covers_are_told_too(make_runtime, colour):
    heard = []
    runtime = make_runtime(policy={})
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))

    @metered_tool("unbilled", price="0.01", runtime=runtime)
    @colour.define
    def unbilled():
        raise NotBilled

    with budget_scope(runtime=runtime, on_settled=heard.append):
        colour.run(tool)
        with pytest.raises(NotBilled):
            colour.run(unbilled)
    assert [(one.name, one.cost) for one in heard] == [("t", 10_000_000), ("unbilled", 0)]


def test_inner_callbacks_come_first_then_outer_then_the_runtimes(make_runtime, colour):
    order = []
    runtime = make_runtime(on_settled=lambda _: order.append("runtime"))
    runtime.events.on("settled", lambda _: order.append("later"))
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))
    with (
        budget_scope(runtime=runtime, on_settled=lambda _: order.append("outer")),
        budget_scope(agent="a", runtime=runtime, on_settled=(lambda _: order.append("inner"),) * 2),
    ):
        colour.run(tool)
    assert order == ["inner", "inner", "outer", "runtime", "later"]


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        ("tool", "unscoped"),
        ("model", "unscoped"),
        ("reserve", "unscoped"),
        ("model", "unpriced"),
        ("reserve", "unpriced"),
    ],
)
def test_refusals_that_come_before_a_call_are_told_and_counted(refused, kind, make_runtime, colour):
    heard = []
    runtime = make_runtime(on_denied=heard.append)
    model = "priced" if kind == "unscoped" else "nobody-knows"
    price = {"price": {"input": 1, "output": 1}} if kind == "unscoped" else {}

    @metered_model(model, runtime=runtime, **price)
    @colour.define
    def ask(prompt, max_tokens=5):
        pytest.fail("it must not be made")

    tool = metered_tool("tool", price="0.01", runtime=runtime)(colour.define(lambda: pytest.fail("nor this")))

    async def reserve():
        async with costscope.reserve(
            model=model, input_tokens=1, max_output_tokens=1, runtime=runtime, **price
        ):
            pytest.fail("nor this")

    def attempt():
        if refused == "tool":
            return colour.run(tool)
        if refused == "model":
            return colour.run(ask, "x")
        return asyncio.run(reserve())

    error = CallUnscoped if kind == "unscoped" else ModelUnpriced
    if kind == "unscoped":
        with pytest.raises(error):
            attempt()
    else:
        with budget_scope(team="a", runtime=runtime) as scope, pytest.raises(error):
            attempt()
        assert scope.summary().denials == {"unpriced": 1}
    [record] = heard
    name = "tool" if refused == "tool" else model
    assert (record.kind, record.name) == (kind, name)
    assert record.what == ("tool" if refused == "tool" else "model")
    assert record.labels == ({} if kind == "unscoped" else {"team": "a"})
    assert record.budget is None


def test_a_fallback_without_a_price_is_no_refusal(make_runtime, colour):
    """It is passed over; the call itself is made, or refused by its budget."""
    heard = []
    routing = [{"id": "r", "stages": [{"model": "big", "fallbacks": ["nobody-knows", "small"]}]}]
    budget = {"id": "b", "limits": {"cost": "0.0005"}, "on_limit": "downgrade_then_reject"}
    runtime = make_runtime(
        policy={"budgets": [budget], "routing": routing, "prices": PRICES}, on_denied=heard.append
    )

    @metered_model("big", runtime=runtime)
    @colour.define
    def ask(prompt, model="big", max_tokens=5):
        return ANSWER | {"model": model}

    with budget_scope(team="a", runtime=runtime) as scope:
        assert colour.run(ask, "x" * 10)["model"] == "small"
        assert scope.summary().denials == {}
    assert heard == []


def test_configure_takes_them_as_well(store_kind):
    heard = []
    with configure("memory://", on_settled=heard.append), budget_scope(team="a"):
        metered_tool("t", price="0.01")(lambda: None)()
    assert [one.name for one in heard] == ["t"]
    costscope.set_runtime(Runtime())


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_what_cannot_be_called_is_refused_at_once(argument):
    with pytest.raises(InvalidInput, match=f"{argument}: 'print' cannot be called"):
        Runtime(**{argument: "print"})
    with pytest.raises(InvalidInput, match=f"{argument}: 'print' cannot be called"):
        budget_scope(**{argument: "print"})
