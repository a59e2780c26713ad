"""A scope: a node of the context tree, with its labels, its own limits and the accounts it pays."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from costscope.errors import InvalidInput, InvalidLabel
from costscope.estimate import estimate_of
from costscope.ledger import MAX_AMOUNT, Read, new_id
from costscope.policy import check_labels, inline_account
from costscope.scope.balance import AccountBalance, balances_of, currency
from costscope.scope.context import ambient_scope, set_ambient_scope
from costscope.scope.preview import Preview, preview
from costscope.scope.report import ScopeReport
from costscope.scope.tally import Tally
from costscope.telemetry import ScopeTotals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Unpack

    from costscope.estimate import Described
    from costscope.ledger import Account, Balance, Reply
    from costscope.runtime.runtime import Runtime

__all__ = ["ACCOUNTS_MAX", "CHILDREN_SHOWN", "Scope", "View", "innermost"]

ACCOUNTS_MAX: Final = 16
"""Accounts one reservation may touch: the cost of a step grows with each, and 16 levels are a mistake."""

CHILDREN_SHOWN: Final = 256
"""Nested scopes a scope remembers for its report; later ones are only counted."""


class View:
    """What this process last saw of one account. Shared by all scopes that pay it."""

    __slots__ = ("__weakref__", "balance")

    def __init__(self) -> None:
        self.balance: Balance = ()


class Views:
    """The views of one runtime, as long as some scope looks at them."""

    def __init__(self) -> None:
        self._views: WeakValueDictionary[str, View] = WeakValueDictionary()

    def of(self, accounts: tuple[Account, ...]) -> list[View]:
        """The view of each account."""
        return [self._views.setdefault(account.key, View()) for account in accounts]


class Scope:
    """An open scope; made by `budget_scope(...)`.

    Attributes:
        labels: every label in effect, the inherited ones included.
        parent: the scope of the same runtime this one is nested in, or None.
        outer: the scope around it in this context, of whatever runtime.
        closed: True once it was left; calls are then charged to the nearest scope that is still open.
    """

    __slots__ = (
        "__weakref__",
        "_accounts",
        "_from_ms",
        "_opened_s",
        "_until_ms",
        "_views",
        "children",
        "closed",
        "fail_open",
        "inline",
        "labels",
        "more_children",
        "outer",
        "parent",
        "runtime",
        "tallies",
        "tally",
        "totals",
    )

    def __init__(
        self,
        runtime: Runtime,
        labels: Mapping[str, object],
        limits: Mapping[str, int],
        *,
        outer: Scope | None,
    ) -> None:
        own = check_labels(labels)
        self.runtime = runtime
        self.outer = outer
        self.parent = parent = _open_scope_of(runtime, self.outer)
        self.labels = _inherit(parent, own)
        self.closed = False
        self.totals = ScopeTotals()
        self.inline = self._inline_accounts(own, limits)
        self.tally = None if "cost" in limits else Tally()
        above = parent.tallies if parent is not None else ()
        self.tallies: tuple[Tally, ...] = above if self.tally is None else (*above, self.tally)
        """Of this scope and those around it: what a call must tell besides the ledger."""
        self._accounts: tuple[Account, ...] = ()
        self._views: list[View] = []
        self._from_ms = self._until_ms = 0
        self.fail_open = False
        self._opened_s = monotonic()
        self.children: list[Scope] = []
        self.more_children = 0
        if parent is not None:
            if len(parent.children) < CHILDREN_SHOWN:
                parent.children.append(self)
            else:
                parent.more_children += 1

    # ---------------------------------------------------------------- what it pays

    def accounts(self, now_ms: int) -> tuple[Account, ...]:
        """The accounts a call at this instant must pay: own limits, innermost first, then the policy's.

        Raises:
            InvalidInput: more than 16.
        """
        if not self._from_ms <= now_ms < self._until_ms:
            covered = self.runtime.coverage.accounts(self.labels, now_ms)
            accounts = (*self.inline, *covered.accounts)
            if len(accounts) > ACCOUNTS_MAX:
                names = ", ".join(account.key for account in accounts)
                msg = f"{len(accounts)} budgets cover this scope, at most {ACCOUNTS_MAX} may: {names}; merge some of them"
                raise InvalidInput(msg)
            self._views = self.runtime.views.of(accounts) if self.runtime.store.waits else []
            self.fail_open = covered.fail_open and not self.inline
            self._accounts = accounts
            self._from_ms, self._until_ms = covered.from_ms, covered.until_ms
        return self._accounts

    def seen(self, accounts: tuple[Account, ...], reply: Reply) -> None:
        """Remember the balances of a reply to a command on `accounts`."""
        if reply.balances and accounts is self._accounts:
            for view, balance in zip(self._views, reply.balances, strict=False):
                view.balance = balance

    def balances(self) -> list[AccountBalance]:
        """Every account and meter that limits this scope, as last seen: own limits first, no I/O."""
        accounts = self.accounts(self.runtime.now_ms())
        if self.runtime.store.waits:
            return balances_of(accounts, [view.balance for view in self._views])
        return balances_of(accounts, self._read(accounts))

    def _read(self, accounts: tuple[Account, ...]) -> tuple[Balance, ...]:
        return self.runtime.store.execute((Read(accounts),))[0].balances

    def refresh(self) -> list[AccountBalance]:
        """Ask the store; then as `balances`."""
        accounts = self.accounts(self.runtime.now_ms())
        self.seen(accounts, self.runtime.store.execute((Read(accounts),))[0])
        return self.balances()

    async def arefresh(self) -> list[AccountBalance]:
        """`refresh` for an event loop."""
        accounts = self.accounts(self.runtime.now_ms())
        self.seen(accounts, (await self.runtime.store.aexecute((Read(accounts),)))[0])
        return self.balances()

    def preview(self, **call: Unpack[Described]) -> Preview:
        """What a call would do now: allowed or refused, by which account, and how many would fit.

        Reserves nothing; asks the store.

        Args:
            call: `model=` or `tool=` and the rest of what `costscope.reserve` takes.
        """
        estimate, _ = estimate_of(self.runtime.prices, call)
        return preview(estimate, self.refresh())

    async def apreview(self, **call: Unpack[Described]) -> Preview:
        """`preview` for an event loop."""
        estimate, _ = estimate_of(self.runtime.prices, call)
        return preview(estimate, await self.arefresh())

    @property
    def spent(self) -> Decimal:
        """Cost so far, in units of the currency, as last seen; no I/O.

        Of the scope's own account if it has a `max_cost` (shared with every process of the same run), else of
        this process's calls in it.
        """
        return currency(self._own_cost()[0])

    @property
    def held(self) -> Decimal:
        """Cost reserved by calls in flight, in units of the currency, counted like `spent`."""
        return currency(self._own_cost()[1])

    @property
    def remaining(self) -> Decimal | None:
        """The least that any budget over this scope has left for `cost`; None where none limits it."""
        left = [row.remaining for row in self.balances() if row.meter == "cost"]
        return currency(min(left)) if left else None

    def _own_cost(self) -> tuple[int, int]:
        if self.tally is not None:
            return self.tally.spent, self.tally.held
        own = next(row for row in self.balances() if row.meter == "cost")
        return own.spent, own.held

    def report(self) -> ScopeReport:
        """The tree of this scope and those nested in it, with every account; `str()` draws it. No I/O."""
        return ScopeReport(
            labels=dict(self.labels),
            own={
                name: value
                for name, value in self.labels.items()
                if self.parent is None or name not in self.parent.labels
            },
            spent=self.spent,
            held=self.held,
            closed=self.closed,
            accounts=tuple(self.balances()),
            children=tuple(child.report() for child in self.children),
            more_children=self.more_children,
        )

    # --------------------------------------------------------------- enter and exit

    def enter(self) -> Scope:
        """Make this the ambient scope of the current context."""
        set_ambient_scope(self)
        return self

    def close(self) -> None:
        """Leave the scope, from whatever context: record its metrics, restore the scope around it."""
        if self.closed:
            return
        self.closed = True
        if ambient_scope() is self:
            set_ambient_scope(self.outer)
        runtime = self.runtime
        parent = self.parent
        runtime.telemetry.record(
            self.labels,
            self.totals,
            parent=parent.totals if parent is not None else None,
            duration_seconds=monotonic() - self._opened_s,
        )
        if parent is None:
            runtime.telemetry.flush_soon()

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self.labels.items())
        return f"<Scope {labels}{' closed' if self.closed else ''}>"

    def _inline_accounts(self, own: Mapping[str, str], limits: Mapping[str, int]) -> tuple[Account, ...]:
        above = self.parent.inline if self.parent is not None else ()
        if not limits:
            return above
        assert all(0 <= limit <= MAX_AMOUNT for limit in limits.values()), (
            "limits are checked where they are given"
        )
        added = self.parent is None or any(name not in self.parent.labels for name in own)
        shared = added and "run" in self.labels
        return (
            inline_account(self.labels, limits, shared=shared, unique=None if shared else new_id()),
            *above,
        )


def innermost(runtime: Runtime) -> Scope | None:
    """The innermost open scope of this runtime in the current context."""
    return _open_scope_of(runtime, ambient_scope())


def _open_scope_of(runtime: Runtime, scope: Scope | None) -> Scope | None:
    while scope is not None and (scope.closed or scope.runtime is not runtime):
        scope = scope.outer
    return scope


def _inherit(parent: Scope | None, own: dict[str, str]) -> dict[str, str]:
    if parent is None:
        return own
    for name, value in own.items():
        inherited = parent.labels.get(name, value)
        if inherited != value:
            msg = f"label {name}={value!r}: the enclosing scope has {name}={inherited!r}, and a child may not change what it inherited; use another label name, or open the scope outside"
            raise InvalidLabel(msg)
    return {**parent.labels, **own}
