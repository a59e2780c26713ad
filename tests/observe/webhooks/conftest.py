"""A store of each kind, and receivers on loopback that no proxy of the machine stands before."""

import pytest
from receiver import Receiver
from running import books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "policy", "runtime", "store_kind"]


@pytest.fixture
def receive(monkeypatch):
    """Makes receivers."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    made = []

    def make(*answers):
        made.append(Receiver(*answers).__enter__())
        return made[-1]

    yield make
    for one in made:
        one.__exit__()
