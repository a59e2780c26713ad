"""The hypothesis state machine: what agents, crashes and clocks can do to a ledger, in any order."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from costscope.ledger import (
    MAX_AMOUNT,
    Account,
    Commit,
    Expire,
    Extend,
    Forgive,
    Ledger,
    Read,
    Release,
    Reserve,
)
from ledger_twins.twins import Twins

if TYPE_CHECKING:
    from costscope.ledger import Amounts, Command
    from costscope_valkey.link import Link

__all__ = ["LedgerComparison"]

_SECOND: Final = 1000
_HOUR: Final = 3_600_000
_AHEAD_MS: Final = 2 * _HOUR
"""The manual clock starts this far ahead of the real one and may go back by half of it."""

_ACCOUNTS: Final = (
    # key, start, end, keep (ms from the start of the clock), limits
    ("run/1", 0, 0, 0, (("cost", 100), ("tokens", 10))),
    ("hour/1", -_SECOND, 5 * _SECOND, _SECOND, (("cost", 50), ("tool_calls", 3))),
    ("hour/2", 5 * _SECOND, 20 * _SECOND, 10 * _SECOND, (("tokens", 10), ("cost", 100))),
    ("idle/1", 0, 0, 800, (("cost", 30), ("tokens", 5))),
    ("huge/1", 0, 0, 72 * _HOUR, (("cost", MAX_AMOUNT), ("tokens", MAX_AMOUNT))),
    ("month/1", -240 * _HOUR, 24 * _HOUR, 72 * _HOUR, (("cost", 100), ("tokens", 20))),
    ("none/1", 0, 0, 0, (("tool_calls", 0),)),
    ("slots/1", 0, 0, 0, (("cost", 60), ("runs", 9), ("concurrent_runs", 2), ("concurrent_calls", 3))),
    ("halt/1", 0, 0, 2000, (("concurrent_calls", 4), ("halts", 0))),
)
_HUGE: Final = 4
_VARIANTS: Final = 5

_ids = st.sampled_from(["id1", "id2", "id3", "id4", "id5", "id6"])
_often = [0, 0, 0, 3, 3, 4, 4, 5, 5, 7, 7, 8, 1, 2, 6]  # the last three refuse most of what is asked of them
_places = st.lists(st.sampled_from(_often), min_size=1, max_size=4, unique=True).map(tuple)
_variants = st.sampled_from([0] * 8 + list(range(1, _VARIANTS)))
_edges = [0, 1, 2, 3, 4, 5, 9, 10, 11, 20, 29, 30, 31, 49, 50, 51, 99, 100, 101]
_some = st.one_of(
    st.sampled_from(_edges),
    st.integers(0, 40),
    st.sampled_from([MAX_AMOUNT - 100, MAX_AMOUNT - 1, MAX_AMOUNT]),
)
_meters = st.sampled_from(
    [
        "cost",
        "cost",
        "cost",
        "tokens",
        "tokens",
        "tool_calls",
        "concurrent_calls",
        "concurrent_runs",
        "runs",
        "halts",
    ]
)
_amounts = st.dictionaries(_meters, _some, max_size=3)
_small = st.dictionaries(_meters, st.integers(0, 12), max_size=3)
_few = st.dictionaries(_meters, st.integers(0, 2), min_size=1, max_size=4)
_tickets = st.sampled_from(["", "", "", "t1", "t2", "t3"])
_waits = st.sampled_from([0, 50, 1000, 1000, 10_000])
_leases = st.sampled_from([0, 1, 50, 1000, 10_000, 15 * 60_000, 24 * _HOUR, 30 * _HOUR])
_keeps = st.sampled_from([0, 0, 1, 500, 300_000, 24 * _HOUR])
_lost = st.sampled_from(["charge", "charge", "release"])


@st.composite
def _units(draw) -> tuple[Amounts, int, int]:
    """Step, least and most: capped holds; their sum stays an amount."""
    if draw(st.booleans()):
        return {}, 0, 0
    step = draw(st.dictionaries(st.sampled_from(["cost", "tokens"]), st.integers(0, 40), min_size=1))
    most = draw(st.sampled_from([1, 2, 7, 50, 1_000_000]))
    return step, draw(st.integers(0, min(most, 3))), most


@st.composite
def _blueprints(draw) -> tuple[object, ...]:
    """A command without its accounts, which only a running machine can date."""
    verbs = ["reserve"] * 4 + ["commit"] * 3 + ["release", "extend", "expire", "read", "forgive"]
    verb = draw(st.sampled_from(verbs))
    match verb:
        case "reserve":
            step, least, most = draw(_units())
            amounts = draw(st.one_of(_small, _few, _amounts)) if not most else draw(st.one_of(_small, _few))
            rest = (amounts, draw(_leases), draw(_lost), step, least, most, draw(_tickets), draw(_waits))
        case "commit" | "forgive":
            rest = (draw(st.one_of(_small, _amounts)), draw(_keeps))
        case "release":
            rest = (draw(_keeps),)
        case "extend":
            rest = (draw(_leases),)
        case _:
            rest = ()
    return verb, draw(_ids), draw(st.booleans()), draw(_places), draw(_variants), draw(st.booleans()), rest


class LedgerComparison(RuleBasedStateMachine):
    """Drives both hosts; what they are is set by `compare_ledgers`."""

    link: Link
    source: str | None = None
    ledger: type[Ledger] = Ledger

    def __init__(self) -> None:
        super().__init__()
        self.start_ms = time.time_ns() // 1_000_000 + _AHEAD_MS
        self.twins = Twins(
            self.link, f"twins-{uuid.uuid4().hex[:12]}", self.start_ms, self.source, self.ledger
        )
        self.tuples: dict[tuple[tuple[int, ...], int], tuple[Account, ...]] = {}
        self.reserved: dict[str, tuple[Account, ...]] = {}
        self.last: Command = Read(())

        self.focus: tuple[int, ...] = tuple(range(len(_ACCOUNTS)))

    def teardown(self) -> None:
        self.twins.remove()

    @initialize(focus=st.lists(st.sampled_from(range(len(_ACCOUNTS))), min_size=1, max_size=3, unique=True))
    def look_at(self, focus) -> None:
        """A history of few accounts: what happens to one of them is seldom alone there."""
        self.focus = tuple(focus)

    @rule(blueprint=_blueprints())
    def apply(self, blueprint) -> None:
        self.last = self.command(blueprint)
        self.twins.apply(self.last)

    @rule(blueprints=st.lists(_blueprints(), min_size=2, max_size=8))
    def apply_batch(self, blueprints) -> None:
        commands = [self.command(blueprint) for blueprint in blueprints]
        if any(
            self.twins.over(account) for command in commands for account in getattr(command, "accounts", ())
        ):
            for (
                command
            ) in commands:  # what is entered there is remembered until the batch's end, or not at all
                self.twins.apply(command)
        else:
            self.twins.apply(*commands)

    @rule()
    def repeat(self) -> None:
        forgotten = self.twins.forgotten_accounts_of(getattr(self.last, "id", ""))
        if not forgotten or forgotten == getattr(
            self.last, "accounts", ()
        ):  # else Lua cannot tell whose hold it was
            self.twins.apply(self.last)

    @rule(hold_id=_ids, amounts=st.one_of(_small, _amounts), keep_ms=_keeps)
    def settle(self, hold_id, amounts, keep_ms) -> None:
        """The common case: a commit by the one who reserved."""
        if accounts := self.owned(hold_id):
            self.last = Commit(hold_id, accounts, amounts, keep_ms)
            self.twins.apply(self.last)

    @rule(hold_id=_ids, actuals=st.lists(_some, max_size=4), keep_ms=_keeps)
    def settle_what_is_held(self, hold_id, actuals, keep_ms) -> None:
        """With an amount for each meter that was reserved, or for the first of them; without any a release."""
        hold = self.twins.ledger._holds.get(hold_id)
        if hold is not None and hold.request is not None:
            accounts, meters = hold.request.accounts, hold.request.amounts
            commit = Commit(hold_id, accounts, dict(zip(meters, actuals, strict=False)), keep_ms)
            self.twins.apply(commit if actuals else Release(hold_id, accounts, keep_ms))

    @rule(hold_id=_ids)
    def presume(self, hold_id) -> None:
        if accounts := self.owned(hold_id):
            self.twins.apply(Expire(hold_id, accounts))

    @rule(ms=st.sampled_from([1, 49, 50, 100, 700, 800, 1000, 5000, 10_000, 300_000, 24 * _HOUR, 73 * _HOUR]))
    def wait(self, ms) -> None:
        self.twins.now_ms += ms
        self.twins.check()

    @rule(which=st.integers(0, 30), by=st.sampled_from([-1, 0, 0, 0, 1]))
    def wait_for_a_moment(self, which, by) -> None:
        """To where something begins, ends, falls due or is forgotten, or a moment beside it."""
        moments = [self.start_ms + ms for _, *window, _, _ in _ACCOUNTS for ms in window if ms]
        moments = sorted(ms for ms in {*moments, *self.twins.moments()} if ms > self.twins.now_ms)
        if moments:
            self.twins.now_ms = max(self.twins.now_ms, moments[which % len(moments)] + by)
            self.twins.check()

    @rule(
        amount=st.sampled_from([MAX_AMOUNT, MAX_AMOUNT - 1, MAX_AMOUNT // 2, 3]),
        commits=st.booleans(),
        apart=st.booleans(),
    )
    def turn_over(self, amount, commits, apart) -> None:
        """What years do to an account: sums that grow past what fits."""
        accounts = (self.account(_HUGE, 0),)
        end = Commit("turn", accounts, {"cost": 0}) if commits else Release("turn", accounts)
        begin = Reserve("turn", accounts, {"cost": amount, "tokens": 1}, 1000)
        if apart:  # the script goes another way where a batch names a hold once
            self.twins.apply(begin)
            self.twins.apply(end)
        else:
            self.twins.apply(begin, end)

    @rule(ms=st.sampled_from([1, 50, 1000, 5000]))
    def step_back(self, ms) -> None:
        """The server's clock was set; what was forgotten by then does not come back to mind."""
        earliest = max(self.start_ms - _AHEAD_MS // 2, self.twins.forgotten_ms())
        self.twins.now_ms = max(self.twins.now_ms - ms, min(self.twins.now_ms, earliest))
        self.twins.check()

    @rule()
    def collect(self) -> None:
        self.twins.collect()

    def owned(self, hold_id) -> tuple[Account, ...]:
        """The accounts that who reserved would name."""
        return self.twins.forgotten_accounts_of(hold_id) or self.reserved.get(hold_id, ())

    def command(self, blueprint) -> Command:
        verb, hold_id, own, places, variant, fresh, rest = blueprint
        accounts = self.accounts(places, variant, fresh=fresh)
        if own and verb != "reserve":
            accounts = self.owned(hold_id) or accounts  # mostly it is the one who reserved who comes back
        accounts = self.twins.forgotten_accounts_of(hold_id) or accounts
        match verb:
            case "reserve":
                self.reserved[hold_id] = accounts
                return Reserve(hold_id, accounts, *rest)
            case "extend":
                return Extend(hold_id, *rest)
            case "read":
                return Read(accounts)
        kinds = {"commit": Commit, "release": Release, "expire": Expire, "forgive": Forgive}
        return kinds[verb](hold_id, accounts, *rest)

    def accounts(self, places, variant, *, fresh) -> tuple[Account, ...]:
        """The same object for the same accounts, as a runtime has it; now and then an equal one, or another policy."""
        places = tuple(dict.fromkeys(self.focus[place % len(self.focus)] for place in places))
        known = self.tuples.get((places, variant))
        if known is None or fresh:
            known = tuple(self.account(place, variant) for place in places)
            self.tuples[places, variant] = known
        return known

    def account(self, place, variant) -> Account:
        key, start, end, keep_ms, limits = _ACCOUNTS[place]
        if variant == 1:  # a policy with other limits
            limits = tuple((meter, limit // 2) for meter, limit in limits)
        elif variant == 2:  # with fewer meters
            limits = limits[:1]
        elif variant == 3:  # with more meters and another keeping time
            limits, keep_ms = (*limits, ("output_tokens", 7)), keep_ms * 2
        watch = ()
        if variant == 4:  # the same, watched
            watch = tuple((meter, (limit + 1) // 2) for meter, limit in limits[:2])
        windows = (self.start_ms + start, self.start_ms + end) if end else (0, 0)
        return Account(key, limits, *windows, keep_ms, watch, f'{{"budget":"{key}"}}')
