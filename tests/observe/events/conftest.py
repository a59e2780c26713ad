"""A stream, and what listens to it."""

from __future__ import annotations

import pytest
from running import books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

from costscope.events import EventStream

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "policy", "runtime", "store_kind"]


@pytest.fixture
def stream():
    stream = EventStream()
    yield stream
    stream.close(30)
