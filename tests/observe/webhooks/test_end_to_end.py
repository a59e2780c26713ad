"""A policy, a call, a signed request at somebody's server: the whole way."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from webhook_workers import SECRET

from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool
from costscope.events import RunawayDetected, ThresholdCrossed, decode_event
from costscope.scope.runtime import services_of
from costscope.webhooks import verify

STEP = 10_000_000
"""0.01 in nano-units."""


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def policy_for(url, *actions, **more):
    return {
        "budgets": [
            {
                "id": "tenant-day",
                "match": {"tenant": "*"},
                "per": ["tenant"],
                "period": "daily",
                "limits": {"cost": "0.10"},
                "thresholds": [{"at": 80, "actions": list(actions) or ["webhook"]}],
            }
        ],
        "webhooks": {"ops": {"url": url, "secret_env": "HOOK_SECRET", "timeout": 30}},
    } | more


def record_of(request):
    verify(SECRET, request.headers, request.body)
    return decode_event(request.body)


def test_a_threshold_that_is_crossed_arrives_signed_with_all_that_was_promised(
    make_runtime, receive, secret, colour
):
    receiver = receive(204)
    runtime = make_runtime(policy=policy_for(receiver.url))

    @metered_tool("step", price="0.01", runtime=runtime)
    @colour.define
    def step():
        """Cost 0.01."""

    with budget_scope(tenant="acme", user="u-1", runtime=runtime):
        for number in range(1, 11):
            colour.run(step)
            assert number >= 8 or not receiver.requests
        [request] = receiver.wait_for(1)
        with pytest.raises(BudgetExceeded):
            colour.run(step)
    record = record_of(request)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert isinstance(record, ThresholdCrossed)
    assert (record.budget, record.meter, record.threshold) == ("tenant-day", "cost", 80)
    assert (record.spent, record.held) == (7 * STEP, STEP), "the call that crosses it is held"
    assert (record.remaining, record.limit) == (2 * STEP, 10 * STEP)
    assert record.labels == {"tenant": "acme"}
    assert record.window_end - record.window_start == timedelta(days=1)
    assert abs(record.window_start - midnight) <= timedelta(days=1)
    assert record.actions == ("webhook",)
    assert json.loads(request.body)["type"] == "threshold"
    assert runtime.events.drain(30)
    services_of(runtime).webhooks.close(30)
    assert len(receiver.requests) == 1
    assert runtime.audit().exact


def test_a_runaway_arrives_too(make_runtime, receive, secret):
    receiver = receive(204)
    runtime = make_runtime(
        policy=policy_for(receiver.url, runaway={"failures": 3, "actions": ["webhook", "halt_run"]})
    )

    @metered_tool("broken", price="0.001", runtime=runtime)
    def broken(number):
        raise ValueError(number)

    with budget_scope(tenant="acme", run="r-1", runtime=runtime):
        for number in range(3):
            with pytest.raises(ValueError, match=str(number)):
                broken(number)
    [request] = receiver.wait_for(1)
    record = record_of(request)
    assert isinstance(record, RunawayDetected)
    assert (record.run, record.reason, record.measured) == ("r-1", "failures", 3)


def test_a_webhook_of_a_policy_that_was_put_in_force_later_is_served(make_runtime, receive, secret, tmp_path):
    receiver, path = receive(204), tmp_path / "policy.yaml"
    without = policy_for(receiver.url, "log")
    del without["webhooks"]
    path.write_text(json.dumps(without))
    runtime = make_runtime(policy=str(path))
    step = metered_tool("step", price="0.09", runtime=runtime)(lambda: None)
    with budget_scope(tenant="before", runtime=runtime):
        step()
    adopted = threading.Event()
    runtime.events.on("policy", lambda record: adopted.set() if record.accepted else None)
    path.write_text(json.dumps(policy_for(receiver.url)))
    assert adopted.wait(30)
    with budget_scope(tenant="after", runtime=runtime):
        step()
    [request] = receiver.wait_for(1)
    assert record_of(request).labels == {"tenant": "after"}


def test_what_a_process_has_left_behind_is_delivered_by_the_next_one_that_starts(
    patient_url, receive, secret
):
    """It needs nothing to happen in the second one."""
    receiver = receive(204)
    with Runtime(store=patient_url, policy=policy_for(receiver.url)) as first:
        services_of(first).webhooks.close(0)  # as if it were killed at this moment
        with budget_scope(tenant="acme", runtime=first):
            metered_tool("step", price="0.09", runtime=first)(lambda: None)()
    assert receiver.requests == []
    with Runtime(store=patient_url, policy=policy_for(receiver.url)):
        [request] = receiver.wait_for(1)
    assert record_of(request).labels == {"tenant": "acme"}


@pytest.mark.parametrize("answer", [500, "hang", "drop"])
def test_a_receiver_that_fails_costs_no_call_anything(answer, make_runtime, receive, secret, colour):
    """Not even a moment: requests are sent in a thread of their own."""
    receiver = receive(answer)
    runtime = make_runtime(policy=policy_for(receiver.url))

    @metered_tool("step", price="0.01", runtime=runtime)
    @colour.define
    def step():
        return "done"

    with budget_scope(tenant="acme", runtime=runtime) as scope:
        assert [colour.run(step) for _ in range(10)] == ["done"] * 10
        receiver.wait_for(1)
        assert str(scope.spent) == "0.10"
    services_of(runtime).webhooks.close(0)
    assert runtime.audit().exact
