"""What OpenTelemetry's SDK sees of a scope."""

import os
import subprocess
import sys
import threading

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from costscope.errors import InvalidLabel
from costscope.observe.telemetry.attributes import MAX_VALUES, OTHER
from costscope.observe.telemetry.metrics import CALL_SECONDS, METRICS
from costscope.observe.telemetry.recorder import DEFAULT_LABELS, Telemetry
from costscope.observe.telemetry.totals import ScopeTotals
from costscope.pricing.usage.usage_fields import Usage

LABELS = {"tenant": "acme", "workflow": "report", "run": "r-1", "agent": "a-1", "user": "u-1"}
ACME = {"tenant": "acme", "workflow": "report"}
USAGE = Usage(
    input_tokens=100, output_tokens=20, cache_read_tokens=30, cache_write_tokens=0, reasoning_tokens=5
)


def at(**attributes):
    """The key of a data point."""
    return frozenset(attributes.items())


def test_a_scope_is_recorded_with_its_units(telemetry, measured):
    totals = ScopeTotals()
    totals.add_call("model", "gpt-4o-mini", "error", 500_000, None, 0.75)
    totals.add_call("model", "gpt-4o-mini", "ok", 1_500_000, USAGE, 2.0)
    totals.add_call("tool", "web_search", "ok", 10_000_000)
    totals.add_denial("exhausted", "tenant-day", "cost", "model")
    totals.add_denial("unpriced")
    totals.add_settlement("committed")
    totals.add_settlement("late", 250_000)
    totals.add_settlement("presumed")
    telemetry.record(LABELS, totals, duration_seconds=1.5, outcome="ok")

    model = {**ACME, "kind": "model", "name": "gpt-4o-mini"}
    tool = {**ACME, "kind": "tool", "name": "web_search"}
    assert measured.values("costscope.cost") == {at(**model): 0.002, at(**tool): 0.01}
    assert measured.values("costscope.tokens") == {
        at(**model, type="input"): 100,
        at(**model, type="output"): 20,
        at(**model, type="cache_read"): 30,
        at(**model, type="reasoning"): 5,
    }
    assert measured.values("costscope.calls") == {
        at(**model, outcome="ok"): 1,
        at(**model, outcome="error"): 1,
        at(**tool, outcome="ok"): 1,
    }
    assert measured.values("costscope.denials") == {
        at(**ACME, kind="exhausted", budget="tenant-day", meter="cost", what="model"): 1,
        at(**ACME, kind="unpriced"): 1,
    }
    assert measured.values("costscope.retries") == {at(**model): 1}
    durations = measured.points("costscope.call.duration")
    assert {key: point.sum for key, point in durations.items()} == {
        at(**model, outcome="ok"): 2.0,
        at(**model, outcome="error"): 0.75,
    }
    assert measured.values("costscope.reservations") == {
        at(**ACME, outcome="committed"): 1,
        at(**ACME, outcome="late"): 1,
    }
    assert measured.values("costscope.presumed") == {at(**ACME): 1}
    assert measured.values("costscope.overruns") == {at(**ACME): 0.00025}
    level = at(**ACME, scope="agent,run,tenant,user,workflow", outcome="ok")
    assert measured.points("costscope.scope.cost")[level].sum == 0.012
    assert measured.points("costscope.scope.duration")[level].sum == 1.5
    assert {metric.name: metric.unit for metric in measured.metrics().values()} == {
        "costscope.cost": "{USD}",
        "costscope.tokens": "{token}",
        "costscope.calls": "{call}",
        "costscope.call.duration": "s",
        "costscope.retries": "{retry}",
        "costscope.denials": "{denial}",
        "costscope.presumed": "{hold}",
        "costscope.overruns": "{USD}",
        "costscope.reservations": "{reservation}",
        "costscope.scope.cost": "{USD}",
        "costscope.scope.duration": "s",
    }


def test_a_nested_call_is_counted_once_and_costs_both_scopes(telemetry, measured):
    outer, inner = ScopeTotals(), ScopeTotals()
    inner.add_call("tool", "t", "ok", 3_000_000_000)
    outer.add_call("tool", "t", "ok", 1_000_000_000)
    telemetry.record({"tenant": "acme", "agent": "a"}, inner, parent=outer, duration_seconds=1.0)
    telemetry.record({"tenant": "acme"}, outer, duration_seconds=2.0)
    assert measured.values("costscope.cost") == {at(kind="tool", name="t", tenant="acme"): 4.0}
    assert measured.values("costscope.calls") == {at(kind="tool", name="t", outcome="ok", tenant="acme"): 2}
    costs = {dict(key)["scope"]: point.sum for key, point in measured.points("costscope.scope.cost").items()}
    assert costs == {"agent,tenant": 3.0, "tenant": 4.0}


def test_a_settlement_after_the_scope_closed_is_added_without_a_second_scope(telemetry, measured):
    totals = ScopeTotals()
    totals.add_call("tool", "t", "ok", 1)
    telemetry.record(LABELS, totals, duration_seconds=1.0)
    totals.add_call("tool", "t", "ok", 1)
    telemetry.record(LABELS, totals)
    assert list(measured.values("costscope.calls").values()) == [2]
    assert [point.count for point in measured.points("costscope.scope.cost").values()] == [1]


