"""A stream, and what listens to it."""

from __future__ import annotations

import pytest

from costscope.events import EventStream


@pytest.fixture
def stream():
    stream = EventStream()
    yield stream
    stream.close(30)
