"""A ledger with its clock, so that a test reads as a story."""

from __future__ import annotations

import pytest

from costscope.ledger import Account, Ledger, Read, audit

START_MS = 1_700_000_000_000


class Story:
    """A ledger at a moment; in the end its books must be exact."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.now_ms = START_MS

    def apply(self, command):
        return self.ledger.execute([command], self.now_ms)[0]

    def outcome(self, command) -> str:
        return self.apply(command).outcome.name

    def balance(self, account: Account) -> tuple[int, ...]:
        return self.apply(Read((account,))).balances[0]

    def counters(self, account: Account, meter: str = "cost"):
        (found,) = [a for a in self.ledger.snapshot(self.now_ms).accounts if a.key == account.key]
        return found.meters[meter]

    def audit(self):
        return audit(self.ledger.snapshot(self.now_ms))


@pytest.fixture
def story():
    story = Story()
    yield story
    assert story.audit().exact, story.audit().differences
