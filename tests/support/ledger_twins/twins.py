"""Both hosts of the state machine side by side: every command goes to both, every answer is compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from costscope.ledger import Counters, Ledger, Outcome, Read, Reserve, audit
from costscope_valkey.codec import Codec, decode, source_of
from costscope_valkey.keys import LedgerKeys
from costscope_valkey.link import Script
from costscope_valkey.snapshot import read_snapshot

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
            expected = [self._one(command) for command in request.commands]
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

    def _one(self, command: Command) -> Reply:
        """Apply it to the ledger in Python, which tells the balances of a new hold where they are watched."""
        new = isinstance(command, Reserve) and self.ledger._find(command.id, self.now_ms) is None
        reply = self.ledger.apply(command, self.now_ms)
        if new and reply.outcome is Outcome.GRANTED:
            balances = self.ledger.apply(Read(command.accounts), self.now_ms).balances
            told = balances if _reached(command, balances) else ()
            self._same(f"the balances told after {command}", told, reply.balances)
        return reply

    def check(self) -> None:
        """Compare the books and the queues, and audit both."""
        one, (other, waiting) = self.ledger.snapshot(self.now_ms), self._look()
        self._same("the accounts", _accounts(one), _accounts(other))
        self._same("the live holds", _holds(one), _holds(other))
        books = self.ledger._books.items()
        queues = {key: self._live(book.queue) for key, book in books if not book.gone(self.now_ms)}
        self._same("who waits", {key: queue for key, queue in queues.items() if queue}, waiting)
        for snapshot in (one, other):
            report = audit(snapshot)
            self._same("the audit", [], [str(difference) for difference in report.differences])

    def over(self, account: Account) -> bool:
        """Past its keeping time for good: all that is entered there is forgotten at once."""
        return account.end_ms > 0 and account.end_ms + account.keep_ms <= self.now_ms

    def moments(self) -> set[int]:
        """When holds fall due, and when records and accounts may be forgotten."""
        holds, books = self.ledger._holds.values(), self.ledger._books.values()
        return {ms for hold in holds for ms in (hold.deadline_ms, hold.drop_ms)} | {
            ms for book in books for ms in (book.drop_ms, *book.queue.values())
        }

    def forgotten_ms(self) -> int:
        """When something was forgotten last; each host collects that when it likes."""
        kept = (*self.ledger._books.values(), *self.ledger._holds.values())
        gone = [one.drop_ms for one in kept if one.drop_ms <= self.now_ms]
        tickets = [until_ms for book in self.ledger._books.values() for until_ms in book.queue.values()]
        gone += [until_ms for until_ms in tickets if until_ms <= self.now_ms]
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

    def _look(self) -> tuple[Snapshot, dict[str, dict[str, int]]]:
        """The books on the server, and by account who waits there until when."""
        keys = (self._keys.leases, self._keys.index)
        raw = cast("Any", self._link.call(self._snapshot, keys, (self._keys.hold_prefix, "1", self.now_ms)))
        found = read_snapshot(raw, self._keys)
        fields = {
            self._keys.account_of(key): dict(zip(pairs[::2], pairs[1::2], strict=True))
            for key, pairs in zip(raw[1][::2], raw[1][1::2], strict=True)
        }
        queues = {}
        for account in found.accounts:
            words = fields[account.key].get(b"q", b"").decode().split()
            queue = self._live(dict(zip(words[::2], map(int, words[1::2]), strict=True)))
            if queue:
                queues[account.key] = queue
        return found, queues

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

    def _live(self, queue: dict[str, int]) -> dict[str, int]:
        return {ticket: until_ms for ticket, until_ms in queue.items() if until_ms > self.now_ms}

    def _same(self, what: str, one: object, other: object) -> None:
        if one != other:
            msg = f"{what}, at {self.now_ms}:\n  python: {one}\n  lua:    {other}"
            raise Disagreement(msg)


def _answer(reply: Reply) -> tuple[object, ...]:
    return reply.outcome.name, reply.units, reply.denial, reply.now_ms


def _reached(command: Reserve, balances: tuple[tuple[int, ...], ...]) -> bool:
    """Did this bring a meter it reserved to a level that is watched?"""
    asked = {*command.amounts}
    for account, balance in zip(command.accounts, balances, strict=True):
        levels = dict(account.watch)
        for at, (meter, _) in enumerate(account.limits):
            if meter in asked and meter in levels and sum(balance[2 * at : 2 * at + 2]) >= levels[meter]:
                return True
    return False


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
