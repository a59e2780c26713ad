"""A scope with a `run` label is the same account in every process that opens the same labels."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal

import pytest
from running import Books
from workers import spend

from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool


@pytest.fixture(scope="module", params=["spawn", "fork"])
def processes(request):
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this platform")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(request.param)) as pool:
        yield pool


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_same_run_in_several_processes_shares_its_limit(processes, patient_url):
    jobs = [processes.submit(spend, patient_url, {"tenant": "a", "run": "r-1"}, 8) for _ in range(4)]
    assert sum(job.result(60) for job in jobs) == 10
    with Runtime(store=patient_url) as runtime:
        assert Books(runtime).spent(budget="~scope") == 100_000_000
        Books(runtime).settle()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "others",
    [({"tenant": "a", "run": "r-2"},), ({"tenant": "b", "run": "r-1"},), ({"tenant": "a"}, {"tenant": "a"})],
    ids=["another run", "another tenant", "no run"],
)
def test_other_labels_and_scopes_without_a_run_share_nothing(others, processes, patient_url):
    labels = [{"tenant": "a", "run": "r-1"}, *others]
    jobs = [processes.submit(spend, patient_url, each, 10) for each in labels]
    assert [job.result(60) for job in jobs] == [10] * len(labels)


def test_a_nested_scope_that_adds_no_label_has_a_limit_of_its_own(runtime):
    """Two anonymous sub-steps of one run are not one budget."""
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime, run="r", max_cost="1") as run:
        for _ in range(3):
            with budget_scope(runtime=runtime, max_cost="0.01") as step:
                tool()
                with pytest.raises(BudgetExceeded):
                    tool()
                step.refresh()
                assert step.spent == Decimal("0.01")
        run.refresh()
        assert run.spent == Decimal("0.03")


def test_a_nested_scope_that_adds_a_label_shares_under_a_run(runtime):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime, run="r"):
        with budget_scope(runtime=runtime, agent="a", max_cost="0.01"):
            tool()
        with budget_scope(runtime=runtime, agent="a", max_cost="0.01"), pytest.raises(BudgetExceeded):
            tool()
        with budget_scope(runtime=runtime, agent="b", max_cost="0.01"):
            tool()
