"""costscope: a hard ceiling on what AI agents spend.

Nested budget scopes over an atomic two-phase ledger, in memory or on Valkey. Start with `budget_scope`,
`metered_model` and `metered_tool`; `configure` says where the books are and which policy holds.
"""

from typing import get_type_hints

from costscope.errors import (
    AmountOverflow,
    BudgetExceeded,
    CallDenied,
    CallUnknown,
    CallUnscoped,
    CostscopeError,
    CostscopeWarning,
    GuardError,
    HoldClosed,
    HoldMismatch,
    HookRepeated,
    InvalidAmount,
    InvalidInput,
    InvalidLabel,
    InvalidPolicy,
    InvalidUsage,
    LayoutMismatch,
    LedgerError,
    ModelUnpriced,
    NotBilled,
    OutboxFull,
    RunHalted,
    RunUnknown,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    StoreWarning,
    UsageWarning,
)
from costscope.guard import Guard
from costscope.metered.decorators import metered_model, metered_tool
from costscope.metered.options import Return, Wait
from costscope.metered.reservation import Reservation
from costscope.metered.reservation import reserve_call as reserve
from costscope.pricing.usage.usage_fields import Usage
from costscope.scope.balances import AccountBalance, Preview
from costscope.scope.budget_scope import BudgetScope, budget_scope
from costscope.scope.default_runtime import configure, get_runtime, set_runtime
from costscope.scope.runtime import Runtime
from costscope.scope.scope import Scope
from costscope.scope.summary import CallsSummary, ScopeReport, ScopeSummary
from costscope.scope.threads import ScopedExecutor, bind_scope

__version__ = "0.1.0"

__all__ = [
    "AccountBalance",
    "AmountOverflow",
    "BudgetExceeded",
    "BudgetScope",
    "CallDenied",
    "CallUnknown",
    "CallUnscoped",
    "CallsSummary",
    "CostscopeError",
    "CostscopeWarning",
    "Guard",
    "GuardError",
    "HoldClosed",
    "HoldMismatch",
    "HookRepeated",
    "InvalidAmount",
    "InvalidInput",
    "InvalidLabel",
    "InvalidPolicy",
    "InvalidUsage",
    "LayoutMismatch",
    "LedgerError",
    "ModelUnpriced",
    "NotBilled",
    "OutboxFull",
    "Preview",
    "Reservation",
    "Return",
    "RunHalted",
    "RunUnknown",
    "Runtime",
    "Scope",
    "ScopeReport",
    "ScopeSummary",
    "ScopedExecutor",
    "StoreError",
    "StoreMisconfigured",
    "StoreUnavailable",
    "StoreWarning",
    "Usage",
    "UsageWarning",
    "Wait",
    "bind_scope",
    "budget_scope",
    "configure",
    "get_runtime",
    "metered_model",
    "metered_tool",
    "reserve",
    "set_runtime",
]

for _name in __all__:  # tracebacks, pickles and `help` name the place that users import from
    _public = globals()[_name]
    if _own := vars(_public).get(
        "__annotations__"
    ):  # resolved while the class still names the module that wrote them
        _types = get_type_hints(_public, include_extras=True)
        _own.update((field, _types[field]) for field in tuple(_own))
    _public.__module__ = __name__
    _public.__name__ = _public.__qualname__ = _name
