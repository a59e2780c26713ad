"""Where a call goes: routes, stages, triggers, effects; decided without a store."""

from __future__ import annotations

import pytest

from costscope.engine.control.call_stats import ModelHealth
from costscope.engine.control.effects import NOTHING, Effects
from costscope.engine.control.router import Router
from costscope.policy.load.loader import load_policy

NANO = 10**9


def router(*routes, health=None):
    given = [{"id": f"r{at}"} | route for at, route in enumerate(routes)]
    return Router(load_policy({"routing": given}), health or ModelHealth())


def decide(routes, model="big", *, labels=None, stage=None, **known):
    found = routes.destination(labels or {}, model, stage)
    return routes.decide(found, model, **known)


def went(routing):
    return routing.model, routing.reason


CHAIN = {
    "stages": [
        {"fallbacks": ["mid", "small"], "downgrade_on": {"latency_above": "1s", "error_rate_above": 50}}
    ]
}


def chain(**triggers):
    return {"stages": [{"fallbacks": ["mid", "small"], "downgrade_on": triggers}]}


def test_without_a_route_and_without_effects_nothing_has_a_say():
    assert decide(router()) is None
    assert (
        decide(router({"match": {"team": "a"}, "stages": [{"model": "small"}]}), labels={"team": "b"}) is None
    )


def test_the_first_route_and_its_first_stage_that_match_decide():
    routes = router(
        {
            "match": {"team": "a"},
            "models": ["gpt-*"],
            "stages": [{"stage": "plan", "model": "p"}, {"model": "any"}],
        },
        {"stages": [{"stage": "plan", "model": "other"}]},
    )
    a = {"team": "a"}
    assert decide(routes, "gpt-4o", labels=a, stage="plan").model == "p"
    assert decide(routes, "gpt-4o", labels=a, stage="write").model == "any"
    assert decide(routes, "gpt-4o", labels=a).model == "any"
    assert decide(routes, "claude", labels=a, stage="plan").model == "other"
    assert decide(routes, "gpt-4o", labels={"team": "b"}, stage="plan").model == "other"
    assert decide(routes, "gpt-4o", labels={"team": "b"}, stage="write") is None


def test_the_label_stage_says_the_stage_unless_the_call_does():
    routes = router({"stages": [{"stage": "plan", "model": "p"}, {"stage": "write", "model": "w"}]})
    assert decide(routes, labels={"stage": "plan"}).model == "p"
    assert decide(routes, labels={"stage": "plan"}, stage="write").model == "w"


def test_a_default_model_says_which_route_it_comes_from():
    assert went(decide(router({"stages": [{"model": "small"}]}))) == ("small", "route r0")
    assert went(decide(router({"stages": [{"model": "big", "max_tokens": 5}]}))) == ("big", "")


@pytest.mark.parametrize(
    ("triggers", "effects", "goes"),
    [
        ({"soft_threshold_exceeded": True}, Effects(downgrade=True), "mid"),
        ({"soft_threshold_exceeded": True}, NOTHING, "big"),
        ({"soft_threshold_exceeded": False}, Effects(downgrade=True), "big"),
        ({"utilization_above": 90}, Effects(downgrade=True), "big"),
    ],
)
def test_a_threshold_downgrades_where_the_stage_listens_to_it(triggers, effects, goes):
    assert decide(router(chain(**triggers)), effects=effects).model == goes


def test_a_stage_without_triggers_listens_to_thresholds():
    routing = decide(router({"stages": [{"fallbacks": ["mid"]}]}), effects=Effects(downgrade=True))
    assert went(routing) == ("mid", "soft_threshold_exceeded")


@pytest.mark.parametrize(
    ("left", "goes"), [(5 * NANO, "big"), (5 * NANO - 1, "mid"), (0, "mid"), (-1, "mid"), (6 * NANO, "big")]
)
def test_remaining_budget_below(left, goes):
    routes = router(chain(remaining_budget_below="5.00"))
    costs = [("roomy", 900 * NANO, 0), ("tight", 100 * NANO, 100 * NANO - left)]
    routing = decide(routes, costs=costs)
    assert routing.model == goes
    if goes == "mid":
        assert routing.reason.startswith("remaining_budget_below: tight has ")


@pytest.mark.parametrize(
    ("used", "goes"), [(90 * NANO, "big"), (90 * NANO + 1, "mid"), (0, "big"), (200 * NANO, "mid")]
)
def test_utilization_above(used, goes):
    routing = decide(router(chain(utilization_above=90)), costs=[("b", 100 * NANO, used)])
    assert routing.model == goes
    if goes == "mid":
        assert routing.reason == f"utilization_above: b at {used / NANO:.0f} %"


