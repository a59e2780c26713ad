"""Both hosts of the state machine side by side: every command goes to both, every answer is compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from costscope.ledger import Counters, Ledger, Read, audit
from costscope_valkey.codec import Codec, decode, source_of
from costscope_valkey.keys import LedgerKeys
from costscope_valkey.records import read_snapshot
from costscope_valkey.script import Script

if TYPE_CHECKING:
    from costscope.ledger import Account, Command, Reply, Snapshot
    from costscope_valkey.link import Link

__all__ = ["Disagreement", "Twins", "with_clock"]

_TIME = re.compile(r"^local time = [^\n]*\nlocal now = [^\n]*$", re.MULTILINE)


class Disagreement(AssertionError):
    """The two hosts answered differently, or one broke its books."""


def with_clock(source: str, now: str = "tonumber(ARGV[#ARGV])") -> str:
    """A script whose clock is a Lua expression; by default the caller's last argument."""
    changed, count = _TIME.subn(f"local now = {now}", source)
    assert count == 1, "the script reads its clock in two lines: local time = ..., local now = ..."
    return changed


class Twins:
    """One ledger, kept twice.

    The server collects keys by its own clock, so `now_ms` must never fall behind the real time; `collect` does
    what both hosts do with what is past its keeping time.
    """

    def __init__(
        self, link: Link, name: str, now_ms: int, source: str | None = None, ledger: type[Ledger] = Ledger
    ) -> None:
        self.ledger = ledger()
        self.now_ms = now_ms
        self._forgotten_ms = 0
        self._link = link
        self._keys = LedgerKeys(name)
        self._codec = Codec(self._keys)
        self._script = Script(with_clock(source or source_of("ledger")))
        self._snapshot = Script(with_clock(source_of("snapshot")))
        self._used: set[str] = set()

    def apply(self, *commands: Command) -> list[Reply]:
        """Apply a batch to both, compare replies, balances and all the books."""
        replies = []
        self.forgotten_ms()
        for request in self._codec.encode(commands):
            self._used.update(request.keys)
            due = sum(hold.deadline_ms <= self.now_ms for hold in self.ledger.snapshot(self.now_ms).holds)
            expected = [self.ledger.apply(command, self.now_ms) for command in request.commands]
            raw = cast("list[int]", self._link.call(self._script, request.keys, (*request.args, self.now_ms)))
            found, found_due = decode(request, raw)
            self._same("holds that are due", due, found_due)
            for command, reply, found_reply in zip(request.commands, expected, found, strict=True):
                self._same(f"the reply to {command}", _answer(reply), _answer(found_reply))
                accounts = getattr(command, "accounts", ())
                balances = self.ledger.apply(Read(accounts), self.now_ms).balances
                # an orphan on an account whose time is over is shown once more by the script that enters it
                for account, one, other in zip(accounts, balances, found_reply.balances, strict=True):
                    self._same(f"the balances after {command}", one, one if self.over(account) else other)
            replies += expected
        self.check()
        return replies

    def check(self) -> None:
        """Compare the books, and audit both."""
        one, other = self.ledger.snapshot(self.now_ms), self.snapshot()
        self._same("the accounts", _accounts(one), _accounts(other))
        self._same("the live holds", _holds(one), _holds(other))
        for snapshot in (one, other):
            report = audit(snapshot)
            self._same("the audit", [], [str(difference) for difference in report.differences])

    def over(self, account: Account) -> bool:
        """Past its keeping time for good: whatever is entered there is forgotten at once."""
        return account.end_ms > 0 and account.end_ms + account.keep_ms <= self.now_ms

    def moments(self) -> set[int]:
        """When holds fall due, and when records and accounts may be forgotten."""
        holds, books = self.ledger._holds.values(), self.ledger._books.values()
        return {ms for hold in holds for ms in (hold.deadline_ms, hold.drop_ms)} | {
            book.drop_ms for book in books
        }

    def forgotten_ms(self) -> int:
        """When something was forgotten last; each host collects that when it likes."""
        kept = (*self.ledger._books.values(), *self.ledger._holds.values())
        gone = [one.drop_ms for one in kept if one.drop_ms <= self.now_ms]
        self._forgotten_ms = max(self._forgotten_ms, *gone, 0)
        return self._forgotten_ms

    def forgotten_accounts_of(self, hold_id: str) -> tuple[Account, ...]:
        """The accounts of a hold of which some are forgotten: the server may not know any more which those were."""
        hold = self.ledger._holds.get(hold_id)
        if (
            hold is None
            or hold.request is None
            or not any(book.gone(self.now_ms) for book in hold.plan.books)
        ):
            return ()
        return hold.request.accounts

    def snapshot(self) -> Snapshot:
        """The books on the server."""
        keys = (self._keys.leases, self._keys.index)
        raw = self._link.call(self._snapshot, keys, (self._keys.hold_prefix, "1", self.now_ms))
        return read_snapshot(cast("Any", raw), self._keys)

    def collect(self) -> None:
        """Forget what is past its keeping time, as the server and the memory store do sooner or later."""
        self.forgotten_ms()
        self.ledger._forget(self.now_ms, 1_000_000)
        for key in self._used:
            if 0 < cast("int", self._link.command("PEXPIRETIME", key)) <= self.now_ms:
                self._link.command("DEL", key)
        self.check()

    def remove(self) -> None:
        """Leave nothing on the server."""
        if self._used:
            self._link.command("UNLINK", *sorted(self._used))

    def _same(self, what: str, one: object, other: object) -> None:
        if one != other:
            msg = f"{what}, at {self.now_ms}:\n  python: {one}\n  lua:    {other}"
            raise Disagreement(msg)


def _answer(reply: Reply) -> tuple[object, ...]:
    return reply.outcome.name, reply.units, reply.denial, reply.now_ms


def _accounts(snapshot: Snapshot) -> dict[str, object]:
    """Without meters nothing was ever entered in: whether a blank one is kept is each host's own affair."""
    blank = Counters()
    return {
        account.key: (
            account.about,
            account.drop_ms,
            {meter: counters for meter, counters in sorted(account.meters.items()) if counters != blank},
        )
        for account in sorted(snapshot.accounts, key=lambda account: account.key)
    }


def _holds(snapshot: Snapshot) -> dict[str, object]:
    return {
        hold.id: (hold.deadline_ms, sorted(hold.lines))
        for hold in sorted(snapshot.holds, key=lambda hold: hold.id)
    }
