"""Calls that a route sends elsewhere: what the function is called with, what is charged, what is told."""

from __future__ import annotations

import contextlib
import inspect
import logging
import multiprocessing

import anthropic
import openai
import pytest
from route_workers import where_to
from running import Books, Sync

from costscope import ModelUnpriced, Return, budget_scope, metered_model, reserve

MODELS = {
    "big": {"input": "10", "output": "100"},
    "mid": {"input": "2", "output": "20"},
    "small": {"input": "1", "output": "10"},
    "dear": {"input": "1000", "output": "1000"},
    "embed": {"input": "5"},
}
USAGE = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}
COST = {
    name: 10 * int(price["input"]) * 1000 + 5 * int(price.get("output", 0)) * 1000
    for name, price in MODELS.items()
}


@pytest.fixture
def routed(make_runtime):
    """A runtime whose policy has these stages for all calls; what it tells of downgrades."""

    def make(*stages, limit="1000", thresholds=(), **more):
        budget = {"id": "all", "limits": {"cost": limit}, "thresholds": list(thresholds)} | more.pop(
            "budget", {}
        )
        policy = {"budgets": [budget], "prices": {"models": MODELS}, **more}
        if stages:
            policy["routing"] = [{"id": "r", "stages": list(stages)}]
        runtime = make_runtime(policy=policy)
        told = []
        runtime.events.on("downgrade", told.append)
        return runtime, told

    return make


def asking(runtime, colour, **options):
    """A metered function that says which model and cap it was called with."""
    made = []

    def ask(text, model="big", max_tokens=1000):
        made.append((model, max_tokens))
        return USAGE

    return metered_model(runtime=runtime, **options)(colour.define(ask)), made


# ------------------------------------------------------------------------------ where it goes


@pytest.mark.parametrize(
    "how", [((), {"model": "big"}), (("big",), {}), ((), {})], ids=["named", "placed", "default"]
)
def test_the_function_is_called_with_the_routes_model_and_the_books_have_its_price(how, routed, colour):
    runtime, told = routed({"model": "small"})
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime, tenant="acme"):
        colour.run(ask, "hi", *how[0], **how[1])
    assert made == [("small", 1000)]
    books = Books(runtime)
    assert books.spent() == COST["small"]
    books.settle()
    (event,) = told
    assert (event.asked, event.effective, event.reason, event.stage, event.max_tokens) == (
        "big",
        "small",
        "route r",
        None,
        None,
    )
    assert event.labels == {"tenant": "acme"}


def test_what_is_saved_is_what_the_hold_is_smaller(routed, colour):
    """By the same text and cap: 9/10 of what would have been held for the model that was asked for."""
    runtime, told = routed({"model": "small"})
    ask, _ = asking(runtime, colour)
    plain = metered_model("big", runtime=runtime)(colour.define(lambda text, max_tokens=1000: USAGE))
    held = []
    runtime.events.on("settled", lambda event: held.append(event.held))
    with budget_scope(runtime=runtime):
        colour.run(ask, "hi")
        colour.run(plain, "hi")
    assert told[0].saved == pytest.approx(held[0] * 9, rel=0.05)
    assert held[1] > held[0] * 9


def test_a_generator_goes_there_as_well(routed, colour):
    runtime, told = routed({"model": "small"})
    made = []

    def stream(text, model="big", max_tokens=1000):
        made.append(model)
        yield "a"
        yield USAGE

    ask = metered_model(runtime=runtime)(colour.define(stream))

    def drain():
        return list(ask("hi"))

    async def adrain():
        return [item async for item in ask("hi")]

    with budget_scope(runtime=runtime):
        colour.run(drain if isinstance(colour, Sync) else adrain)
    assert made == ["small"]
    assert Books(runtime).spent() == COST["small"]
    assert len(told) == 1


