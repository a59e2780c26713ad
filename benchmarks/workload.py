"""What the rows have in common: budgets that never run out, as scopes and as accounts of the ledger."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from costscope import budget_scope
from costscope.ledger import Account, Commit, Reserve, new_id
from costscope_valkey.embedded import ensure_server, stop_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import valkey.asyncio

    from costscope import Runtime, Scope
    from costscope.stores import Store


LEASE_MS: Final = 900_000
AMOUNTS: Final = {"cost": 10_000_000, "tool_calls": 1}
"""One tool call of 0.01."""
MODEL_PRICE: Final = {"input": "0.15", "output": "0.60"}
MESSAGES: Final = [{"role": "user", "content": "What is the capital of France? One word."}]
ANSWER: Final = {
    "choices": [{"message": {"role": "assistant", "content": "Paris."}}],
    "usage": {"prompt_tokens": 21, "completion_tokens": 3, "total_tokens": 24},
}
"""To these messages."""

_PATIENT: Final = "operation_timeout_ms=20000&total_timeout_ms=30000"
_COST: Final = 9_000_000 * 10**9
_CALLS: Final = 10**12


@contextlib.contextmanager
def nested_budgets(runtime: Runtime, levels: int = 3) -> Iterator[Scope]:
    """So many nested scopes, each with a limit on cost and one on tool calls: two meters a budget."""
    limit, calls = _COST // 10**9, _CALLS
    openers = (
        budget_scope(runtime=runtime, max_cost=limit, max_tool_calls=calls, tenant="acme"),
        budget_scope(runtime=runtime, max_cost=limit, max_tool_calls=calls, workflow="report"),
        budget_scope(runtime=runtime, max_cost=limit, max_tool_calls=calls, agent="researcher"),
    )
    with contextlib.ExitStack() as stack:
        for opener in openers[:levels]:
            scope = stack.enter_context(opener)
        yield scope


def accounts(budgets: int = 3, meters: int = 2) -> tuple[Account, ...]:
    """The accounts of a reservation over so many budgets, as a scope makes them."""
    limits = (("cost", _COST), ("tool_calls", _CALLS))[:meters]
    return tuple(
        Account(
            f"bench-{level}/tenant=acme",
            limits,
            about=f'{{"budget":"bench-{level}","labels":{{"tenant":"acme"}}}}',
        )
        for level in range(budgets)
    )


def pair(store: Store, over: tuple[Account, ...]) -> Callable[[], None]:
    """A reserve and its commit through a store, the id included."""
    execute, amounts, keep_ms = store.execute, _amounts(over), store.keep_ms

    def reserve_and_commit() -> None:
        hold_id = new_id()
        execute((Reserve(hold_id, over, amounts, LEASE_MS),))
        execute((Commit(hold_id, over, amounts, keep_ms),))

    return reserve_and_commit


def apair(store: Store, over: tuple[Account, ...]) -> Callable[[], Awaitable[None]]:
    """`pair` for an event loop."""
    aexecute, amounts, keep_ms = store.aexecute, _amounts(over), store.keep_ms

    async def reserve_and_commit() -> None:
        hold_id = new_id()
        await aexecute((Reserve(hold_id, over, amounts, LEASE_MS),))
        await aexecute((Commit(hold_id, over, amounts, keep_ms),))

    return reserve_and_commit


async def two_scripts(client: valkey.asyncio.Valkey) -> Callable[[], Awaitable[None]]:
    """What a metered call cannot do without: two round trips, here with a script that does nothing."""
    sha = await client.script_load("return 1")
    evalsha = cast(
        "Callable[[str, int], Awaitable[object]]", client.evalsha
    )  # typed for both colours at once

    async def run_two() -> None:
        await evalsha(sha, 0)
        await evalsha(sha, 0)

    return run_two


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder with a name short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def embedded_server() -> Iterator[tuple[str, str]]:
    """A private valkey-server as `embedded://` starts it, append-only file on: its store URL and its socket.

    The store's time-outs are long: a disk that cannot keep up for a moment makes a round slow, not the run fail.
    """
    with private_folder() as folder:
        socket = ensure_server(folder).removeprefix("unix://")
        try:
            yield f"embedded://{folder}?{_PATIENT}", socket
        finally:
            stop_server(folder)


def _amounts(over: tuple[Account, ...]) -> dict[str, int]:
    limited = {meter for account in over for meter, _ in account.limits}
    return {meter: amount for meter, amount in AMOUNTS.items() if meter in limited}
