"""A policy that changes while its runtime works: open scopes meet the new limits, and the books stay."""

from __future__ import annotations

import os
import queue
import time
from pathlib import Path

import pytest
from config_map import mount_config_map

from costscope import BudgetExceeded, Runtime, budget_scope, reserve
from costscope.errors import InvalidPolicy
from costscope.events import PolicyReloaded
from costscope.policy.load.watcher import PolicyReloader, PolicyWatcher
from costscope.scope.runtime import services_of

LIMIT = "budgets: [{{id: day, match: {{tenant: '*'}}, per: [tenant], period: daily, limits: {{tool_calls: {}}}}}]\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Looks every 10 ms, and believes a file after 50."""
    monkeypatch.setitem(PolicyReloader.__init__.__kwdefaults__, "interval_s", 0.01)
    monkeypatch.setitem(PolicyWatcher.__init__.__kwdefaults__, "settle_s", 0.05)
    monkeypatch.setattr("costscope.policy.load.watcher.SETTLE_S", 0.01)


@pytest.fixture
def policy(tmp_path):
    """The path of a file that allows one call a day and tenant."""
    path = tmp_path / "policy.yaml"
    path.write_text(LIMIT.format(1))
    return str(path)


@pytest.fixture
def told(runtime):
    """The next record about a reload, waited for."""
    heard: queue.Queue = queue.Queue()
    runtime.events.add_sink(lambda event: heard.put(event) if isinstance(event, PolicyReloaded) else None)
    return lambda: heard.get(timeout=30)


