"""The public names, each with the members that a page of the documentation lists for it.

A name or member is here because README.md, docs/ or examples/ speak of it, or because it is a type that a store of a
third party must take or give. What is not here may go.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import describe

ERRORS = [
    "AmountOverflow",
    "BudgetExceeded",
    "CallDenied",
    "CallUnknown",
    "CallUnscoped",
    "CostscopeError",
    "CostscopeWarning",
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
    "RunHalted",
    "RunUnknown",
    "StoreError",
    "StoreMisconfigured",
    "StoreUnavailable",
    "StoreWarning",
    "UsageWarning",
]

NAMES = {
    "costscope": [
        "AccountBalance",
        "BudgetScope",
        "CallsSummary",
        "Guard",
        "Preview",
        "Reservation",
        "Return",
        "Runtime",
        "Scope",
        "ScopeReport",
        "ScopeSummary",
        "ScopedExecutor",
        "Usage",
        "Wait",
        "__version__",
        "bind_scope",
        "budget_scope",
        "configure",
        "get_runtime",
        "metered_model",
        "metered_tool",
        "reserve",
        "set_runtime",
        "testing",
    ],
    "costscope.guard": [
        "AdmissionDecision",
        "Decision",
        "DecisionWarning",
        "Guard",
        "IterationDecision",
        "ModelDecision",
        "ModelRequest",
        "RunSummary",
        "SettledDecision",
        "ToolDecision",
        "ToolRequest",
    ],
    "costscope.events": [
        "AccountReset",
        "CallDegraded",
        "CallRefused",
        "CallSettled",
        "Downgraded",
        "PolicyReloaded",
        "RunEnded",
        "RunStarted",
        "RunawayDetected",
        "ThresholdCrossed",
        "decode_event",
        "encode_event",
    ],
    "costscope.prices": ["PriceSource", "Quote"],
    "costscope.webhooks": ["WrongSignature", "new_secret", "sign", "verify"],
    "costscope.policy": ["Policy"],
    "costscope.stores": ["LostListeners", "Store"],
    "costscope.board": [
        "Ack",
        "AckDeliveries",
        "Board",
        "CallCounts",
        "Delivery",
        "First",
        "Forget",
        "LeaseDeliveries",
        "Note",
        "Noted",
        "Pace",
        "Publish",
        "Published",
        "ReadEvents",
        "Recent",
        "RecordCall",
        "SetOnce",
        "Take",
    ],
    "costscope.ledger": [
        "Account",
        "AuditReport",
        "Commit",
        "Counters",
        "Denial",
        "Difference",
        "Expire",
        "Extend",
        "Forgive",
        "Ledger",
        "LostHold",
        "Outcome",
        "Read",
        "Release",
        "Reply",
        "Reserve",
        "Snapshot",
        "SnapshotAccount",
        "SnapshotHold",
        "audit",
    ],
    "costscope.testing": ["ManualClock", "OutageStore", "Session", "runtime"],
    "costscope.testing.conformance": ["Execute", "StoreConformance"],
    "costscope_memory": ["MemoryStore"],
    "costscope_valkey.embedded": ["stop_server"],
}

DECLARED = {
    "costscope.prices.PriceSource": ["currency", "find"],
    "costscope.prices.Quote": ["price", "until"],
    "costscope.stores.Store": [
        "aclose",
        "aexecute",
        "atell",
        "audit",
        "close",
        "execute",
        "keep_ms",
        "on_lost",
        "snapshot",
        "tell",
        "url",
        "waits",
    ],
    "costscope.stores.LostListeners": ["add", "tell"],
    "costscope.board.Board": ["apply"],
    "costscope.ledger.Ledger": ["execute", "snapshot", "sweep"],
    "costscope.testing.conformance.StoreConformance": ["advance", "execute", "store"],
}
"""Members of what is derived from or built with, not given by a runtime."""

_NOT_MADE = {
    *(
        f"costscope.{name}"
        for name in (
            "AccountBalance",
            "BudgetScope",
            "CallsSummary",
            "Preview",
            "Reservation",
            "Scope",
            "ScopeReport",
            "ScopeSummary",
        )
    ),
    *(
        f"costscope.guard.{name}"
        for name in NAMES["costscope.guard"]
        if name not in {"Guard", "ModelRequest", "ToolRequest"}
    ),
    "costscope.policy.Policy",
    "costscope.testing.Session",
    "costscope.testing.conformance.StoreConformance",
}
"""Given to users and never made by them: how they are made is not said."""

_NOT_DESCRIBED = {"costscope.testing", "costscope.testing.conformance.Execute", "costscope.__version__"}
"""A module, a type and a text that changes: that they are there is all there is to say."""


def names() -> dict[str, Any]:
    """Each public name under its module."""
    found = {}
    for module_name, listed in NAMES.items():
        try:
            module = import_module(module_name)
        except ImportError:
            module = None
        for name in listed:
            place = f"{module_name}.{name}"
            if not hasattr(module, name):
                found[place] = describe.MISSING
            elif place in _NOT_DESCRIBED:
                found[place] = "is there"
            else:
                found[place] = describe.thing(getattr(module, name))
            if place in _NOT_MADE and isinstance(found[place], dict):
                found[place].pop("parameters", None)
                found[place].pop("fields", None)
    if isinstance(found["costscope.ScopedExecutor"], dict):  # Python 3.14 takes more than 3.13 does
        found["costscope.ScopedExecutor"]["parameters"].pop("ctxkwargs", None)
    return found


def declared() -> dict[str, Any]:
    """The members in `DECLARED`."""
    found = {}
    for place, members in DECLARED.items():
        module, _, name = place.rpartition(".")
        owner = getattr(import_module(module), name, None)
        found[place] = {one: describe.declared(owner, one) if owner else describe.MISSING for one in members}
    return found


def errors() -> dict[str, Any]:
    """The tree of exceptions: what each is caught by, and its kind."""
    import costscope

    found = {}
    for name in ERRORS:
        error = getattr(costscope, name, None)
        if error is None:
            found[name] = describe.MISSING
            continue
        above = [base.__name__ for base in error.__mro__[1:] if base not in {object, BaseException}]
        found[name] = {"caught by": dict.fromkeys(above, "yes")}
        if isinstance(getattr(error, "kind", None), str):
            found[name]["kind"] = error.kind
    return found
