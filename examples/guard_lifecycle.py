"""A framework that calls you at every step: no decorators, no scopes, many runs at once from any thread.

The framework here is small and offline, but it behaves like real ones: it fires an event before and after each turn,
model call and tool call, interleaves its runs as it likes, and forgets to say how one of its calls went.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from costscope import CallUnknown, Guard, Runtime
from costscope.guard import Decision

POLICY = {
    "prices": {"tools": {"web_search": "0.01"}},
    "budgets": [
        {
            "id": "tenant-day",
            "per": ["tenant"],
            "period": "daily",
            "limits": {"cost": "0.10", "concurrent_runs": 3},
            "thresholds": [{"at": 50, "actions": ["downgrade_model"]}],
            "constraints": {"iterations": 4, "tool_calls": 3},
        }
    ],
    "routing": [{"id": "default", "stages": [{"fallbacks": ["gpt-4o-mini"], "max_tokens": 600}]}],
}


Said = dict[str, Any]


def events(run_id: str, turns: int) -> Iterator[tuple[str, Said]]:
    """What the framework fires in one run, and what it says with each event."""
    yield "run_start", {}
    for turn in range(turns):
        yield "iteration_start", {}
        messages = [{"role": "user", "content": f"Step {turn} of the plan for {run_id}."}]
        yield "llm_start", {"model": "gpt-4o", "messages": messages, "max_tokens": 800}
        yield "llm_end", {"usage": {"prompt_tokens": 60, "completion_tokens": 500}}
        yield "tool_start", {"tool": "web_search"}
        yield "tool_end", {}
        yield "iteration_end", {}
    yield "run_end", {"status": "completed"}


class Adapter:
    """From the framework's events to the hooks: one method for each. What they return says whether the run goes on."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.models: dict[str, list[str]] = {}

    def run_start(self, run_id: str, _: Said) -> bool:
        """Have it admitted; a run that was refused is not ended."""
        decision = self.guard.on_run_start(run_id, tenant_id="acme", strand_id="planner")
        if not decision.allowed:
            print(f"{run_id}: not admitted ({decision.kind})")
        return decision.allowed

    def iteration_start(self, run_id: str, _: Said) -> bool:
        """Count it."""
        return self.go_on(run_id, self.guard.before_iteration(run_id))

    def llm_start(self, run_id: str, said: Said) -> bool:
        """Reserve it. A real adapter hands `decision.request` back to the framework."""
        decision = self.guard.before_model_call(
            run_id, said["model"], messages=said["messages"], max_tokens=said["max_tokens"]
        )
        if decision.allowed:
            self.models.setdefault(run_id, []).append(f"{decision.effective_model} {decision.max_tokens}")
        return self.go_on(run_id, decision)

    def llm_end(self, run_id: str, said: Said) -> bool:
        """Commit what it took."""
        return self.go_on(run_id, self.guard.after_model_call(run_id, said["usage"]))

    def tool_start(self, run_id: str, said: Said) -> bool:
        """Count it, and reserve its price."""
        return self.go_on(run_id, self.guard.before_tool_call(run_id, said["tool"]))

    def tool_end(self, run_id: str, _: Said) -> bool:
        """It has cost its price."""
        return self.go_on(run_id, self.guard.after_tool_call(run_id))

    def iteration_end(self, run_id: str, _: Said) -> bool:
        """The turn is over."""
        return self.go_on(run_id, self.guard.after_iteration(run_id))

    def run_end(self, run_id: str, said: Said) -> bool:
        """Say how it went."""
        summary = self.guard.on_run_end(run_id, said["status"])
        print(f"{run_id}: {summary.status}, cost {summary.cost}, {summary.summary.iterations} turns")
        return False

    def go_on(self, run_id: str, decision: Decision) -> bool:
        """End a run that was refused a step."""
        if not decision.allowed:
            summary = self.guard.on_run_end(run_id, "failed", reason=decision.reason)
            print(f"{run_id}: {summary.status}, cost {summary.cost}: {decision.kind} {decision.budget}")
        return decision.allowed


def play(adapter: Adapter, run_id: str, turns: int) -> None:
    """Deliver the events of a run, as long as it may go on."""
    for event, said in events(run_id, turns):
        if not getattr(adapter, event)(run_id, said):
            return


with Runtime(policy=POLICY) as runtime:
    guard = Guard(runtime)
    adapter = Adapter(guard)

    # One after the other: the second run takes the budget past 50 %, so the third one goes to the cheaper model.
    play(adapter, "r-1", turns=2)
    play(adapter, "r-2", turns=3)
    play(adapter, "r-3", turns=4)
    print("models of r-3:", ", ".join(dict.fromkeys(adapter.models["r-3"])))

    # Many at once, from threads: 3 have a place at a time, and nothing is spent above the limit.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: play(adapter, f"t-{number}", turns=1), range(6)))

    # A call that the framework never reports is charged when its run ends; one that it reports twice is a mistake.
    guard.on_run_start("r-9", tenant="other")
    guard.before_tool_call("r-9", "web_search")
    print("unsettled:", guard.on_run_end("r-9").unsettled)
    guard.on_run_start("r-9", tenant="other")
    try:
        guard.after_tool_call("r-9")
    except CallUnknown as mistake:
        print(mistake)
    guard.close()

    for account in runtime.store.snapshot().accounts:
        if account.key.startswith("tenant-day/tenant=acme"):
            print(
                f"spent {account.meters['cost'].spent / 1e9:.4f} of 0.10, held {account.meters['cost'].held}"
            )
    print("audit:", "exact" if runtime.audit().exact else "differs")
