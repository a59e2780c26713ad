"""A runtime on each store, its books, both colours of function, and processes that do what they are told."""

import pytest
from run_agent import RunAgent
from running import books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "policy", "runtime", "store_kind"]


@pytest.fixture
def make_agent(patient_url):
    """Starts other processes on this test's ledger; see `RunAgent`."""
    agents = []

    def make(policy, **options):
        agents.append(RunAgent(patient_url, policy, options))
        return agents[-1]

    yield make
    for agent in agents:
        agent.end()
