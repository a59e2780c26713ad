"""Other processes with a guard: `share` in a pool, and `python guarded.py STORE_URL SLOT_LEASE_S CALL_LEASE_S`.

The script starts the run `r-1` of tenant acme, reserves a tool call of 0.02, says "inside", and never ends it.
"""

from __future__ import annotations

import sys
import time

from spender import PATIENT

from costscope import Guard, Runtime

__all__ = ["POLICY", "SLOT", "share"]

POLICY = {
    "budgets": [
        {
            "id": "tenant",
            "per": ["tenant"],
            "limits": {"cost": "1"},
            "constraints": {"tool_calls": 20, "iterations": 12},
        }
    ]
}
"""What a run may do, in whichever process."""

SLOT = {"budgets": [{"id": "one", "limits": {"concurrent_runs": 1, "cost": "1"}}]}


def share(url: str, *, join: bool) -> tuple[int, int, list[str]]:
    """Work in the run `shared` until it allows no more: tool calls, iterations, and why they were refused."""
    with Runtime(store=f"{url}&{PATIENT}", policy=POLICY) as runtime, Guard(runtime) as guard:
        guard.on_run_start("shared", tenant="acme", join_run=join).raise_if_denied()
        calls = turns = 0
        while (decision := guard.before_tool_call("shared", "search", price="0.01")).allowed:
            guard.after_tool_call("shared", call_id=decision.call_id)
            calls += 1
        while (turn := guard.before_iteration("shared")).allowed:
            guard.after_iteration("shared")
            turns += 1
    return calls, turns, [f"{step.budget} {step.meter}" for step in (decision, turn)]


def main() -> None:
    url, slot_lease_s, lease_s = sys.argv[1:]
    runtime = Runtime(
        store=f"{url}&{PATIENT}", policy=SLOT, slot_lease_s=float(slot_lease_s), lease_s=float(lease_s)
    )
    guard = Guard(runtime)
    guard.on_run_start("r-1", tenant="acme").raise_if_denied()
    guard.before_tool_call("r-1", "search", price="0.02").raise_if_denied()
    print("inside", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