def replace(path, text):
    """As a careful editor does: the whole of it at once."""
    beside = Path(f"{path}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def call(runtime):
    with reserve(tool="t", price=0, runtime=runtime):
        pass


async def acall(runtime):
    async with reserve(tool="t", price=0, runtime=runtime):
        pass


@pytest.fixture
def make_call(colour, runtime):
    return lambda: colour.run(call if colour.name == "sync" else acall, runtime)


def test_an_open_scope_meets_the_new_limit_with_what_it_has_spent(runtime, policy, told, make_call):
    with budget_scope(tenant="a", runtime=runtime):
        make_call()
        with pytest.raises(BudgetExceeded):
            make_call()
        replace(policy, LIMIT.format(3))
        reloaded = told()
        assert (reloaded.accepted, reloaded.problem, reloaded.source) == (True, "", policy)
        make_call()
        make_call()
        with pytest.raises(BudgetExceeded) as caught:
            make_call()
        assert (caught.value.limit, caught.value.spent) == (3, 3)
        replace(policy, LIMIT.format(2))
        told()
        with pytest.raises(BudgetExceeded) as caught:
            make_call()
        assert (caught.value.limit, caught.value.spent) == (2, 3)


def test_a_wrong_version_changes_nothing_and_is_told_with_its_place(runtime, policy, told, make_call):
    replace(policy, LIMIT.format(5).replace("tool_calls", "tool_cals"))
    reloaded = told()
    assert not reloaded.accepted
    assert reloaded.problem.startswith(f"{policy}:1: $.budgets[0].limits.tool_cals: ")
    with budget_scope(tenant="a", runtime=runtime):
        make_call()
        with pytest.raises(BudgetExceeded):
            make_call()
    replace(policy, LIMIT.format(2))
    assert told().accepted
    with budget_scope(tenant="a", runtime=runtime):
        make_call()


@pytest.mark.parametrize("labels", [{}, {"run": "r"}], ids=["scope", "run"])
def test_thresholds_routes_and_detection_come_with_it(labels, runtime, policy, told):
    assert not services_of(runtime).acts
    with budget_scope(tenant="a", **labels, runtime=runtime):
        call(runtime)
        replace(policy, LIMIT.format(9).replace("limits", "thresholds: [10], limits"))
        told()
        assert services_of(runtime).acts
        crossed = []
        runtime.events.add_sink(
            lambda event: crossed.append(event) if type(event).__name__ == "ThresholdCrossed" else 0
        )
        call(runtime)
    assert [(one.threshold, one.limit) for one in crossed] == [(10, 9)]


def test_another_currency_is_refused_since_the_books_have_one(runtime, policy, told):
    replace(policy, f"currency: EUR\n{LIMIT.format(9)}")
    reloaded = told()
    assert not reloaded.accepted
    assert "currency changed from USD to EUR" in reloaded.problem
    assert runtime.policy.currency == "USD"


def test_webhooks_are_taken_over_or_the_whole_version_is_refused(runtime, policy, told, monkeypatch):
    pytest.importorskip("httpx2")
    hook = "webhooks: {ops: {url: 'https://127.0.0.1:9/', secret_env: RELOADED_SECRET}}\n"
    monkeypatch.delenv("RELOADED_SECRET", raising=False)
    replace(policy, LIMIT.format(9) + hook)
    refused = told()
    assert not refused.accepted
    assert "RELOADED_SECRET" in refused.problem
    assert (services_of(runtime).webhooks, runtime.policy.budgets[0].limits) == (None, {"tool_calls": 1})
    from costscope.webhooks import new_secret

    monkeypatch.setenv("RELOADED_SECRET", new_secret())
    replace(policy, LIMIT.format(8) + hook)
    assert told().accepted
    assert services_of(runtime).webhooks is not None
    replace(policy, LIMIT.format(7))
    assert told().accepted
    assert services_of(runtime).webhooks is None


def test_a_mounted_config_map_that_is_swapped(make_runtime, tmp_path):
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount_config_map(folder, "v1", LIMIT.format(1))
    runtime = make_runtime(policy=str(folder))
    heard: queue.Queue = queue.Queue()
    runtime.events.add_sink(lambda event: heard.put(event) if isinstance(event, PolicyReloaded) else None)
    mount_config_map(folder, "v2", LIMIT.format(4))
    assert heard.get(timeout=30).accepted
    assert runtime.policy.budgets[0].limits == {"tool_calls": 4}


def test_a_runtime_may_be_told_not_to_look(make_runtime, policy):
    runtime = make_runtime(reload=False)
    replace(policy, LIMIT.format(9))
    assert runtime._reloading is None
    assert runtime.policy.budgets[0].limits == {"tool_calls": 1}


def test_closing_ends_the_thread(make_runtime):
    runtime = make_runtime()
    thread = runtime._reloading._reloader._worker._thread
    assert thread.is_alive()
    runtime.close()
    assert not thread.is_alive()


def test_what_a_callback_raises_does_not_end_the_watch(tmp_path, caplog):
    path = tmp_path / "p.yaml"
    path.write_text(LIMIT.format(1))
    heard: queue.Queue = queue.Queue()

    def refuse(what):
        heard.put(what)
        raise RuntimeError

    reloader = PolicyReloader(PolicyWatcher(path), on_change=refuse, on_problem=refuse)
    reloader.start()
    try:
        replace(path, LIMIT.format(2))
        assert heard.get(timeout=30).budgets[0].limits == {"tool_calls": 2}
        replace(path, "nonsense: 1")
        assert isinstance(heard.get(timeout=30), InvalidPolicy)
        replace(path, LIMIT.format(3))
        assert heard.get(timeout=30).budgets[0].limits == {"tool_calls": 3}
    finally:
        reloader.close()
    assert "could not be taken over" in caplog.text
    assert "could not be reported" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_looks_by_itself(policy):
    """Servers such as gunicorn load the application, and fork."""
    with Runtime(policy=policy) as runtime:
        child = os.fork()
        if child == 0:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if runtime.policy.budgets[0].limits == {"tool_calls": 7}:
                    os._exit(0)
                time.sleep(0.01)
            os._exit(1)
        replace(policy, LIMIT.format(7))
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
