"""Threads: a plain thread does not inherit the scope it was started in.

contextvars reach tasks and `asyncio.to_thread`, but neither `threading.Thread` nor executors. `bind_scope` and
`ScopedExecutor` carry the scope along; without them the call is refused rather than charged to no account.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import costscope
from costscope import BudgetExceeded, CallUnscoped, ScopedExecutor, bind_scope, budget_scope, metered_tool

costscope.configure(store="memory://")


@metered_tool("search", price="0.01")
def search(query: str) -> str:
    """A tool that costs one cent a call."""
    return query[::-1]


def try_search(query: str) -> str:
    """What became of a search, in a word."""
    try:
        return search(query)
    except BudgetExceeded as refusal:
        return refusal.kind
    except CallUnscoped as refusal:
        return refusal.kind


with budget_scope(tenant="acme", max_cost="1.00") as scope:
    with ThreadPoolExecutor() as plain:
        print("a plain executor:", plain.submit(try_search, "abc").result())

    thread = Thread(target=bind_scope(search), args=("abc",))
    thread.start()
    thread.join()
    print("a thread with bind_scope: spent", scope.spent)

    with ScopedExecutor(max_workers=64) as pool:
        results = list(pool.map(try_search, [str(number) for number in range(500)]))
    refused = [result for result in results if result in ("exhausted", "in_flight")]
    print("64 threads:", len(results) - len(refused), "allowed,", len(refused), "refused; spent", scope.spent)
    assert scope.spent == 1
