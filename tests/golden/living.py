"""Objects that a user holds, taken from a runtime at work, with the members that the pages list; and what is recorded.

One small story in which nearly everything happens once. Members are looked up on the objects themselves, so it makes
no difference whether one is a field, a property or an attribute.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from typing import Any

import describe
from opentelemetry import metrics
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import costscope
from costscope import Guard, Return, Wait, budget_scope, metered_model, metered_tool, reserve, testing

DECISION = [
    "action",
    "allowed",
    "budget",
    "error",
    "kind",
    "meter",
    "raise_if_denied",
    "reason",
    "remaining",
    "remaining_cost",
    "resets_at",
    "retry_after",
    "run_id",
    "utilisation",
    "warnings",
]
CALL = ["call_id", "held", "instead"]

MEMBERS = {
    "BudgetScope": [],
    "Scope": [
        "ahalt",
        "apreview",
        "arefresh",
        "areset",
        "balances",
        "closed",
        "halt",
        "held",
        "iteration",
        "iterations",
        "labels",
        "limit",
        "parent",
        "preview",
        "refresh",
        "remaining",
        "report",
        "reset",
        "spent",
        "summary",
    ],
    "Reservation": ["commit", "degraded", "held", "id", "max_tokens", "model", "release"],
    "AccountBalance": [
        "budget",
        "enforced",
        "held",
        "key",
        "labels",
        "limit",
        "meter",
        "period",
        "remaining",
        "resets_at",
        "spent",
        "utilisation",
    ],
    "ScopeReport": ["accounts", "children", "closed", "held", "labels", "more_children", "own", "spent"],
    "ScopeSummary": [
        "burn_rate",
        "by_label",
        "by_model",
        "by_tool",
        "calls",
        "denials",
        "downgrades",
        "held",
        "iterations",
        "labels",
        "limit",
        "remaining",
        "run",
        "saved",
        "seconds",
        "spent",
        "status",
        "tokens",
    ],
    "CallsSummary": ["calls", "cost", "errors", "tokens"],
    "Preview": ["allowed", "degraded", "fits", "kind", "max_output_tokens", "requested", "tightest"],
    "Runtime": ["aclose", "audit", "close", "current_scope", "events", "now", "policy", "store"],
    "Runtime.events": ["adrain", "drain", "on"],
    "Runtime.audit()": ["accounts", "differences", "exact", "holds", "now_ms"],
    "Guard": [
        "aafter_iteration",
        "aafter_model_call",
        "aafter_tool_call",
        "abefore_iteration",
        "abefore_model_call",
        "abefore_tool_call",
        "aclose",
        "after_iteration",
        "after_model_call",
        "after_tool_call",
        "aon_run_end",
        "aon_run_start",
        "before_iteration",
        "before_model_call",
        "before_tool_call",
        "close",
        "on_run_end",
        "on_run_start",
        "runs",
        "scope",
    ],
    "AdmissionDecision": DECISION,
    "IterationDecision": [*DECISION, "iteration", "remaining_iterations"],
    "ModelDecision": [
        *DECISION,
        *CALL,
        "effective_model",
        "max_tokens",
        "model",
        "request",
        "saved",
        "was_downgraded",
    ],
    "ToolDecision": [*DECISION, *CALL, "remaining_tool_calls", "tool"],
    "SettledDecision": [*DECISION, "call_id", "charged", "cost"],
    "RunSummary": [*DECISION, "cost", "metadata", "status", "summary", "unsettled"],
    "DecisionWarning": ["budget", "kind", "message", "meter", "threshold"],
    "testing.Session": ["clock", "open_holds", "runtime", "settle", "store"],
    "testing.ManualClock": ["advance", "now", "set"],
    "testing.OutageStore": ["away", "is_away"],
    "BudgetExceeded": [
        "budget",
        "held",
        "kind",
        "labels",
        "limit",
        "meter",
        "requested",
        "resets_at",
        "retry_after",
        "spent",
    ],
    "RunHalted": ["kind", "reason", "run"],
    "ModelUnpriced": ["kind"],
    "CallUnscoped": ["kind"],
    "StoreUnavailable": ["kind"],
    "InvalidPolicy": ["file", "line", "path"],
}

POLICY = {
    "budgets": [
        {
            "id": "day",
            "per": ["tenant"],
            "period": "daily",
            "limits": {"cost": "100.00"},
            "thresholds": [{"at": 1, "actions": ["log", "callback", "downgrade_model"]}],
            "constraints": {"iterations": 2, "tool_calls": 40},
        },
        {"id": "soft", "limits": {"tool_calls": 2}, "enforcement": "soft"},
        {"id": "shadow", "limits": {"tool_calls": 2}, "enforcement": "shadow"},
    ],
    "routing": [{"id": "cheaper", "models": ["large"], "stages": [{"fallback": "small", "max_tokens": 900}]}],
    "runaway": {"repeats": 6},
    "prices": {"models": {"large": {"input": "2", "output": "2000"}, "small": {"input": "1", "output": "2"}}},
}


class _Instrument(metrics.Counter, metrics.UpDownCounter, metrics.Histogram):
    """Remembers the attributes of what is recorded."""

    def __init__(self, kind: str, unit: str) -> None:
        self.kind, self.unit, self.attributes = kind, unit, {}

    def add(self, amount, attributes=None, context=None) -> None:
        for name, value in (attributes or {}).items():
            self.attributes.setdefault(name, set()).add(str(value))

    record = add


class _Meter(metrics.NoOpMeter):
    def __init__(self) -> None:
        super().__init__("golden")
        self.instruments: dict[str, _Instrument] = {}

    def create_counter(self, name, unit="", description=""):
        return self.instruments.setdefault(name, _Instrument("counter", unit))

    def create_up_down_counter(self, name, unit="", description=""):
        return self.instruments.setdefault(name, _Instrument("up-down counter", unit))

    def create_histogram(self, name, unit="", description="", **_):
        return self.instruments.setdefault(name, _Instrument("histogram", unit))


class _Provider(metrics.MeterProvider):
    def __init__(self) -> None:
        self.meter = _Meter()

    def get_meter(self, name, version=None, schema_url=None, attributes=None):
        return self.meter


CLOSED_SETS = frozenset({"kind", "outcome", "reason", "status", "type", "what"})
"""Attributes whose values are words of costscope."""


class Story:
    """What was seen: objects by name, events by kind, instruments and spans."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._kinds: dict[str, set[str]] = {}
        self._callbacks: dict[str, set[str]] = {}
        self._metrics = _Provider()
        self._spans = InMemorySpanExporter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._tell()

    def members(self) -> dict[str, Any]:
        """The documented members of each object."""
        return {
            name: {one: describe.member(self.objects[name], one) for one in listed}
            if name in self.objects
            else describe.MISSING
            for name, listed in MEMBERS.items()
        }

    def kinds(self) -> dict[str, str]:
        """Which record came under which kind."""
        return {kind: " ".join(sorted(seen)) for kind, seen in self._kinds.items()}

    def callbacks(self) -> dict[str, str]:
        """Which record came to which callback."""
        return {name: " ".join(sorted(seen)) for name, seen in self._callbacks.items()}

    def metrics(self) -> dict[str, Any]:
        """Every instrument; of attributes the words that were seen."""
        return {
            name: {
                "kind": one.kind,
                "unit": one.unit,
                "attributes": {
                    attribute: " ".join(sorted(values)) if attribute in CLOSED_SETS else "seen"
                    for attribute, values in one.attributes.items()
                },
            }
            for name, one in self._metrics.meter.instruments.items()
        }

    def spans(self) -> dict[str, str]:
        """Every attribute of a span."""
        return {name: "seen" for span in self._spans.get_finished_spans() for name in span.attributes or {}}

    def _tell(self) -> None:
        tracer = TracerProvider()
        tracer.add_span_processor(SimpleSpanProcessor(self._spans))
        told = {
            name: self._callback(name)
            for name in ("on_threshold", "on_denied", "on_downgrade", "on_runaway", "on_settled")
        }
        with testing.runtime(
            POLICY, meter_provider=self._metrics, tracing=tracer, gen_ai_attributes=True, **told
        ) as session:
            self._keep("testing.Session", session)
            self._keep("testing.ManualClock", session.clock)
            self._keep("testing.OutageStore", session.store)
            self._keep("Runtime", session.runtime)
            self._keep("Runtime.events", session.runtime.events)
            for kind in EVENT_KINDS:
                session.runtime.events.on(kind, lambda record, kind=kind: self._heard(kind, record))
            self._calls(session)
            self._guard(session)
            self._lost(session)
            self._keep("Runtime.audit()", session.runtime.audit())
            session.runtime.events.drain()
        tracer.shutdown()
        try:
            costscope.Runtime(policy={"budgets": [{"id": "x", "limit": {}}]})
        except costscope.InvalidPolicy as error:
            self._keep("InvalidPolicy", error)

    def _keep(self, name: str, value: Any) -> None:
        self.objects[name] = value

    def _heard(self, kind: str, record: Any) -> None:
        self._kinds.setdefault(kind, set()).add(type(record).__name__)

    def _callback(self, name: str) -> Any:
        return lambda record: self._callbacks.setdefault(name, set()).add(type(record).__name__)

    def _refused(self, name: str, function: Any, *args: Any) -> None:
        try:
            function(*args)
        except costscope.CallDenied as error:
            self._keep(name, error)

    def _calls(self, session: Any) -> None:
        @metered_model
        def ask(prompt, model="large", max_tokens=1000):
            usage = {"prompt_tokens": 50, "completion_tokens": max_tokens}
            usage["prompt_tokens_details"] = {"cached_tokens": 10}
            usage["completion_tokens_details"] = {"reasoning_tokens": 5}
            return {"model": model, "usage": usage}

        @metered_tool("search", price="0.01")
        def search(words):
            return words

        @metered_tool("broken")
        def broken(number):
            raise ValueError(number)

        opener = budget_scope(tenant="acme", workflow="w", run="r-1", max_cost="50.00")
        self._keep("BudgetScope", opener)
        with opener as scope:
            self._keep("Scope", scope)
            ask("hello")
            ask("again")
            ask("and again", model="large", max_tokens=1000)
            for turn in scope.iterations():
                with budget_scope(agent=f"a{turn}"):
                    search(turn)
            self._refused("Iteration", lambda: scope.iteration().__enter__())
            for number in range(2):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with contextlib.suppress(ValueError):
                        broken(number)
            with reserve(tool="by hand", estimate="0.10") as hold:
                self._keep("Reservation", hold)
                hold.commit("0.20")
            with reserve(tool="given back", price="0.10") as hold:
                hold.release()
            self._keep("Preview", scope.preview(model="small", input_text="x", max_output_tokens=10))
            self._keep("AccountBalance", scope.balances()[0])
            self._keep("ScopeReport", scope.report())
            self._keep("ScopeSummary", scope.summary())
            self._keep("CallsSummary", scope.summary().by_tool["search"])
            dear = metered_tool("dear", price="60.00")(lambda: None)
            self._refused("BudgetExceeded", dear)
            self._refused("ModelUnpriced", ask, "x", "unknown-model", 10)
            with session.store.away():
                self._refused("StoreUnavailable", search, "away")
            scope.reset(reason="golden")
        with budget_scope(tenant="acme", workflow="w", run="r-2"):
            for _ in range(8):
                self._refused("RunHalted", search, "the same")
        with budget_scope(tenant="acme", workflow="w"):
            pass
        self._refused("CallUnscoped", search, "outside")

    def _guard(self, session: Any) -> None:
        guard = Guard(session.runtime)
        self._keep("Guard", guard)
        self._keep("AdmissionDecision", guard.on_run_start("g-1", tenant="acme", metadata={"ticket": 1}))
        self._keep("IterationDecision", guard.before_iteration("g-1"))
        decision = guard.before_model_call("g-1", "small", messages="hello", max_tokens=100)
        self._keep("ModelDecision", decision)
        self._keep("SettledDecision", guard.after_model_call("g-1", (10, 10), call_id=decision.call_id))
        tool = guard.before_tool_call("g-1", "search", price="0.01")
        self._keep("ToolDecision", tool)
        self._keep("DecisionWarning", tool.warnings[0])
        self._keep("RunSummary", guard.on_run_end("g-1"))
        guard.close()

    def _lost(self, session: Any) -> None:
        """A call that outlives its lease."""

        async def later() -> None:
            async with budget_scope(tenant="acme", workflow="w"):
                hold = reserve(tool="slow", price="0.10")
                async with hold:
                    session.clock.advance(2_000)
                    session.store.snapshot()
                    with budget_scope(tenant="acme"), reserve(tool="other", price="0.10"):
                        pass
                    hold.commit("0.10")

        asyncio.run(later())