def test_stages_by_option_and_by_label(routed, colour):
    runtime, told = routed(
        {"stage": "plan", "model": "small"}, {"stage": "write", "model": "mid", "max_tokens": 200}
    )
    ask, made = asking(runtime, colour)
    write, written = asking(runtime, colour, stage="write")
    with budget_scope(runtime=runtime):
        colour.run(ask, "hi")
        colour.run(write, "hi")
        with budget_scope(runtime=runtime, stage="plan"):
            colour.run(ask, "hi")
            colour.run(write, "hi")
    assert made == [("big", 1000), ("small", 1000)]
    assert written == [("mid", 200), ("mid", 200)]
    assert [event.stage for event in told] == ["write", "plan", "write"]
    assert [event.max_tokens for event in told] == [200, None, 200]


def test_methods_and_caps_by_position(routed, colour):
    runtime, told = routed({"max_tokens": 64})
    made = []

    class Client:
        @metered_model("big", runtime=runtime)
        def ask(self, text, max_tokens):
            made.append(max_tokens)
            return USAGE

    if not isinstance(colour, Sync):
        pytest.skip("the same for coroutines: they are wrapped by the same rules")
    with budget_scope(runtime=runtime):
        Client().ask("hi", 1000)
        Client().ask("hi", 40)
        Client().ask("hi", max_tokens=65)
    assert made == [64, 40, 64]
    assert [(event.effective, event.reason, event.max_tokens) for event in told] == [
        ("big", "max_tokens of route r", 64)
    ] * 2


def test_a_call_without_a_cap_gets_the_stages(routed, colour):
    runtime, _ = routed({"max_tokens": 64})
    made = []

    def ask(text, **options):
        made.append(options)
        return USAGE

    with budget_scope(runtime=runtime):
        colour.run(metered_model("big", runtime=runtime)(colour.define(ask)), "hi")
    assert made == [{"max_tokens": 64}]


# --------------------------------------------------------------------- functions that cannot follow


@pytest.mark.parametrize("takes_anything", [False, True])
def test_a_function_whose_model_is_fixed_stays_with_it_and_says_so_once(
    takes_anything, routed, colour, caplog
):
    """`**options` may go to an SDK that is given its model by the function: two models would break the call."""
    runtime, told = routed({"model": "small"})
    made = []

    def fixed(text, max_tokens=1000):
        made.append(max_tokens)
        return USAGE

    def anything(text, **options):
        made.append(dict({"model": "big"}, **options) == {"model": "big", "max_tokens": 4096})
        return USAGE

    ask = metered_model("big", runtime=runtime)(colour.define(anything if takes_anything else fixed))
    with budget_scope(runtime=runtime), caplog.at_level(logging.WARNING, "costscope"):
        colour.run(ask, "hi")
        colour.run(ask, "hi")
    assert made == [True if takes_anything else 1000] * 2
    assert Books(runtime).spent() == 2 * COST["big"]
    assert not told
    assert len([r for r in caplog.records if "it takes no model" in r.message]) == 1


def test_a_function_that_takes_anything_follows_where_its_caller_names_the_model(routed, colour):
    runtime, _ = routed({"model": "small"})
    made = []

    def ask(text, **options):
        made.append(options["model"])
        return USAGE

    with budget_scope(runtime=runtime):
        colour.run(metered_model(runtime=runtime)(colour.define(ask)), "hi", model="big", max_tokens=5)
    assert made == ["small"]


def test_a_function_that_takes_no_cap_is_called_as_it_is(routed, colour, caplog):
    runtime, told = routed({"max_tokens": 5})

    def ask(text):
        return USAGE

    asked = metered_model("big", estimate={"cost": "0.5"}, runtime=runtime)(colour.define(ask))
    with budget_scope(runtime=runtime), caplog.at_level(logging.WARNING, "costscope"):
        colour.run(asked, "hi")
        colour.run(asked, "hi")
    assert not told
    assert len([r for r in caplog.records if "cannot be capped" in r.message]) == 1


def test_embeddings_have_no_output_to_cap(routed, colour):
    runtime, told = routed({"max_tokens": 5})
    made = []

    def embed(text, **options):
        made.append(options)
        return {"usage": {"prompt_tokens": 10, "total_tokens": 10}}

    with budget_scope(runtime=runtime):
        colour.run(metered_model("embed", runtime=runtime)(colour.define(embed)), text="hi")
    assert made == [{}]
    assert not told
    assert Books(runtime).spent() == COST["embed"]


# ----------------------------------------------------------------------------------- triggers


