"""The same work through decorators and through the guard leaves the same books, and tells the same."""

from __future__ import annotations

import uuid

import pytest

from costscope import (
    BudgetExceeded,
    Guard,
    NotBilled,
    Runtime,
    Usage,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.scope.runtime import services_of

POLICY = {
    "prices": {
        "models": {"big": {"input": "10", "output": "20"}, "small": {"input": "1", "output": "2"}},
        "tools": {"search": "0.01"},
    },
    "budgets": [
        {
            "id": "tenant",
            "per": ["tenant"],
            "limits": {"cost": "1", "tokens": 10**6},
            "thresholds": [{"at": 50, "actions": ["log", "downgrade_model"]}],
            "constraints": {"iterations": 3, "tool_calls": 5},
        },
        {"id": "slots", "limits": {"concurrent_runs": 3, "runs": 10, "concurrent_calls": 5}},
        {"id": "soft", "enforcement": "soft", "limits": {"cost": "0.30"}},
    ],
    "routing": [
        {"id": "planning", "stages": [{"stage": "planning", "model": "small", "max_tokens": 200}]},
        {"id": "rest", "stages": [{"fallbacks": ["small"]}]},
    ],
}
PROMPT = [{"role": "user", "content": "Plan the trip."}]
STEPS = [
    # kind, what is asked for, how it ends
    ("model", {"model": "big", "max_tokens": 100}, Usage(20, 50)),
    ("model", {"model": "big", "max_tokens": 900, "stage": "planning"}, Usage(20, 150)),
    ("model", {"model": "big"}, None),
    ("model", {"model": "big", "max_tokens": 50}, NotBilled()),
    ("model", {"model": "big", "max_tokens": 50}, TimeoutError()),
    ("turn", {}, None),
    ("tool", {"query": "trains"}, None),
    ("tool", {"query": "dear", "price": "0.45"}, None),
    ("tool", {"query": "never", "price": "5"}, None),
    ("turn", {}, None),
    ("model", {"model": "big", "max_tokens": 100}, Usage(10, 10)),
    ("tool", {"query": "broken"}, TimeoutError()),
]


def decorated(runtime) -> list[str]:
    """The steps as decorated functions in a scope."""
    went = []

    def model(ending, given):
        stage = given.pop("stage", None)

        @metered_model(runtime=runtime, stage=stage)
        def before_model_call(**request):
            went.append(f"{request['model']} {request['max_tokens']}")
            if isinstance(ending, Exception):
                raise ending
            return ending

        before_model_call(**given, messages=PROMPT)

    def tool(ending, given):
        @metered_tool("search", runtime=runtime, price=given.pop("price", None))
        def before_tool_call(**_):
            went.append("search")
            if isinstance(ending, Exception):
                raise ending

        before_tool_call(**given)

    with budget_scope(runtime=runtime, tenant="acme", run="r-1", max_cost="2") as run:
        for kind, given, ending in STEPS:
            try:
                if kind == "turn":
                    with run.iteration():
                        pass
                else:
                    {"model": model, "tool": tool}[kind](ending, dict(given))
            except BudgetExceeded as refusal:
                went.append(refusal.kind)
            except (NotBilled, TimeoutError):
                pass
    return went


def guarded(runtime) -> list[str]:
    """The steps as hooks."""
    went, guard = [], Guard(runtime)
    assert guard.on_run_start("r-1", tenant="acme", max_cost="2").allowed
    for kind, given, ending in STEPS:
        failed = {"error": ending} if isinstance(ending, Exception) else {}
        if kind == "turn":
            guard.before_iteration("r-1")
            guard.after_iteration("r-1")
        elif kind == "model":
            decision = guard.before_model_call("r-1", messages=PROMPT, **given)
            went.append(f"{decision.effective_model} {decision.max_tokens}")
            guard.after_model_call("r-1", None if failed else ending, **failed)
        else:
            more = {"price": given["price"]} if "price" in given else {}
            decision = guard.before_tool_call("r-1", "search", arguments={"query": given["query"]}, **more)
            went.append("search" if decision.allowed else decision.kind)
            if decision.allowed:
                guard.after_tool_call("r-1", **failed)
    guard.on_run_end("r-1")
    return went


@pytest.fixture
def compared(store_kind, request):
    """Two runtimes whose books are apart."""
    urls = ["memory://"] * 2
    if store_kind == "valkey":
        server, _, rest = request.getfixturevalue("patient_url").partition("ledger=")
        rest = rest.partition("&")[2]
        urls = [f"{server}ledger=t-{uuid.uuid4().hex[:16]}&{rest}" for _ in range(2)]
    runtimes = [Runtime(store=url, policy=POLICY) for url in urls]
    yield runtimes
    for runtime in runtimes:
        runtime.close()


def books_of(runtime):
    assert services_of(runtime).outbox.drain(30)
    snapshot = runtime.store.snapshot()
    assert snapshot.holds == ()
    assert runtime.audit().exact
    return {account.key: account.meters for account in snapshot.accounts}


def told_by(runtime) -> list[str]:
    """What everybody is told, but for ids and times."""
    told = []

    def note(event):
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        apart = {"id", "at", "seconds", "labels"}
        told.append((type(event).__name__, {k: v for k, v in fields.items() if k not in apart}))

    for kind in ("threshold", "denied", "degraded", "downgrade", "settled", "run_started", "run_ended"):
        runtime.events.on(kind, note)
    return told


def test_the_books_are_the_same_to_the_last_unit(compared):
    by_decorators, by_hooks = compared
    told = [told_by(runtime) for runtime in compared]
    assert decorated(by_decorators) == guarded(by_hooks)
    books = books_of(by_hooks)
    assert books == books_of(by_decorators)
    assert len(books) >= 5, "tenant, slots twice, soft, the run, the scope's own limit"
    assert sum(meters["cost"].spent for key, meters in books.items() if key.startswith("tenant/")) > 0
    assert told[0] == told[1]
    assert {name for name, _ in told[0]} >= {"ThresholdCrossed", "Downgraded", "CallRefused", "CallDegraded"}
