"""What one scope saw of an account is known to the next, for a while."""

import gc

import pytest

from costscope import Runtime, budget_scope, metered_model
from costscope.engine.state.account_views import AccountViews
from costscope.ledger import Account
from costscope_memory import MemoryStore

POLICY = {
    "budgets": [
        {"id": "all", "limits": {"cost": "1"}, "thresholds": [{"at": 50, "actions": ["downgrade_model"]}]}
    ],
    "routing": [{"id": "r", "models": ["dear"], "stages": [{"fallbacks": ["cheap"]}]}],
}
ACCOUNT = Account("day/2026-11-25", (("cost", 100),))


class TestSteps:
    """An agent with a scope for every step, and one call in each."""

    @pytest.fixture
    def policy(self):
        return POLICY

    def test_a_threshold_that_one_step_passes_acts_in_the_next(self, runtime, colour):
        used = []

        def ask(model):
            used.append(model)

        asked = metered_model(
            price="0.30", estimate={"cost": "0.30"}, usage=lambda _: (1, 1), runtime=runtime
        )(colour.define(ask))

        def step():
            with budget_scope(runtime=runtime, run="r"), budget_scope(runtime=runtime, agent="a"):
                colour.run(asked, model="dear")

        for _ in range(3):
            step()
            gc.collect()
        assert used == ["dear", "dear", "cheap"]


def test_what_passed_in_one_window_does_not_act_on_the_first_call_of_the_next():
    now, used = [1_800_000_000 * 10**9], []
    policy = POLICY | {"budgets": [POLICY["budgets"][0] | {"period": "daily"}]}
    store = MemoryStore(clock=lambda: now[0])
    with Runtime(store=store, policy=policy, clock=lambda: now[0]) as runtime:
        ask = metered_model(price="0.30", estimate={"cost": "0.30"}, usage=lambda _: (1, 1), runtime=runtime)(
            lambda model: used.append(model)  # noqa: PLW0108 - a function of ours, with a parameter of that name
        )
        with budget_scope(runtime=runtime, tenant="acme"):
            for _ in range(3):
                ask(model="dear")
            now[0] += 86_400 * 10**9
            ask(model="dear")
    assert used == ["dear", "dear", "cheap", "dear"]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def views(clock):
    return AccountViews(clock)


def look(views, balance=None):
    """What is known of the account; with a balance, also hear it."""
    [view] = found = views.of((ACCOUNT,))
    if balance is not None:
        view.balance = balance
        views.keep(found)
    return view.balance


def test_what_was_heard_is_known_for_ten_seconds(views, clock):
    look(views, (80, 0))
    clock.now += 10
    assert look(views) == (80, 0)
    clock.now += 0.1
    assert look(views) == ()


def test_looking_does_not_make_it_last(views, clock):
    look(views, (80, 0))
    for _ in range(11):
        clock.now += 1
        found = look(views)
    assert found == ()


def test_hearing_does(views, clock):
    found = views.of((ACCOUNT,))
    for spent in range(30):
        clock.now += 1
        found[0].balance = (spent, 0)
        views.keep(found)
    del found
    clock.now += 8
    assert look(views) == (29, 0)


def test_what_is_kept_is_bounded(views):
    for number in range(5000):
        found = views.of((Account(f"tenant/{number}", (("cost", 100),)),))
        found[0].balance = (1, 0)
        views.keep(found)
    del found
    gc.collect()
    assert len(views._views) == 4096