def spending(runtime, amount):
    """A block that holds so much while it is open."""
    return reserve(tool="pay", price=amount, runtime=runtime)


@pytest.mark.parametrize(
    ("trigger", "thresholds", "reason"),
    [
        ({"utilization_above": 50}, (), "utilization_above: all at "),
        ({"remaining_budget_below": "400"}, (), "remaining_budget_below: all has "),
        (
            {"soft_threshold_exceeded": True},
            ({"at": 60, "actions": ["downgrade_model"]},),
            "soft_threshold_exceeded",
        ),
    ],
    ids=["utilization", "remaining", "threshold"],
)
def test_a_trigger_acts_while_it_holds_and_not_after(trigger, thresholds, reason, routed, colour):
    runtime, told = routed({"fallbacks": ["small"], "downgrade_on": trigger}, thresholds=thresholds)
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(ask, "hi")
        with spending(runtime, "700") as hold:
            colour.run(ask, "hi")
            hold.release()
        colour.run(ask, "hi")
        colour.run(ask, "hi")
    assert [model for model, _ in made] == ["big", "small", "big", "big"]
    assert [event.reason.startswith(reason) for event in told] == [True]
    assert Books(runtime).spent() == 3 * COST["big"] + COST["small"]


def test_a_fresh_process_decides_its_first_call_by_what_others_spent(
    routed, make_runtime, store_kind, colour
):
    runtime, _ = routed({"fallbacks": ["small"], "downgrade_on": {"utilization_above": 50}})
    with budget_scope(runtime=runtime), spending(runtime, "700"):
        pass
    fresh = make_runtime(policy=runtime.policy, store=runtime.store)
    ask, made = asking(fresh, colour)
    with budget_scope(runtime=fresh):
        colour.run(ask, "hi")
    assert made == [("small", 1000)]
    books = Books(fresh)
    assert books.spent() == 700 * 10**9 + COST["small"]
    books.settle()


def test_budgets_steer_over_processes(patient_url):
    policy = {
        "budgets": [{"id": "all", "limits": {"cost": "10"}}],
        "prices": {"models": MODELS},
        "routing": [
            {"id": "r", "stages": [{"fallbacks": ["small"], "downgrade_on": {"remaining_budget_below": "4"}}]}
        ],
    }
    context = multiprocessing.get_context("spawn")
    went = []
    for cost in ("5.9", "0", "0.2", "0"):
        results = context.Queue()
        process = context.Process(target=where_to, args=(patient_url, policy, results, cost))
        process.start()
        went += results.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0
    assert went == ["big", "big", "small", "small"]


@pytest.mark.parametrize(
    ("trigger", "slow"),
    [({"error_rate_above": 50}, False), ({"latency_above": "10ms"}, True)],
    ids=["errors", "latency"],
)
def test_a_model_that_is_not_well_is_left_and_gets_another_chance(trigger, slow, routed, colour, monkeypatch):
    runtime, told = routed({"fallbacks": ["small"], "downgrade_on": trigger})
    made, now = [], [100.0]
    monkeypatch.setattr("costscope.engine.state.call.perf_counter", lambda: now[0])
    monkeypatch.setattr("costscope.engine.call.after_settle.perf_counter", lambda: now[0])
    monkeypatch.setattr("costscope.metered.reroute.perf_counter", lambda: now[0])

    def ask(text, model="big", max_tokens=1000):
        made.append(model)
        if model == "big" and len(made) <= 8:
            now[0] += 1.0 * slow
            if not slow:
                raise ConnectionResetError
        return USAGE

    asked = metered_model(runtime=runtime, on_error="release")(colour.define(ask))
    with budget_scope(runtime=runtime):
        for _ in range(8):
            with contextlib.suppress(ConnectionResetError):
                colour.run(asked, "hi")
        colour.run(asked, "hi")
        now[0] += 301
        colour.run(asked, "hi")
    assert made == ["big"] * 8 + ["small", "big"]
    (event,) = told
    assert event.reason.split(":")[0] == next(iter(trigger))