def test_by_default_only_tenant_and_workflow_become_attributes(telemetry, measured):
    assert DEFAULT_LABELS == ("tenant", "workflow")
    totals = ScopeTotals()
    totals.add_settlement("committed")
    telemetry.record(LABELS, totals)
    ((attributes, _),) = measured.values("costscope.reservations").items()
    assert attributes == at(**ACME, outcome="committed")


def test_other_labels_become_attributes_when_listed(measured):
    telemetry = Telemetry(measured.provider, allowed_labels=("agent", "region"))
    totals = ScopeTotals()
    totals.add_settlement("committed")
    telemetry.record(LABELS, totals)
    assert measured.values("costscope.reservations") == {at(agent="a-1", outcome="committed"): 1}


@pytest.mark.parametrize("label", ["run", "run_id"])
def test_run_ids_are_refused_even_when_listed(label):
    with pytest.raises(InvalidLabel, match="time series"):
        Telemetry(allowed_labels=("tenant", label))


@pytest.mark.parametrize("label", sorted({name for metric in METRICS.values() for name in metric.attributes}))
def test_a_label_that_would_overwrite_an_attribute_is_refused(label):
    with pytest.raises(InvalidLabel, match=label):
        Telemetry(allowed_labels=(label,))


def test_one_string_as_allow_list_is_refused():
    with pytest.raises(InvalidLabel, match="tuple"):
        Telemetry(allowed_labels="tenant")


def test_an_attribute_with_too_many_values_says_other(telemetry, measured):
    for number in range(MAX_VALUES + 50):
        totals = ScopeTotals()
        totals.add_settlement("committed")
        telemetry.record({"tenant": f"t-{number}"}, totals)
    values = measured.values("costscope.reservations")
    assert len(values) == MAX_VALUES + 1
    assert values[at(outcome="committed", tenant=OTHER)] == 50
    assert sum(values.values()) == MAX_VALUES + 50, "a value beyond the cap is renamed, never dropped"


