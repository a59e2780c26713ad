"""A scope's sums: nothing lost between threads, nothing counted twice, bounded while the scope is open."""

import sys
import threading

import pytest

from costscope.observe.telemetry.totals import FAILED_MAX, FOLD_AT, EndlessTotals, ScopeTotals
from costscope.pricing.usage.usage_fields import Usage

USAGE = Usage(
    input_tokens=100, output_tokens=20, cache_read_tokens=30, cache_write_tokens=4, reasoning_tokens=5
)


@pytest.fixture
def busy_switching():
    """Threads change places as often as the interpreter allows, so that a lost update shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_calls_are_summed_by_kind_name_and_outcome():
    totals = ScopeTotals()
    totals.add_call("model", "m", "ok", 7, USAGE)
    totals.add_call("model", "m", "ok", 3, USAGE)
    totals.add_call("model", "m", "error", 1)
    totals.add_call("tool", "m", "ok", 5)
    sums = totals.take()
    assert set(sums.calls) == {("model", "m", "ok"), ("model", "m", "error"), ("tool", "m", "ok")}
    row = sums.calls["model", "m", "ok"]
    assert (row.calls, row.cost_nano) == (2, 10)
    assert (row.input, row.output, row.cache_read, row.cache_write, row.reasoning) == (200, 40, 60, 8, 10)
    assert sums.scope_cost_nano == 16


def test_denials_and_settlements_are_counted():
    totals = ScopeTotals()
    totals.add_denial("exhausted", "tenant-day", "cost", "model")
    totals.add_denial("exhausted", "tenant-day", "cost", "model")
    totals.add_denial("unpriced")
    totals.add_settlement("committed")
    totals.add_settlement("committed", 40)
    totals.add_settlement("late", 2)
    sums = totals.take()
    assert sums.denials == {
        ("exhausted", "tenant-day", "cost", "model"): 2,
        ("unpriced", None, None, None): 1,
    }
    assert sums.settlements == {"committed": 2, "late": 1}
    assert sums.overrun_nano == 42


def test_durations_are_kept_per_kind_name_and_outcome_where_they_were_measured():
    totals = ScopeTotals()
    totals.add_call("model", "m", "ok", 1, None, 0.25)
    totals.add_call("model", "m", "ok", 1, None, 0.5, committed=True)
    totals.add_call("model", "m", "ok", 1)
    totals.add_call("model", "m", "error", 1, None, 9.0)
    calls = totals.take().calls
    assert calls["model", "m", "ok"].durations.parts() == [(0.25, 1), (0.5, 1)]
    assert calls["model", "m", "error"].durations.parts() == [(9.0, 1)]


def test_a_scope_that_stays_open_keeps_a_bounded_number_of_durations():
    totals = ScopeTotals()
    for number in range(FOLD_AT * 40):
        totals.add_call("model", "m", "ok", 1, None, 0.001 * (1 + number % 1000))
    durations = totals._folded[0].calls["model", "m", "ok"].durations
    assert len(durations.values) <= 2 * FOLD_AT
    assert len(durations._sums) < 20
    row = totals.take().calls["model", "m", "ok"]
    assert len(row.durations) == row.calls == FOLD_AT * 40


def retries(*outcomes, totals=None):
    totals = totals or ScopeTotals()
    for outcome in outcomes:
        totals.add_call("model", "m", outcome, 1)
        totals.add_call("tool", "m", "ok", 1)
        totals.add_call("model", "other", "ok", 1)
    return totals.take().retries


def test_a_retry_is_a_call_after_a_failed_one_of_the_same_kind_and_name():
    assert retries("ok", "ok") == {}
    assert retries("error") == {}
    assert retries("error", "ok", "ok") == {("model", "m"): 1}
    assert retries("error", "error", "ok", "error") == {("model", "m"): 2}


def test_a_retry_is_found_across_folds_and_takes():
    totals = ScopeTotals()
    assert retries("error", totals=totals) == {}
    for _ in range(FOLD_AT):
        totals.add_nested_cost(0)
    assert retries("ok", totals=totals) == {("model", "m"): 1}


def test_names_that_failed_are_remembered_in_bounded_number():
    totals = ScopeTotals()
    for number in range(FAILED_MAX + 10):
        totals.add_call("tool", f"t-{number}", "error", 1)
    totals.take()
    assert len(totals._failed) <= FAILED_MAX


def test_endless_totals_tell_of_everything_that_comes():
    came = []
    totals = EndlessTotals(lambda: came.append(True))
    totals.add_call("tool", "t", "ok", 1)
    totals.add_call("tool", "t", "ok", 1, committed=True)
    totals.add_settlement("late")
    totals.add_denial("unscoped", what="tool")
    assert len(came) == 4
    assert totals.take().calls["tool", "t", "ok"].calls == 2


def test_what_was_taken_is_not_taken_again():
    totals = ScopeTotals()
    totals.add_call("tool", "t", "ok", 5)
    assert totals.take().calls["tool", "t", "ok"].calls == 1
    totals.add_call("tool", "t", "ok", 8)
    sums = totals.take()
    assert (sums.calls["tool", "t", "ok"].calls, sums.scope_cost_nano) == (1, 8)
    assert totals.take().calls == {}


def test_a_nested_cost_is_part_of_the_scope_and_of_no_call():
    totals = ScopeTotals()
    totals.add_call("tool", "t", "ok", 5)
    totals.add_nested_cost(100)
    sums = totals.take()
    assert sums.scope_cost_nano == 105
    assert sums.calls["tool", "t", "ok"].cost_nano == 5


def test_a_scope_that_stays_open_keeps_a_bounded_number_of_events():
    totals = ScopeTotals()
    for _ in range(FOLD_AT * 20 + 7):
        totals.add_call("model", "m", "ok", 1, USAGE)
        totals.add_settlement("committed")
        totals.add_denial("exhausted", "b", "cost")
        totals.add_nested_cost(1)
    assert len(totals._events) < FOLD_AT
    assert len(totals._folded) == 1
    sums = totals.take()
    assert sums.calls["model", "m", "ok"].calls == FOLD_AT * 20 + 7
    assert sums.denials["exhausted", "b", "cost", None] == FOLD_AT * 20 + 7
    assert sums.scope_cost_nano == 2 * (FOLD_AT * 20 + 7)


def test_no_update_is_lost_between_threads_that_count_and_one_that_takes(busy_switching):
    totals, threads, each = ScopeTotals(), 8, 3000
    start, done = threading.Barrier(threads + 1), threading.Event()
    taken = []

    def count():
        start.wait()
        for _ in range(each):
            totals.add_call("model", "m", "ok", 3, USAGE)
            totals.add_settlement("committed", 1)

    def take():
        start.wait()
        while not done.is_set():
            taken.append(totals.take())

    counters = [threading.Thread(target=count) for _ in range(threads)]
    taker = threading.Thread(target=take)
    for thread in [*counters, taker]:
        thread.start()
    for thread in counters:
        thread.join()
    done.set()
    taker.join()
    taken.append(totals.take())

    rows = [sums.calls["model", "m", "ok"] for sums in taken if sums.calls]
    assert sum(row.calls for row in rows) == threads * each
    assert sum(row.cost_nano for row in rows) == threads * each * 3
    assert sum(row.input for row in rows) == threads * each * 100
    assert sum(sums.settlements.get("committed", 0) for sums in taken) == threads * each
    assert sum(sums.overrun_nano for sums in taken) == threads * each


def test_partial_sums_folded_side_by_side_are_added():
    totals = ScopeTotals()
    for _ in range(2):  # what two threads leave behind that fold at the same moment
        partial = ScopeTotals()
        partial.add_call("model", "m", "error", 3, USAGE, 0.5)
        partial.add_call("model", "m", "error", 3, USAGE, 0.5)
        partial.add_denial("unpriced")
        partial.add_settlement("late", 9)
        totals._folded.append(partial.take())
    sums = totals.take()
    row = sums.calls["model", "m", "error"]
    assert (row.calls, row.cost_nano, row.input, row.reasoning) == (4, 12, 400, 20)
    assert row.durations.parts() == [(0.5, 1)] * 4
    assert sums.retries == {("model", "m"): 2}
    assert (sums.denials, sums.settlements) == ({("unpriced", None, None, None): 2}, {"late": 2})
    assert (sums.overrun_nano, sums.scope_cost_nano) == (18, 12)


def test_a_finalizer_that_counts_and_takes_in_the_middle_of_a_fold_neither_hangs_nor_loses():
    totals, inside = ScopeTotals(), []

    class Abandoned:
        """Usage whose reading drops the last reference to a stream that settles in its finalizer."""

        output_tokens = cache_read_tokens = cache_write_tokens = reasoning_tokens = 0

        @property
        def input_tokens(self):
            totals.add_call("model", "m", "ok", 10)
            inside.append(totals.take())
            return 1

    totals.add_call("model", "m", "ok", 1, Abandoned())
    totals.add_call("model", "m", "ok", 2)
    last = totals.take()
    assert len(inside) == 1
    assert sum(sums.scope_cost_nano for sums in [*inside, last]) == 13
    assert sum(sums.calls["model", "m", "ok"].calls for sums in [*inside, last]) == 3
