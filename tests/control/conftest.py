"""A runtime on each store, its books, both colours of function, and what watches runs for being out of control."""

import pytest
from passing_time import passing
from run_agent import make_agent
from running import Books, books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

__all__ = [
    "books",
    "colour",
    "make_agent",
    "make_runtime",
    "make_store",
    "passing",
    "patient_url",
    "policy",
    "runtime",
    "store_kind",
]


@pytest.fixture
def watching(make_runtime):
    """Makes runtimes that watch their runs; with what they were told of, once everything is told."""

    def make(rule=None, **more):
        budget = {"id": "all", "limits": {"cost": "1000"}} | more.pop("budget", {})
        described = {"budgets": [budget], "runaway": {} if rule is None else rule} | more
        runtime = make_runtime(policy=described)
        told = []
        runtime.events.on("runaway", told.append)

        def heard():
            assert runtime.call_reports.drain(30)
            assert runtime.events.drain(30)
            return told

        return runtime, heard

    return make


@pytest.fixture
def settle():
    """Every unit in the books of a runtime is accounted for."""
    return lambda runtime: Books(runtime).settle()
