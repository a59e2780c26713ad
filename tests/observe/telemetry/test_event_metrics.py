"""Records of the event stream as metrics: each counted once, in series of bounded number."""

from datetime import UTC, datetime

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from costscope.observe.events import records
from costscope.observe.telemetry.attributes import OTHER
from costscope.observe.telemetry.recorder import Telemetry
from costscope.observe.telemetry.totals import ScopeTotals

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LABELS = {"tenant": "acme", "workflow": "report", "run": "r-1", "user": "u-1"}
ACME = {"tenant": "acme", "workflow": "report"}


def at(**attributes):
    """The key of a data point."""
    return frozenset(attributes.items())


def record(record_type, /, labels=LABELS, **fields):
    return getattr(records, record_type)(id="0" * 32, at=NOW, labels=labels, **fields)


def crossed(threshold, **fields):
    numbers = {
        "spent": 81,
        "held": 0,
        "remaining": 19,
        "limit": 100,
        "window_start": None,
        "window_end": None,
    }
    return record(
        "ThresholdCrossed", budget="tenant-day", meter="cost", threshold=threshold, **numbers | fields
    )


def refused(what, **fields):
    given = {"name": "m", "kind": "exhausted", "reason": "...", "budget": "tenant-day", "meter": "runs"}
    return record("CallRefused", what=what, **given | fields)


def downgraded(reason, **fields):
    return record("Downgraded", asked="gpt-4o", effective="gpt-4o-mini", reason=reason, **fields)


def started(run="r-1", **fields):
    return record("RunStarted", run=run, **fields)


def ended(run="r-1", status="completed", **fields):
    return record("RunEnded", run=run, status=status, **fields)


def test_a_crossed_threshold_is_counted_by_budget_meter_threshold_and_actions(telemetry, measured):
    telemetry.events.count(crossed(80.0, actions=("log", "callback", "log")))
    telemetry.events.count(crossed(80.0, actions=("callback", "log")))
    telemetry.events.count(crossed(99.5))
    budget = {"budget": "tenant-day", "meter": "cost"}
    assert measured.values("costscope.thresholds") == {
        at(**ACME, **budget, threshold="80", actions="callback,log"): 2,
        at(**ACME, **budget, threshold="99.5", actions=""): 1,
    }


@pytest.mark.parametrize("what", ["model", "tool"])
def test_a_refused_call_is_left_to_the_sums_of_its_scope(what, telemetry, measured):
    totals = ScopeTotals()
    totals.add_denial("exhausted", "tenant-day", "cost", what)
    telemetry.events.count(refused(what))
    telemetry.record(LABELS, totals)
    assert list(measured.values("costscope.denials").values()) == [1]


@pytest.mark.parametrize("what", ["run", "iteration"])
def test_a_refused_run_or_iteration_is_counted_at_once(what, telemetry, measured):
    telemetry.events.count(refused(what))
    assert measured.values("costscope.denials") == {
        at(**ACME, what=what, kind="exhausted", budget="tenant-day", meter="runs"): 1
    }


@pytest.mark.parametrize("what", ["model", "tool", "run", "iteration"])
def test_what_a_shadow_budget_would_have_refused_is_no_denial(what, telemetry, measured):
    telemetry.events.count(refused(what, enforced=False))
    assert measured.values("costscope.denials") == {}
    assert measured.values("costscope.shadow_denials") == {
        at(**ACME, what=what, kind="exhausted", budget="tenant-day", meter="runs"): 1
    }


def test_a_refusal_by_no_limit_has_no_budget(telemetry, measured):
    telemetry.events.count(refused("run", kind="halted", budget=None, meter=None))
    assert measured.values("costscope.denials") == {at(**ACME, what="run", kind="halted"): 1}


def test_a_degraded_call_is_counted(telemetry, measured):
    numbers = {"limit": 10, "spent": 11, "held": 0}
    telemetry.events.count(
        record("CallDegraded", what="model", name="m", budget="soft", meter="cost", **numbers)
    )
    assert measured.values("costscope.degraded") == {at(**ACME, what="model", budget="soft", meter="cost"): 1}


def test_a_downgrade_is_counted_with_what_it_saved(telemetry, measured):
    telemetry.events.count(downgraded("route cheap", saved=2_000_000_000))
    telemetry.events.count(downgraded("route cheap", saved=None))
    telemetry.events.count(downgraded("route cheap", saved=-5))
    models = {"name": "gpt-4o", "effective": "gpt-4o-mini"}
    assert measured.values("costscope.downgrades") == {at(**ACME, **models, reason="route"): 3}
    assert measured.values("costscope.saved") == {at(**ACME, **models): 2.0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("remaining_budget_below: tenant-day has 4.23 left", "remaining_budget_below"),
        ("utilization_above: tenant-day at 83 %", "utilization_above"),
        ("latency_above: gpt-4o took 9.31 s", "latency_above"),
        ("a threshold with downgrade_model is passed", "downgrade_model"),
        ("soft_threshold_exceeded", "soft_threshold_exceeded"),
        ("route default-routing", "route"),
        ("because 42", OTHER),
        ("", OTHER),
    ],
)
def test_the_reason_of_a_downgrade_is_a_word_without_figures(text, reason, telemetry, measured):
    """An original had the utilisation in a label: a series for every percent."""
    telemetry.events.count(downgraded(text))
    (key,) = measured.values("costscope.downgrades")
    assert dict(key)["reason"] == reason