EVENT_KINDS = [
    "degraded",
    "denied",
    "downgrade",
    "policy",
    "reset",
    "run_ended",
    "run_started",
    "runaway",
    "settled",
    "threshold",
]


def options() -> dict[str, str]:
    """The keywords of the decorators, which their signatures do not show."""
    given = {
        "price": "0.01",
        "estimate": "strict",
        "usage": lambda result: (1, 1),
        "on_error": "release",
        "on_lost": "release",
        "idempotency_key": "prompt",
        "on_denied": Return(None),
        "stage": "planning",
        "tier": "batch",
        "runtime": None,
        "no_such_option": 1,
    }
    found = {}
    with testing.runtime() as session:
        given["runtime"] = session.runtime
        for decorator in (metered_model, metered_tool):
            for name, value in given.items():
                try:
                    decorator("small", **{name: value})(lambda prompt, max_tokens=1: prompt)
                    found[f"{decorator.__name__}({name}=)"] = "taken"
                except (TypeError, costscope.InvalidInput):
                    found[f"{decorator.__name__}({name}=)"] = "refused"
        metered_tool("waits", on_denied=Wait("30s"))(lambda: None)
    return found


def records() -> dict[str, Any]:
    """Each record as a line of JSON: written from the fewest fields it can be made of, and read again."""
    from costscope import events

    found = {}
    for name in sorted(vars(events)):
        record = getattr(events, name)
        tag = getattr(getattr(record, "__struct_config__", None), "tag", None)
        if tag is None or not isinstance(record, type):
            continue
        fields = {
            one.encode_name: _sample(one.type)
            for one in describe.msgspec.inspect.type_info(record).fields
            if one.required
        }
        line = describe.msgspec.json.encode({"type": tag} | fields).decode()
        read = events.decode_event(line)
        found[tag] = {"record": name, "line": describe.msgspec.json.decode(events.encode_event(read))}
    return found


def _sample(described: Any) -> Any:
    kind = type(described).__name__.removesuffix("Type")
    if kind == "Literal":
        return min(described.values)
    if kind == "Union":
        return _sample(described.types[0])
    samples = {
        "DateTime": "2026-01-01T12:00:00Z",
        "Str": "text",
        "Int": 1,
        "Float": 1.5,
        "Bool": True,
        "Dict": {},
    }
    return samples.get(kind)


def signed() -> dict[str, str]:
    """A signature, which receivers compute by themselves."""
    from costscope.webhooks import sign, verify

    secret, body = "whsec_Z29sZGVuIGdvbGRlbiBnb2xkZW4gZ29sZGVuIQ==", b'{"type":"policy"}'
    signature = sign(secret, "id:ops", 1_767_268_800, body)
    headers = {"webhook-id": "id:ops", "webhook-timestamp": "1767268800", "webhook-signature": signature}
    return {"signature": signature, "verified as": verify(secret, headers, body, now_s=1_767_268_800)}
