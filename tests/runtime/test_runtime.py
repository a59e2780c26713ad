"""Runtimes: what they are made of, the default one, and what they give back."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from no_default import no_default_runtime

import costscope
from costscope import (
    InvalidPolicy,
    Runtime,
    StoreMisconfigured,
    StoreWarning,
    budget_scope,
    configure,
    get_runtime,
    metered_tool,
    set_runtime,
)
from costscope.scope.runtime import services_of
from costscope_memory import MemoryStore

POLICY = {"budgets": [{"id": "all", "limits": {"cost": "1"}}]}


@pytest.fixture(autouse=True)
def no_default(monkeypatch):
    """Each test begins without a default runtime and leaves none."""
    for name in ("COSTSCOPE_STORE", "COSTSCOPE_POLICY"):
        monkeypatch.delenv(name, raising=False)
    with no_default_runtime():
        yield


def test_the_default_is_made_from_the_environment(monkeypatch, tmp_path):
    (tmp_path / "budgets.yaml").write_text("budgets: [{id: from-file, limits: {cost: '1'}}]")
    monkeypatch.setenv("COSTSCOPE_STORE", "memory://")
    monkeypatch.setenv("COSTSCOPE_POLICY", str(tmp_path / "budgets.yaml"))
    runtime = get_runtime()
    assert [budget.id for budget in runtime.policy.budgets] == ["from-file"]
    assert get_runtime() is runtime


def test_without_configuration_it_works_and_warns_that_it_is_not_shared():
    tool = metered_tool("t")(lambda: None)
    with pytest.warns(StoreWarning, match=r"costscope\.configure") as caught, budget_scope():
        tool()
    assert get_runtime().store.url == "memory://"
    assert caught[0].filename == __file__, "it points at the caller's own line"
    assert len(caught) == 1


def test_configure_replaces_the_default_and_closes_it():
    first = configure(store="memory://", policy=POLICY)
    second = configure(store="memory://")
    assert get_runtime() is second
    assert services_of(first).outbox.drain()
    assert set_runtime(second) is second, "the same one again stays open"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"store": "nonsense://x"}, StoreMisconfigured),
        ({"store": "memory"}, StoreMisconfigured),
        ({"store": "memory://somewhere"}, StoreMisconfigured),
        ({"policy": {"budgets": [{"id": "x"}]}}, InvalidPolicy),
        ({"policy": "no-such-file.yaml"}, InvalidPolicy),
        ({"metric_labels": ["run"]}, costscope.InvalidLabel),
    ],
)
def test_a_configuration_that_cannot_be_used_leaves_the_old_one(options, error):
    before = configure(store="memory://")
    with pytest.raises(error):
        configure(**options)
    assert get_runtime() is before


@pytest.mark.parametrize(
    "option",
    [{"lease_s": 0}, {"lease_s": -5}, {"lease_s": float("nan")}, {"unscoped": "maybe"}, {"outbox_limit": 0}],
)
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(costscope.InvalidInput, match=next(iter(option))):
        Runtime(**option)


def test_a_store_given_as_an_object_stays_open_and_one_named_by_url_is_closed(monkeypatch):
    class Store(MemoryStore):
        closed = 0

        def close(self):
            self.closed += 1

    store = Store()
    with Runtime(store=store):
        pass
    assert store.closed == 0
    monkeypatch.setattr("costscope.scope.runtime.open_store", lambda url: store)
    Runtime(store="memory://").close()
    assert store.closed == 1


def test_closing_twice_does_no_harm(runtime):
    runtime.close()
    runtime.close()


def test_as_an_async_context_manager(make_runtime):
    import asyncio

    async def main():
        async with make_runtime() as runtime:
            tool = metered_tool("t", price="0.01", runtime=runtime)(_nothing)
            with budget_scope(runtime=runtime):
                await tool()
            return runtime

    assert services_of(asyncio.run(main())).outbox.drain()


async def _nothing():
    return None


def test_a_forgotten_runtime_leaves_no_thread_behind(monkeypatch):
    """The outbox's thread ends when it has been idle."""
    monkeypatch.setattr("costscope.background.worker.Worker.linger_s", 0.01)
    before = set(threading.enumerate())
    runtime = Runtime(policy=POLICY)
    with budget_scope(runtime=runtime):
        costscope.reserve(tool="t", price="0.01", runtime=runtime).__enter__()
        gc.collect()
    assert services_of(runtime).outbox.drain(30)
    deadline = time.monotonic() + 30
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.005)


def test_the_books_are_audited(runtime):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime):
        tool()
    report = runtime.audit()
    assert report.exact
    assert (report.accounts, report.holds) == (1, 0)


def test_a_clock_that_disagrees_with_the_stores_is_corrected(make_runtime, store_kind):
    """The window is proposed by this process's clock; the store says what time it really is."""
    from time import time_ns

    policy = {"budgets": [{"id": "hour", "period": "hourly", "limits": {"cost": "1"}}]}
    runtime = make_runtime(policy=policy, clock=lambda: time_ns() - 3 * 3600 * 10**9)
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: "ran")
    with budget_scope(runtime=runtime):
        assert tool() == "ran"
        assert abs(services_of(runtime).now_ms() - time_ns() // 10**6) < 60_000
        assert tool() == "ran"
    (account,) = runtime.store.snapshot().accounts
    assert account.meters["cost"].spent == 20_000_000


def test_a_budget_starts_anew_with_its_window():
    now = [1_800_000_000 * 10**9]
    store = MemoryStore(clock=lambda: now[0])
    policy = {"budgets": [{"id": "hour", "period": "hourly", "limits": {"tool_calls": 1}}]}
    with (
        Runtime(store=store, policy=policy, clock=lambda: now[0]) as runtime,
        budget_scope(runtime=runtime) as scope,
    ):
        tool = metered_tool("t", runtime=runtime)(lambda: None)
        tool()
        with pytest.raises(costscope.BudgetExceeded) as refusal:
            tool()
        resets_at = refusal.value.resets_at
        assert resets_at.timestamp() * 10**9 > now[0]
        assert "Resets at" in str(refusal.value)
        now[0] = int(resets_at.timestamp()) * 10**9
        tool()
        assert [row.spent for row in scope.balances()] == [1]


def test_a_call_that_spans_the_end_of_its_window_settles_where_it_was_reserved():
    now = [1_800_000_000 * 10**9]
    store = MemoryStore(clock=lambda: now[0])
    policy = {"budgets": [{"id": "hour", "period": "hourly", "limits": {"cost": "1"}}]}
    with Runtime(store=store, policy=policy, clock=lambda: now[0], lease_s=7200) as runtime:

        @metered_tool("t", price="0.01", runtime=runtime)
        def tool():
            now[0] += 3600 * 10**9

        with budget_scope(runtime=runtime):
            tool()
        (account,) = store.snapshot().accounts
        assert account.meters["cost"].spent == 10_000_000
        assert store.audit().exact


def test_many_runs_are_one_entry_of_the_resolver(make_runtime):
    runtime = make_runtime(policy={"budgets": [{"id": "t", "per": ["tenant"], "limits": {"cost": "9"}}]})
    found = {
        id(services_of(runtime).resolver.resolve({"tenant": "a", "run": f"r{n}"}, 1_800_000_000_000))
        for n in range(100)
    }
    assert len(found) == 1
    other = services_of(runtime).resolver.resolve({"tenant": "b"}, 1_800_000_000_000)
    assert (
        other.accounts[0].key
        != services_of(runtime).resolver.resolve({"tenant": "a"}, 1_800_000_000_000).accounts[0].key
    )