def test_errors_are_seen_where_no_budget_covers_the_scope(make_runtime, colour):
    """Nothing is held there, and nothing given back."""
    runtime = make_runtime(
        policy={
            "prices": {"models": MODELS},
            "routing": [
                {"id": "r", "stages": [{"fallbacks": ["small"], "downgrade_on": {"error_rate_above": 50}}]}
            ],
        }
    )
    made = []

    def ask(text, model="big", max_tokens=1000):
        made.append(model)
        if model == "big":
            raise ConnectionRefusedError  # provably not billed
        return USAGE

    asked = metered_model(runtime=runtime, on_denied=Return(None))(colour.define(ask))
    with budget_scope(runtime=runtime):
        for _ in range(9):
            with contextlib.suppress(ConnectionRefusedError):
                colour.run(asked, "hi")
    assert made == ["big"] * 8 + ["small"]


# ------------------------------------------------------------------------ fallbacks that do not serve


def test_fallbacks_without_a_price_or_dearer_ones_are_passed_over_where_less_is_to_be_spent(
    routed, colour, caplog
):
    runtime, told = routed(
        {
            "fallbacks": ["nobody-knows-it", "dear", "small"],
            "downgrade_on": {"soft_threshold_exceeded": True},
        },
        thresholds=({"at": 50, "actions": ["downgrade_model"]},),
    )
    ask, made = asking(runtime, colour)
    with (
        budget_scope(runtime=runtime),
        spending(runtime, "700"),
        caplog.at_level(logging.WARNING, "costscope"),
    ):
        colour.run(ask, "hi")
        colour.run(ask, "hi")
    assert [model for model, _ in made] == ["small", "small"]
    assert len(told) == 2
    warned = [record.message for record in caplog.records if record.name == "costscope"]
    assert len([line for line in warned if "nobody-knows-it has no price" in line]) == 1
    assert len([line for line in warned if "dear is dearer than big" in line]) == 1


def test_without_a_fallback_that_serves_the_call_stays_where_it_was(routed, colour):
    runtime, told = routed({"fallbacks": ["dear"]}, thresholds=({"at": 50, "actions": ["downgrade_model"]},))
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime), spending(runtime, "700"):
        colour.run(ask, "hi")
    assert made == [("big", 1000)]
    assert not told


def test_a_threshold_does_not_send_a_cheap_call_to_a_dearer_model(routed, colour):
    runtime, told = routed(thresholds=({"at": 50, "actions": [{"downgrade_model": {"model": "mid"}}]},))
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime), spending(runtime, "700"):
        colour.run(ask, "hi", model="small")
        colour.run(ask, "hi", model="big")
    assert [model for model, _ in made] == ["small", "mid"]
    assert [event.asked for event in told] == ["big"]


def test_a_route_to_a_model_without_a_price_refuses_the_call(routed, colour):
    """Unknown is never free, whoever names the model."""
    runtime, _ = routed({"model": "nobody-knows-it"})
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime), pytest.raises(ModelUnpriced, match="nobody-knows-it"):
        colour.run(ask, "hi")
    assert not made
    assert not Books(runtime).snapshot().holds


# -------------------------------------------------------------------------------- real clients


def test_openai_and_anthropic_are_asked_for_the_routes_model_with_its_cap(routed, provider, colour):
    runtime, _ = routed({"model": "small", "max_tokens": 50})
    if isinstance(colour, Sync):
        chat = openai.OpenAI(**provider.openai)
        talk = anthropic.Anthropic(**provider.anthropic)
    else:
        chat = openai.AsyncOpenAI(**provider.openai)
        talk = anthropic.AsyncAnthropic(**provider.anthropic)
    messages = [{"role": "user", "content": "hi"}]

    async def aclose():
        await chat.close()
        await talk.close()

    with budget_scope(runtime=runtime):
        for create in (chat.chat.completions.create, talk.messages.create):
            colour.run(metered_model(runtime=runtime)(create), model="big", messages=messages, max_tokens=900)
    sent = [(one.body["model"], one.body["max_tokens"]) for one in provider.received]
    assert sent == [("small", 50), ("small", 50)]
    assert Books(runtime).spent() == provider.billed(input_price=1000, output_price=10_000)
    if inspect.iscoroutinefunction(chat.close):
        colour.run(aclose)
    else:
        chat.close()
        talk.close()
