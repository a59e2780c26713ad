"""The state machine of the ledger: commands + state -> replies + state'. No clock, no lock, no I/O.

The same table stands in `backends/costscope_valkey/ledger.lua`; one property test drives both and compares
every reply. Each verb first looks at everything and only then writes, so a refusal leaves no trace.

Reserve and Commit are walked by every metered call, so they do no more than they must: the books behind a
tuple of accounts are laid out once (`Plan`), and their balances are only told where they are asked for.

A signal handler may raise between any two turns of a loop (Ctrl-C), and half a transfer would be money that is
neither spent nor free. So what is written in a loop is finished first and the interrupt raised after it; what
is not on the hot path is written by one call into C (`write`), in which no handler runs.
"""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Final

from costscope.errors import DENIALS
from costscope.ledger.admission import (
    denial,
    enter_queue,
    find_overtaken,
    leave_queues,
    reserve_again,
    same_accounts,
    units_that_fit,
)
from costscope.ledger.books import Books, Write, give_back, gone, write
from costscope.ledger.commands import Commit, Expire, Extend, Forgive, Outcome, Read, Release, Reply, Reserve
from costscope.ledger.meters import MAX_AMOUNT, SLOTS
from costscope.ledger.state import Hold, HoldState
from costscope.ledger.times import LEASE_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from costscope.ledger.commands import Amounts, Command, Denial
    from costscope.ledger.state import Plan

_HELD: Final = HoldState.HELD

_GRANTED: Final = Reply(Outcome.GRANTED)
_COMMITTED: Final = Reply(Outcome.COMMITTED)
_REPEATED: Final = {
    HoldState.COMMITTED: Outcome.COMMITTED,
    HoldState.LATE: Outcome.LATE,
    HoldState.ORPHAN: Outcome.ORPHAN,
}


