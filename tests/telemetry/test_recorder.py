"""What OpenTelemetry's SDK sees of a scope."""

import os
import subprocess
import sys
import threading

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from costscope.errors import InvalidLabel
from costscope.telemetry import DEFAULT_LABELS, ScopeTotals, Telemetry
from costscope.telemetry.attributes import MAX_VALUES, OTHER
from costscope.usage import Usage

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
    totals.call("model", "gpt-4o-mini", "ok", 1_500_000, USAGE)
    totals.call("model", "gpt-4o-mini", "error", 500_000)
    totals.call("tool", "web_search", "ok", 10_000_000)
    totals.denial("exhausted", "tenant-day", "cost")
    totals.denial("unpriced")
    totals.settlement("committed")
    totals.settlement("late", 250_000)
    telemetry.record(LABELS, totals, duration_seconds=1.5)

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
        at(**ACME, kind="exhausted", budget="tenant-day", meter="cost"): 1,
        at(**ACME, kind="unpriced"): 1,
    }
    assert measured.values("costscope.reservations") == {
        at(**ACME, outcome="committed"): 1,
        at(**ACME, outcome="late"): 1,
    }
    assert measured.values("costscope.overruns") == {at(**ACME): 0.00025}
    level = at(**ACME, scope="agent,run,tenant,user,workflow")
    assert measured.points("costscope.scope.cost")[level].sum == 0.012
    assert measured.points("costscope.scope.duration")[level].sum == 1.5
    assert {metric.name: metric.unit for metric in measured.metrics().values()} == {
        "costscope.cost": "{USD}",
        "costscope.tokens": "{token}",
        "costscope.calls": "{call}",
        "costscope.denials": "{call}",
        "costscope.overruns": "{USD}",
        "costscope.reservations": "{reservation}",
        "costscope.scope.cost": "{USD}",
        "costscope.scope.duration": "s",
    }


def test_a_nested_call_is_counted_once_and_costs_both_scopes(telemetry, measured):
    outer, inner = ScopeTotals(), ScopeTotals()
    inner.call("tool", "t", "ok", 3_000_000_000)
    outer.call("tool", "t", "ok", 1_000_000_000)
    telemetry.record({"tenant": "acme", "agent": "a"}, inner, parent=outer, duration_seconds=1.0)
    telemetry.record({"tenant": "acme"}, outer, duration_seconds=2.0)
    assert measured.values("costscope.cost") == {at(kind="tool", name="t", tenant="acme"): 4.0}
    assert measured.values("costscope.calls") == {at(kind="tool", name="t", outcome="ok", tenant="acme"): 2}
    costs = {dict(key)["scope"]: point.sum for key, point in measured.points("costscope.scope.cost").items()}
    assert costs == {"agent,tenant": 3.0, "tenant": 4.0}


def test_a_settlement_after_the_scope_closed_is_added_without_a_second_scope(telemetry, measured):
    totals = ScopeTotals()
    totals.call("tool", "t", "ok", 1)
    telemetry.record(LABELS, totals, duration_seconds=1.0)
    totals.call("tool", "t", "ok", 1)
    telemetry.record(LABELS, totals)
    assert list(measured.values("costscope.calls").values()) == [2]
    assert [point.count for point in measured.points("costscope.scope.cost").values()] == [1]


def test_by_default_only_tenant_and_workflow_become_attributes(telemetry, measured):
    assert DEFAULT_LABELS == ("tenant", "workflow")
    totals = ScopeTotals()
    totals.settlement("committed")
    telemetry.record(LABELS, totals)
    ((attributes, _),) = measured.values("costscope.reservations").items()
    assert attributes == at(**ACME, outcome="committed")


def test_other_labels_become_attributes_when_listed(measured):
    telemetry = Telemetry(measured.provider, allowed_labels=("agent", "region"))
    totals = ScopeTotals()
    totals.settlement("committed")
    telemetry.record(LABELS, totals)
    assert measured.values("costscope.reservations") == {at(agent="a-1", outcome="committed"): 1}


@pytest.mark.parametrize("label", ["run", "run_id"])
def test_run_ids_are_refused_even_when_listed(label):
    with pytest.raises(InvalidLabel, match="time series"):
        Telemetry(allowed_labels=("tenant", label))


@pytest.mark.parametrize("label", ["kind", "name", "type", "outcome", "budget", "meter", "scope"])
def test_a_label_that_would_overwrite_an_attribute_is_refused(label):
    with pytest.raises(InvalidLabel, match=label):
        Telemetry(allowed_labels=(label,))


def test_one_string_as_allow_list_is_refused():
    with pytest.raises(InvalidLabel, match="tuple"):
        Telemetry(allowed_labels="tenant")


def test_an_attribute_with_too_many_values_says_other(telemetry, measured):
    for number in range(MAX_VALUES + 50):
        totals = ScopeTotals()
        totals.settlement("committed")
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
            totals.settlement("committed")
            telemetry.record({"tenant": f"t-{thread}-{number}"}, totals)

    workers = [threading.Thread(target=record, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    values = measured.values("costscope.reservations")
    assert len(values) == MAX_VALUES + 1
    assert sum(values.values()) == threads * (MAX_VALUES // 4)


def test_runtimes_that_share_a_provider_share_its_instruments(measured, caplog):
    for _ in range(2):
        totals = ScopeTotals()
        totals.settlement("committed")
        Telemetry(measured.provider).record({"tenant": "acme"}, totals)
    assert measured.values("costscope.reservations") == {at(outcome="committed", tenant="acme"): 2}
    assert caplog.records == []


def test_without_an_sdk_nothing_is_started_and_nothing_fails():
    telemetry = Telemetry(NoOpMeterProvider())
    totals = ScopeTotals()
    totals.call("model", "m", "ok", 1, USAGE)
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
from costscope.telemetry import ScopeTotals, Telemetry
telemetry, totals = Telemetry(), ScopeTotals()
totals.settlement("committed")
telemetry.record({"tenant": "acme"}, totals)
telemetry.flush_soon()
assert threading.active_count() == 1, "no SDK, no thread"
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
totals.settlement("released")
telemetry.record({"tenant": "acme"}, totals)
telemetry.flush_soon()
assert telemetry.close(10)
(metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
print(metric.name, [(p.attributes["outcome"], p.value) for p in metric.data.data_points])
"""
    )
    assert out.split("\n")[0] == "costscope.reservations [('released', 1)]"


def test_telemetry_does_not_import_the_sdk():
    run_python(
        "import sys, costscope.telemetry; assert not [m for m in sys.modules if 'opentelemetry.sdk' in m]"
    )
