"""Thirty agents share the budget of one run, and each has a limit of its own.

Scopes nest through contextvars: every asyncio task carries the scope it was started in, and a scope it opens
is its own. Of 3,000 calls that the agents would like to make, the run can pay for 100.
"""

import asyncio

import costscope
from costscope import BudgetExceeded, budget_scope, metered_model

costscope.configure(store="memory://")

_PRICE = {"input": "1.00", "output": "4.00"}  # per million tokens; models of the price table need none
billed = 0


@metered_model("my-model", price=_PRICE, estimate={"cost": "0.01"})
async def think(question: str) -> dict[str, object]:
    """A model call; replace it by one with your SDK. This one always uses 2,000 + 2,000 tokens: 0.01."""
    global billed  # noqa: PLW0603 - the provider's own bill
    await asyncio.sleep(0.001)
    billed += 1
    return {"answer": question.upper(), "usage": {"input_tokens": 2000, "output_tokens": 2000}}


async def agent(number: int) -> int:
    """Ask until a budget says no; how often it was allowed to."""
    asked = 0
    async with budget_scope(agent=f"agent-{number}", max_cost="0.05"):
        try:
            while asked < 100:  # noqa: PLR2004 - more than any budget pays for
                await think("why?")
                asked += 1
        except BudgetExceeded:
            pass  # `.kind`: in_flight while others hold what is left, exhausted when it is spent
    return asked


async def main() -> None:
    """One run of a workflow of a tenant."""
    async with budget_scope(tenant="acme", workflow="report", run="r-1", max_cost="1.00") as run:
        calls = await asyncio.gather(*(agent(number) for number in range(30)))
    print(f"calls allowed: {sum(calls)}, at most {max(calls)} of one agent")
    print(
        f"spent {run.spent}, held {run.held}, remaining {run.remaining}; the provider billed {billed * 0.01:.2f}"
    )
    assert sum(calls) <= 100  # noqa: PLR2004 - 100 calls of 0.01 are the 1.00 of the run
    assert run.held == 0


asyncio.run(main())
print("audit:", "exact" if costscope.get_runtime().audit().exact else "NOT exact")