class Ledger(Books):
    """The books of one ledger in memory. Not thread-safe: its store brings the lock and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._verbs: dict[type[Command], Callable[[Any, int], Reply]] = {
            Reserve: self._reserve,
            Commit: self._commit,
            Release: self._release,
            Extend: self._extend,
            Expire: self._expire,
            Forgive: self._forgive,
            Read: self._read,
        }

    def execute(self, commands: Sequence[Command], now_ms: int) -> list[Reply]:
        """Apply a batch at one instant of the store's clock, after what has fallen due by then."""
        if self._next_ms <= now_ms:
            self.sweep(now_ms)
        if len(commands) == 1:  # a comprehension costs a frame, and most batches in memory are of one
            command = commands[0]
            return [self._verbs[type(command)](command, now_ms)]
        return [self._verbs[type(command)](command, now_ms) for command in commands]

    def apply(self, command: Command, now_ms: int) -> Reply:
        """Apply one command and nothing else, even if something has fallen due."""
        return self._verbs[type(command)](command, now_ms)

    # ------------------------------------------------------------------ reserve

    def _reserve(self, command: Reserve, now_ms: int) -> Reply:  # noqa: C901, PLR0912 - hot: a call costs 0.1 us
        hold_id = command.id
        if hold_id in self._holds and (known := self._find(hold_id, now_ms)) is not None:
            return reserve_again(command, known)
        plan = self._plans.get(id(command.accounts))
        if plan is None or plan.accounts is not command.accounts or not plan.from_ms <= now_ms < plan.to_ms:
            for account in command.accounts:
                if account.end_ms and not account.start_ms <= now_ms < account.end_ms:
                    return Reply(Outcome.WRONG_WINDOW, now_ms=now_ms)
            plan = self._plan(command.accounts, now_ms)
        amounts, units = command.amounts, 0
        if command.units_max:
            units = units_that_fit(command, plan)
            step = command.step
            amounts = {meter: amount + units * step.get(meter, 0) for meter, amount in amounts.items()}
        entries = plan.entries if plan.amounts == amounts else plan.entries_of(amounts)
        watched = False
        for cell, _, brink, amount in entries:
            if cell.spent + cell.held + amount > brink:
                refused = denial(amounts, plan)
                if refused is not None:
                    return self._deny(command, plan, refused, now_ms)
                watched = True
                break
        if self._queued_ms > now_ms:
            refused = find_overtaken(command.ticket, amounts, plan, now_ms)
            if refused is not None:
                return self._deny(command, plan, refused, now_ms)
            leave_queues(command.ticket, plan.books)
        if not plan.to_ms:
            self._enter(plan, now_ms)
        until_ms = now_ms + plan.idle_ms
        if until_ms > plan.until_ms:
            until_ms = plan.until_ms
        deadline_ms = now_ms + (command.lease_ms if command.lease_ms < LEASE_MAX_MS else LEASE_MAX_MS)
        if deadline_ms > until_ms:
            deadline_ms = until_ms
        heappush(self._deadlines, (deadline_ms, hold_id))
        if deadline_ms < self._next_ms:
            self._next_ms = deadline_ms
        if len(self._deadlines) > self._compact_at:
            self._drop_stale_deadlines()
        hold = Hold(_HELD, command, plan, entries, units, deadline_ms, until_ms)
        unwritten, interrupt = iter(entries), None
        while True:
            try:
                self._holds[hold_id] = hold
                for cell, _, _, amount in unwritten:
                    cell.held += amount
                    cell.reserved += amount
                break
            except BaseException as error:  # noqa: BLE001 - raised below, when the transfer is whole
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if watched or units:
            return Reply(Outcome.GRANTED, plan.balances() if watched else (), units)
        return _GRANTED

    def _deny(self, command: Reserve, plan: Plan, refused: Denial, now_ms: int) -> Reply:
        """Refuse; a caller with a ticket waits for what is in flight, and for nothing else."""
        ticket = command.ticket
        if ticket and DENIALS[refused.kind].waits:
            until_ms = now_ms + command.wait_ms
            enter_queue(ticket, until_ms, refused.account, plan, now_ms)
            self._queued_ms = max(self._queued_ms, until_ms)
        elif ticket:
            leave_queues(ticket, plan.books)
        return Reply(Outcome.DENIED, plan.balances(), 0, refused)

    # ------------------------------------------------------------------- settle

    def _commit(self, command: Commit, now_ms: int) -> Reply:  # noqa: C901 - hot, as `_reserve`
        hold = self._holds.get(command.id)
        if hold is None or hold.state is not _HELD or now_ms >= hold.deadline_ms:
            return self._commit_after(command, now_ms)
        plan, request, actuals = hold.plan, hold.request, command.amounts
        assert plan is not None, "a live hold has its plan"
        assert request is not None, "a live hold has its request"
        if plan.accounts is not command.accounts and not same_accounts(hold, command.accounts):
            return Reply(Outcome.MISMATCH)
        if plan.slots:
            actuals = {**actuals, **plan.slots}
        if command.amounts is not request.amounts and _overflows(hold, actuals):
            return Reply(Outcome.OVERFLOW)
        unwritten, interrupt = iter(hold.entries), None
        while True:
            try:
                for cell, meter, _, amount in unwritten:
                    # not `.get`: an interrupt may come up on the way back from a call, and lose this turn
                    actual = actuals[meter] if meter in actuals else amount
                    cell.held -= amount
                    cell.settled += amount
                    if actual > amount:
                        cell.overrun += actual - amount
                    elif actual < amount:
                        cell.refund += amount - actual
                    # The last line of the turn must not be a branch: from there Python 3.13 goes back to the head
                    # of the loop by a jump that looks for signals outside of this `try`.
                    cell.spent += actual
                if command.keep_ms:
                    self._close(hold, HoldState.COMMITTED, command, now_ms)
                else:
                    self._holds.pop(command.id, None)
                break
            except BaseException as error:  # noqa: BLE001 - raised below, when the transfer is whole
                interrupt = error
        if interrupt is not None:
            raise interrupt
        return _COMMITTED

    def _commit_after(self, command: Commit, now_ms: int) -> Reply:  # noqa: PLR0911 - one return a row of the table
        """Answer a commit that does not find its hold live: a repeat, late, or for something unknown or given back."""
        hold = self._find(command.id, now_ms)
        if hold is None:
            return self._commit_orphan(command, now_ms)
        if hold.state in _REPEATED:
            same = hold.actual == command.amounts
            return Reply(_REPEATED[hold.state] if same else Outcome.MISMATCH)
        if hold.state is HoldState.RELEASED:
            return self._commit_orphan(command, now_ms)
        if not same_accounts(hold, command.accounts):
            return Reply(Outcome.MISMATCH)
        state = self._lose(command.id, hold, now_ms) if hold.state is _HELD else hold.state
        if state is HoldState.RELEASED or gone(hold, now_ms):
            return self._commit_orphan(command, now_ms)
        if _overflows(hold, command.amounts):
            return Reply(Outcome.OVERFLOW)
        writes: list[Write] = []
        for cell, meter, _, amount in hold.entries:
            if meter in SLOTS:
                continue  # given back when the hold was lost
            actual = command.amounts.get(meter, amount)
            writes += (
                (cell, "presumed", cell.presumed - amount),
                (cell, "settled", cell.settled + amount),
                (cell, "spent", cell.spent - amount + actual),
                (cell, "overrun", cell.overrun + max(actual - amount, 0)),
                (cell, "refund", cell.refund + max(amount - actual, 0)),
            )
        write(writes)
        self._close(hold, HoldState.LATE, command, now_ms)
        return Reply(Outcome.LATE)

    def _commit_orphan(self, command: Commit, now_ms: int) -> Reply:
        plan = self._plan(command.accounts, now_ms)
        actuals = command.amounts
        lines = [
            (cell, actuals[meter])
            for meter, _, cell, _ in plan.lines
            if meter in actuals and meter not in SLOTS
        ]
        if any(cell.spent + cell.held + actual > MAX_AMOUNT for cell, actual in lines):
            return Reply(Outcome.OVERFLOW)
        self._enter(plan, now_ms)
        writes: list[Write] = []
        for cell, actual in lines:
            writes += ((cell, "spent", cell.spent + actual), (cell, "orphan", cell.orphan + actual))
        write(writes)
        self._close(Hold(HoldState.ORPHAN), HoldState.ORPHAN, command, now_ms)
        return Reply(Outcome.ORPHAN)

    def _release(self, command: Release, now_ms: int) -> Reply:
        hold = self._find(command.id, now_ms)
        if hold is None:
            self._close(Hold(HoldState.RELEASED), HoldState.RELEASED, command, now_ms)
        elif hold.state in _REPEATED:
            return Reply(Outcome.MISMATCH)
        elif hold.state is not HoldState.RELEASED:
            if not same_accounts(hold, command.accounts):
                return Reply(Outcome.MISMATCH)
            give_back(hold)
            self._close(hold, HoldState.RELEASED, command, now_ms)
        return Reply(Outcome.RELEASED)

    def _extend(self, command: Extend, now_ms: int) -> Reply:
        hold = self._find(command.id, now_ms)
        if hold is None or hold.state is not _HELD or now_ms >= hold.deadline_ms:
            return Reply(Outcome.LOST)
        hold.deadline_ms = min(now_ms + min(command.lease_ms, LEASE_MAX_MS), hold.until_ms)
        self._due(self._deadlines, hold.deadline_ms, command.id)
        return Reply(Outcome.EXTENDED, now_ms=now_ms)

    def _expire(self, command: Expire, now_ms: int) -> Reply:
        hold = self._find(command.id, now_ms)
        if hold is None or hold.state is not _HELD or now_ms < hold.deadline_ms:
            return Reply(Outcome.KEPT)
        if not same_accounts(hold, command.accounts):
            return Reply(Outcome.MISMATCH)
        self._lose(command.id, hold, now_ms)
        return Reply(Outcome.PRESUMED)

    def _forgive(self, command: Forgive, now_ms: int) -> Reply:
        known = self._find(command.id, now_ms)
        if known is not None:
            same = known.state is HoldState.FORGIVEN and known.actual == command.amounts
            return Reply(Outcome.FORGIVEN if same else Outcome.MISMATCH)
        writes: list[Write] = []
        for meter, _, cell, _ in self._plan(command.accounts, now_ms).lines:
            amount = min(command.amounts.get(meter, 0), cell.spent - cell.presumed)
            writes += ((cell, "spent", cell.spent - amount), (cell, "refund", cell.refund + amount))
        write(writes)
        self._close(Hold(HoldState.FORGIVEN), HoldState.FORGIVEN, command, now_ms)
        return Reply(Outcome.FORGIVEN)

    def _read(self, command: Read, now_ms: int) -> Reply:
        return Reply(Outcome.READ, self._plan(command.accounts, now_ms).balances())


def _overflows(hold: Hold, actuals: Amounts) -> bool:
    """Return whether spent + held would pass 2^53-1. Slots are never spent."""
    held: Amounts = hold.request.amounts if hold.request is not None else {}
    for meter, actual in actuals.items():
        if actual > held.get(meter, 0):
            break
    else:
        return False  # it takes no more than stands there already
    for cell, meter, _, amount in hold.entries:
        if (
            meter in actuals
            and meter not in SLOTS
            and cell.spent + cell.held - amount + actuals[meter] > MAX_AMOUNT
        ):
            return True
    return False