def test_a_limit_of_nothing_is_used_up():
    assert decide(router(chain(utilization_above=0)), costs=[("b", 0, 1)]).model == "mid"


def test_latency_and_errors_send_on_to_the_first_model_that_is_well_and_back():
    health = ModelHealth()
    routes = router(CHAIN, health=health)
    for _ in range(8):
        health.record_call("big", 10.0, 2.0, failed=False)
    assert went(decide(routes, now_s=10.0)) == ("mid", "latency_above: big took 2 s")
    for _ in range(8):
        health.record_call("mid", 20.0, 0.1, failed=True)
    assert went(decide(routes, now_s=20.0)) == ("small", "error_rate_above: mid at 100 %")
    assert decide(routes, now_s=311.0).model == "big", "what it did more than five minutes ago is forgotten"


def test_a_budget_speaks_against_one_model_only():
    """What is left is the same for the next one: it does not send down to the end of the chain."""
    routing = decide(router(chain(utilization_above=1)), costs=[("b", 100, 100)])
    assert (routing.model, routing.fallbacks) == ("mid", ("small",))


def test_fallbacks_that_cannot_be_used_are_passed_over():
    asked = []

    def usable(model, thrifty):
        asked.append((model, thrifty))
        return model == "small"

    routing = decide(
        router(chain(soft_threshold_exceeded=True)), effects=Effects(downgrade=True), usable=usable
    )
    assert (routing.model, routing.fallbacks) == ("small", ())
    assert asked == [("mid", True), ("small", True)]
    stays = decide(
        router(chain(soft_threshold_exceeded=True)), effects=Effects(downgrade=True), usable=lambda *_: False
    )
    assert went(stays) == ("big", "")


def test_a_model_that_is_not_well_may_be_left_for_a_dearer_one():
    health, asked = ModelHealth(), []
    for _ in range(8):
        health.record_call("big", 1.0, 0.1, failed=True)

    def usable(model, thrifty):
        asked.append((model, thrifty))
        return True

    assert decide(router(CHAIN, health=health), now_s=1.0, usable=usable).model == "mid"
    assert asked == [("mid", False)]


def test_a_threshold_may_name_the_model_itself():
    effects = Effects(downgrade=True, model="tiny")
    assert went(decide(router(), effects=effects)) == ("tiny", "downgrade_model: tiny")
    routing = decide(router(chain(soft_threshold_exceeded=False)), effects=effects)
    assert (routing.model, routing.fallbacks) == ("tiny", ("mid", "small"))
    assert decide(router(), "tiny", effects=effects).reason == "", "it is there already"
    assert decide(router(), effects=effects, usable=lambda *_: False).model == "big"


@pytest.mark.parametrize(
    ("stage_cap", "caps", "own", "cap"),
    [
        (None, (), None, None),
        (None, (), 700, 700),
        (500, (), None, 500),
        (500, (), 700, 500),
        (500, (), 300, 300),
        (None, (0.5,), 700, 350),
        (None, (0.5,), None, 2048),
        (500, (0.5,), None, 250),
        (500, (0.5, 0.9), 400, 200),
        (None, (100,), None, 100),
        (None, (100,), 40, 40),
        (None, (0.5, 100), 150, 75),
        (None, (0.01,), 3, 1),
    ],
)
def test_the_lowest_cap_holds_and_a_factor_is_one_of_what_the_call_would_get(stage_cap, caps, own, cap):
    stage = {"model": "big"} | ({} if stage_cap is None else {"max_tokens": stage_cap})
    routing = decide(router({"stages": [stage]}), effects=Effects(max_tokens=caps))
    assert routing.cap(own, 4096) == cap


def test_a_capped_call_says_why():
    routes = router({"stages": [{"max_tokens": 500}]})
    assert decide(routes).cap_reason == "max_tokens of route r0"
    assert decide(routes, effects=Effects(max_tokens=(0.5,))).cap_reason == "limit_capabilities"
    assert decide(router(), effects=Effects(max_tokens=(0.5,))).limits_output


def test_only_who_asks_is_watched():
    assert not router(chain(utilization_above=1)).watches
    assert router(chain(latency_above="1s")).watches
    assert router(chain(error_rate_above=1)).watches
    assert router(chain(remaining_budget_below=1)).asks_budgets
    assert not router(CHAIN).asks_budgets
