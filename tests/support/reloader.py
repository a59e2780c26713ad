"""A process that works by a policy file: `python reloader.py STORE_URL POLICY`.

Says "ready". Answers each line `call` with `admitted` or with the limit that refused it, and says `reloaded LIMIT` when
another version is in force.
"""

from __future__ import annotations

import sys

from spender import open_patiently

from costscope import BudgetExceeded, Runtime, budget_scope, reserve
from costscope.events import PolicyReloaded


def main() -> None:
    url, policy = sys.argv[1:]
    with Runtime(store=open_patiently(url), policy=policy) as runtime:

        def tell(event: object) -> None:
            if isinstance(event, PolicyReloaded):
                print("reloaded", runtime.policy.budgets[0].limits["tool_calls"], flush=True)

        runtime.events.add_sink(tell)
        with budget_scope(tenant="a", runtime=runtime):
            print("ready", flush=True)
            for _ in sys.stdin:
                try:
                    with reserve(tool="t", runtime=runtime):
                        print("admitted", flush=True)
                except BudgetExceeded as refusal:
                    print(f"limit {refusal.limit}", flush=True)


if __name__ == "__main__":
    main()