def test_a_runaway_is_counted_by_reason(telemetry, measured):
    telemetry.events.count(
        record("RunawayDetected", run="r-1", reason="failures", detail="", measured=3.0, allowed=3.0)
    )
    assert measured.values("costscope.runaways") == {at(**ACME, reason="failures"): 1}


def test_a_run_is_counted_once_although_it_starts_and_ends(telemetry, measured):
    """An original counted both: two runs for each."""
    telemetry.events.count(started())
    assert measured.values("costscope.runs") == {}
    assert measured.values("costscope.runs.active") == {at(**ACME): 1}
    telemetry.events.count(ended(cost=1_500_000_000, seconds=12.5, iterations=4))
    assert measured.values("costscope.runs") == {at(**ACME, status="completed"): 1}
    assert measured.values("costscope.runs.active") == {at(**ACME): 0}
    assert measured.values("costscope.iterations") == {at(**ACME): 4}
    (duration,) = measured.points("costscope.run.duration").values()
    (cost,) = measured.points("costscope.run.cost").values()
    assert (duration.count, duration.sum, cost.count, cost.sum) == (1, 12.5, 1, 1.5)


def test_runs_are_counted_by_status(telemetry, measured):
    for number, status in enumerate(("completed", "failed", "failed", "halted", "abandoned")):
        telemetry.events.count(started(f"r-{number}"))
        telemetry.events.count(ended(f"r-{number}", status))
    runs = {dict(key)["status"]: count for key, count in measured.values("costscope.runs").items()}
    assert runs == {"completed": 1, "failed": 2, "halted": 1, "abandoned": 1}


def test_the_run_of_a_dead_process_was_never_active_here_and_has_no_known_duration(telemetry, measured):
    telemetry.events.count(started("mine"))
    telemetry.events.count(ended("anothers", "abandoned"))
    assert measured.values("costscope.runs.active") == {at(**ACME): 1}
    assert measured.values("costscope.runs") == {at(**ACME, status="abandoned"): 1}
    assert measured.points("costscope.run.duration") == {}
    assert measured.points("costscope.run.cost") == {}


def test_a_run_that_is_announced_twice_is_active_once(telemetry, measured):
    telemetry.events.count(started())
    telemetry.events.count(started())
    assert measured.values("costscope.runs.active") == {at(**ACME): 1}
    telemetry.events.count(ended())
    assert measured.values("costscope.runs.active") == {at(**ACME): 0}


def test_nothing_is_kept_of_runs_that_have_ended(telemetry):
    for number in range(1000):
        telemetry.events.count(started(f"r-{number}"))
        telemetry.events.count(ended(f"r-{number}"))
    assert telemetry.events._open == {}


def test_a_settled_call_is_left_to_the_sums_of_its_scope(telemetry, measured):
    """An original added tokens at the call and again at the end of the run."""
    telemetry.events.count(
        record("CallSettled", what="model", name="m", outcome="ok", cost=5, held=9, input_tokens=7)
    )
    assert measured.metrics() == {}


def test_resets_and_reloads_are_counted(telemetry, measured):
    telemetry.events.count(
        record("AccountReset", budget="tenant-day", reason="wrong invoice", forgiven={"cost": 5})
    )
    telemetry.events.count(record("PolicyReloaded", labels={}, source="policies", accepted=True))
    telemetry.events.count(
        record("PolicyReloaded", labels={}, source="policies", accepted=False, problem="...")
    )
    assert measured.values("costscope.resets") == {at(**ACME, budget="tenant-day"): 1}
    assert measured.values("costscope.policy.reloads") == {
        at(outcome="accepted"): 1,
        at(outcome="refused"): 1,
    }


def test_no_run_id_no_figure_and_no_index_becomes_an_attribute(telemetry, measured):
    """A thousand runs, each with figures of its own, make no more series than one."""
    everything = [
        lambda run, n: crossed(80.0, labels={**LABELS, "run": run}, spent=n, remaining=100 - n),
        lambda run, n: refused("run", labels={**LABELS, "run": run}, requested=n, reason=f"{n} of {n}"),
        lambda run, n: downgraded(
            f"utilization_above: x at {n} %", labels={**LABELS, "run": run}, saved=n + 1
        ),
        lambda run, n: record(
            "RunawayDetected",
            labels={**LABELS, "run": run},
            run=run,
            reason="repeats",
            detail=f"{n}",
            measured=n,
            allowed=1,
        ),
        lambda run, n: started(run, labels={**LABELS, "run": run}),
        lambda run, n: ended(run, labels={**LABELS, "run": run}, iterations=n, seconds=n, cost=n),
    ]
    for number in range(1000):
        for make in everything:
            telemetry.events.count(make(f"run-{number}", number))
    for metric in measured.metrics().values():
        points = metric.data.data_points
        assert len(points) == 1, metric.name
        assert "run-" not in str(points[0].attributes)
        assert not {"run", "run_id", "iteration"} & points[0].attributes.keys()


def test_events_without_an_sdk_cost_nothing_and_fail_at_nothing():
    telemetry = Telemetry(NoOpMeterProvider())
    telemetry.events.count(started())
    telemetry.events.count(ended())
    telemetry.events.count(crossed(80.0))