def test_the_cap_holds_when_threads_bring_new_values_together(telemetry, measured):
    threads = 8
    start = threading.Barrier(threads)

    def record(thread):
        start.wait()
        for number in range(MAX_VALUES // 4):
            totals = ScopeTotals()
            totals.add_settlement("committed")
            telemetry.record({"tenant": f"t-{thread}-{number}"}, totals)

    workers = [threading.Thread(target=record, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    values = measured.values("costscope.reservations")
    assert len(values) == MAX_VALUES + 1
    assert sum(values.values()) == threads * (MAX_VALUES // 4)


def test_the_unit_of_cost_is_the_runtimes_currency(measured):
    """Two currencies in one provider are two meters, so that their amounts never meet in one series."""
    for currency, cost in (("USD", 1_000_000_000), ("EUR", 2_000_000_000)):
        telemetry = Telemetry(measured.provider, currency=currency)
        totals = ScopeTotals()
        totals.add_call("tool", "t", "ok", cost)
        telemetry.record({}, totals, duration_seconds=1.0)
    scopes = measured.reader.get_metrics_data().resource_metrics[0].scope_metrics
    found = {
        (scope.scope.attributes["currency"], metric.name): metric.unit
        for scope in scopes
        for metric in scope.metrics
    }
    assert found["USD", "costscope.cost"] == found["USD", "costscope.scope.cost"] == "{USD}"
    assert found["EUR", "costscope.cost"] == found["EUR", "costscope.scope.cost"] == "{EUR}"
    assert found["EUR", "costscope.calls"] == "{call}"


def test_what_the_sdk_was_given_is_not_changed_afterwards(telemetry, measured):
    totals = ScopeTotals()
    totals.add_settlement("late", 5)
    telemetry.record({"tenant": "acme"}, totals, duration_seconds=1.0, outcome="error")
    assert measured.values("costscope.overruns") == {at(tenant="acme"): 5e-9}


def test_a_scope_that_is_tried_again_after_it_failed_is_a_retry(measured):
    """A node of a graph is a scope with the label `node`: retries, errors and latency by node."""
    telemetry = Telemetry(measured.provider, allowed_labels=("node",))
    parent = ScopeTotals()
    for node, outcome in (("a", "error"), ("b", "ok"), ("a", "error"), ("a", "ok"), ("a", "ok")):
        labels = {"run": "r-1", "node": node}
        telemetry.record(labels, ScopeTotals(), parent=parent, duration_seconds=0.5, outcome=outcome)
    assert measured.values("costscope.retries") == {at(node="a", kind="scope", name="node,run"): 2}
    counts = {
        (dict(key)["node"], dict(key)["outcome"]): point.count
        for key, point in measured.points("costscope.scope.duration").items()
    }
    assert counts == {("a", "error"): 2, ("a", "ok"): 2, ("b", "ok"): 1}


def test_presumed_holds_are_counted_apart_from_settled_ones(telemetry, measured):
    telemetry.count_presumed(0)
    assert measured.values("costscope.presumed") == {}
    telemetry.count_presumed(3)
    assert measured.values("costscope.presumed") == {at(): 3}
    assert measured.values("costscope.reservations") == {}


def durations_of(measured):
    return {dict(key)["name"]: point for key, point in measured.points("costscope.call.duration").items()}


def test_a_few_durations_are_recorded_as_the_scope_closes(telemetry, measured):
    totals = ScopeTotals()
    for _ in range(32):
        totals.add_call("tool", "t", "ok", 1, None, 0.2)
    telemetry.record({}, totals, duration_seconds=1.0)
    assert durations_of(measured)["t"].count == 32


def test_many_durations_are_recorded_in_the_background(measured):
    telemetry = Telemetry(measured.provider, flush_interval=0.0)
    totals = ScopeTotals()
    for number in range(5000):
        totals.add_call("tool", "t", "ok", 1, None, 0.001 * (1 + number % 100))
    telemetry.record({}, totals, duration_seconds=1.0)
    assert telemetry.close(timeout=30)
    point = durations_of(measured)["t"]
    assert point.count == 5000
    assert point.sum == pytest.approx(sum(0.001 * (1 + number % 100) for number in range(5000)))
    expected = [
        sum(low < 0.001 * (1 + number % 100) <= high for number in range(5000))
        for low, high in zip((0, *CALL_SECONDS), (*CALL_SECONDS, float("inf")), strict=True)
    ]
    assert list(point.bucket_counts) == expected


def test_calls_outside_every_scope_are_recorded_while_the_program_runs(measured):
    telemetry = Telemetry(measured.provider, flush_interval=0.0)
    outside = telemetry.endless_totals()
    outside.add_call("model", "m", "ok", 5, USAGE, 0.5, committed=True)
    outside.add_denial("unscoped", what="tool")
    assert telemetry.close(timeout=10)
    assert measured.values("costscope.unscoped") == {
        at(kind="model", outcome="allowed"): 1,
        at(kind="tool", outcome="denied"): 1,
    }
    assert measured.values("costscope.calls") == {at(kind="model", name="m", outcome="ok"): 1}
    telemetry.record({}, outside)
    assert sum(measured.values("costscope.unscoped").values()) == 2, "nothing is counted twice"


def test_calls_in_a_scope_are_not_unscoped(telemetry, measured):
    totals = ScopeTotals()
    totals.add_call("model", "m", "ok", 5)
    telemetry.record({}, totals, duration_seconds=1.0)
    assert measured.values("costscope.unscoped") == {}


def test_runtimes_that_share_a_provider_share_its_instruments(measured, caplog):
    for _ in range(2):
        totals = ScopeTotals()
        totals.add_settlement("committed")
        Telemetry(measured.provider).record({"tenant": "acme"}, totals)
    assert measured.values("costscope.reservations") == {at(outcome="committed", tenant="acme"): 2}
    assert caplog.records == []


def test_without_an_sdk_nothing_is_started_and_nothing_fails():
    telemetry = Telemetry(NoOpMeterProvider())
    totals = ScopeTotals()
    totals.add_call("model", "m", "ok", 1, USAGE)
    before = threading.active_count()
    telemetry.record(LABELS, totals, duration_seconds=1.0)
    telemetry.flush_soon()
    assert threading.active_count() == before
    assert telemetry.close() is True


def run_python(program):
    """A fresh interpreter: the global provider can be set only once per process."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_global_provider_set_after_the_first_scope_is_used():
    out = run_python(
        """
import threading
from opentelemetry import metrics
from costscope.observe.telemetry.recorder import Telemetry
from costscope.observe.telemetry.totals import ScopeTotals
telemetry, totals = Telemetry(), ScopeTotals()
totals.add_settlement("committed")
telemetry.record({"tenant": "acme"}, totals)
telemetry.flush_soon()
assert threading.active_count() == 1, "no SDK, no thread"
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
totals.add_settlement("released")
telemetry.record({"tenant": "acme"}, totals)
telemetry.flush_soon()
assert telemetry.close(10)
(metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
print(metric.name, [(p.attributes["outcome"], p.value) for p in metric.data.data_points])
"""
    )
    assert out.split("\n")[0] == "costscope.reservations [('released', 1)]"


def test_durations_in_the_background_are_not_lost_as_a_short_program_ends():
    out = run_python(
        """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())]))
from costscope.observe.telemetry.recorder import Telemetry
from costscope.observe.telemetry.totals import ScopeTotals
telemetry, totals = Telemetry(), ScopeTotals()
for _ in range(400):
    totals.add_call("tool", "t", "ok", 1, None, 0.2)
telemetry._flusher.request = lambda: None  # the thread does not come to it before the end
telemetry.record({}, totals, duration_seconds=1.0)
"""
    )
    assert '"count": 400' in out


def test_telemetry_imports_neither_the_sdk_nor_the_api_of_traces():
    run_python(
        "import sys, costscope.observe.telemetry.recorder, costscope.observe.telemetry.spans; "
        "assert not [m for m in sys.modules if 'opentelemetry.sdk' in m or m == 'opentelemetry.trace']"
    )
