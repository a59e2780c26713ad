"""A policy that acts: thresholds with callbacks, a downgrade, iterations, and a run that is halted.

Everything happens in memory and offline; the model is a fake one that says what it used.
"""

import logging
import sys

import costscope
from costscope import BudgetExceeded, RunHalted, budget_scope, metered_model, metered_tool

POLICY = {
    "budgets": [
        {
            "id": "tenant-day",
            "match": {"tenant": "*"},
            "per": ["tenant"],
            "period": "daily",
            "limits": {"cost": "0.10", "runs": 3},
            "thresholds": [
                50,  # of each limit: a log line and the callbacks
                {"at": 75, "meter": "cost", "actions": ["callback", "downgrade_model"]},
            ],
            "constraints": {"iterations": 8},  # of each single run
        }
    ],
    "routing": [
        {
            "id": "cheaper",
            "models": ["large"],
            "stages": [{"fallbacks": ["small"], "downgrade_on": {"soft_threshold_exceeded": True}}],
        }
    ],
    "runaway": {"repeats": 5, "actions": ["callback", "halt_run"]},
    "prices": {
        "models": {
            "large": {"input": "2.50", "output": "10.00"},
            "small": {"input": "0.15", "output": "0.60"},
        }
    },
}

logging.basicConfig(stream=sys.stdout, format="log: %(message)s")
runtime = costscope.configure(store="memory://", policy=POLICY)
runtime.events.on(
    "run_ended", lambda event: print(f"run {event.run}: {event.status} {event.reason}".rstrip())
)


@metered_model
def ask(prompt: str, *, model: str = "large", max_tokens: int = 1000) -> dict[str, object]:
    """The policy may hand in another model, and a lower cap, than the caller did."""
    served.append(model)
    return {"usage": {"prompt_tokens": len(prompt.split()), "completion_tokens": max_tokens}}


@metered_tool("look_up")
def look_up(word: str) -> str:
    """A tool that costs nothing, and is counted."""
    return word


def report(steps: int) -> None:
    """A run: entering its scope is the admission, each turn is counted."""
    with budget_scope(run=f"report-{steps}") as run:
        for turn in run.iterations():
            ask(f"Write chapter {turn}.")
            if turn == steps:
                break
        else:
            print(f"no more than {turn} iterations")


served: list[str] = []
with budget_scope(
    tenant="acme",
    on_threshold=lambda event: print(f"{event.budget} has come to {event.threshold:g}% of its {event.meter}"),
    on_downgrade=lambda event: print(f"{event.effective} instead of {event.asked}: {event.reason}"),
    on_runaway=lambda event: print(f"out of control: {event.detail}"),
) as tenant:
    report(4)
    report(20)
    print(f"served by large {served.count('large')}, by small {served.count('small')}; spent {tenant.spent}")

    try:
        with budget_scope(run="lost"):
            while True:
                look_up("the same word")
    except RunHalted as halted:
        print(halted)

    try:
        report(1)
    except BudgetExceeded as refusal:
        print(refusal)

assert runtime.audit().exact
