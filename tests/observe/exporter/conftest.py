"""A store whose answers a test decides, and its board."""

from __future__ import annotations

import threading

import pytest
from books_of import account, snapshot

from costscope.board import Published


class StandIn:
    """Answers a snapshot and the events that were published; blocks or fails when told to."""

    url = "memory://stand-in"

    def __init__(self) -> None:
        self.books = snapshot(account(meters={"cost": 10**8}))
        self.records: list[str] = []
        self.trouble: BaseException | None = None
        self.looks = 0
        self.answering = threading.Event()
        self.answering.set()

    def snapshot(self):
        self.looks += 1
        assert self.answering.wait(30)
        if self.trouble is not None:
            raise self.trouble
        return self.books

    def tell(self, ops):
        [recent] = ops
        start = int(recent.after or 0)
        published = [Published(str(at), record) for at, record in enumerate(self.records, 1)]
        return [published[start:][-recent.count :]]


@pytest.fixture
def store():
    store = StandIn()
    yield store
    store.answering.set()
