"""Setting accounts of a scope back to nothing spent, with a reason that stays on record."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from costscope.errors import InvalidInput
from costscope.ledger import HALTS, MAX_AMOUNT, METERS, Account, Forgive, Outcome, Read, new_id
from costscope.observe.events.records import AccountReset
from costscope.policy.resolve.accounts import SLOTS_SUFFIX, account_info_of
from costscope.stores.coordination.operations import Forget
from costscope.stores.effects import Ask, Execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Balance
    from costscope.stores.effects import Steps


def reset(scope: ScopeState, reason: str, budget: str | None) -> Steps[list[AccountReset]]:
    """Take back what accounts over a scope have spent, orders to stop included; what is held stays held.

    Thresholds may fire again, wall clocks begin anew, and a run that was halted goes on in this process.

    Args:
        scope: any.
        reason: why, for the record.
        budget: id of the budget whose account is meant; None: the scope's own limits and those of the run it opened.

    Raises:
        InvalidInput: no reason is given, or there is no such account over the scope.
    """
    if not reason.strip():
        msg = f"reset(reason={reason!r}): say why; the reason is all that is left of what is taken back"
        raise InvalidInput(msg)
    accounts = tuple(_own(scope) if budget is None else _of_budget(scope, budget))
    if not accounts:
        what = "the scope has no limits of its own" if budget is None else "no such budget covers this scope"
        msg = f"reset(budget={budget!r}): {what}; name one that `scope.balances()` shows"
        raise InvalidInput(msg)
    records: list[AccountReset] = []
    for name, group in groupby(accounts, key=_budget_of):
        forgiven: dict[str, int] = {}
        for account in group:
            forgiven |= yield from _forgiven(scope, account)
        record = AccountReset(
            **scope.services.stamp(scope.labels), budget=name, reason=reason, forgiven=forgiven
        )
        scope.emit(record)
        records.append(record)
    if budget is None:
        if scope.tally is not None:
            scope.tally.spent = 0
        if scope.opens_run and scope.run is not None:
            scope.run.begin_anew()
    return records


def _own(scope: ScopeState) -> Iterator[Account]:
    if scope.inline and (scope.parent is None or scope.inline is not scope.parent.inline):
        yield scope.inline[0]
    run = scope.run
    if scope.opens_run and run is not None and run.account is not None and run.account not in scope.inline:
        yield run.account


def _of_budget(scope: ScopeState, budget: str) -> Iterator[Account]:
    resolved = scope.resolve_budgets(scope.services.now_ms())
    seen: set[str] = set()
    for account in (*resolved.accounts, *resolved.admission):
        if _budget_of(account) == budget and account.key not in seen:
            seen.add(account.key)
            yield account


def _budget_of(account: Account) -> str:
    return account_info_of(account.about).budget.removesuffix(SLOTS_SUFFIX)


def _forgiven(scope: ScopeState, account: Account) -> Steps[dict[str, int]]:
    services = scope.services
    whole = _with_every_meter(account)
    forgive = Forgive(
        new_id(services.now_ms()), (whole,), dict.fromkeys(METERS, MAX_AMOUNT), services.store.keep_ms
    )
    (before,) = yield Execute((Read((whole,)),))
    done, after = yield Execute((forgive, Read((whole,))))
    assert done.outcome is Outcome.FORGIVEN, "a new id is entered"
    yield Ask((Forget(account.key),))
    services.views.forget(account.key)
    return dict(_fallen(whole, before.balances[0], after.balances[0]))


def _with_every_meter(account: Account) -> Account:
    """Return the account with all that its budget counts there: the admission of runs knows other meters than calls do."""
    limits = dict(account.limits)
    others = (
        (meter, limit)
        for meter, limit in account_info_of(account.about).limits.items()
        if meter not in limits
    )
    return Account(
        account.key,
        (*account.limits, *others),
        account.start_ms,
        account.end_ms,
        account.keep_ms,
        about=account.about,
    )


def _fallen(account: Account, before: Balance, after: Balance) -> Iterator[tuple[str, int]]:
    for at, (meter, _) in enumerate(account.limits):
        fallen = (before[2 * at] if before else 0) - (after[2 * at] if after else 0)
        if fallen and meter != HALTS:
            yield meter, fallen
