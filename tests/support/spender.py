"""A process that spends: `python spender.py STORE_URL PROVIDER_FILE MODE [LEASE_S [ON_LOST]]`.

Says "ready", waits for a line, and then spends 0.01 a call in the scope tenant=acme, run=r-1 with a limit of 1.00
until that is exhausted (`spend`), or stays inside its first call for ever (`hang`). The provider's own books are a
file that grows by one byte a call, by any caller. At the end it says how many calls it made.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool, set_runtime
from costscope.stores import open_store

PATIENT = "connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"


def open_patiently(url: str):
    url = f"{url}{'&' if '?' in url else '?'}{PATIENT}"
    if url.startswith("unix://"):
        import costscope_valkey

        return costscope_valkey.open_url(url)
    return open_store(url)


def bill(provider: Path) -> None:
    file = os.open(provider, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b".")
    os.close(file)


def spend(provider: Path) -> int:
    """Call until the budget is exhausted; how often the function ran."""
    ran = 0

    @metered_tool("step", price="0.01")
    def step() -> None:
        bill(provider)

    with budget_scope(tenant="acme"), budget_scope(run="r-1", max_cost="1.00"):
        while True:
            try:
                step()
                ran += 1
            except BudgetExceeded as refusal:
                if refusal.kind == "exhausted":
                    return ran


def hang(provider: Path, on_lost: str) -> None:
    @metered_tool("step", price="0.01", on_lost=on_lost)
    def step() -> None:
        bill(provider)
        print("inside", flush=True)
        time.sleep(600)

    with budget_scope(tenant="acme"), budget_scope(run="r-1", max_cost="1.00"):
        step()


def main() -> None:
    url, provider, mode, *rest = sys.argv[1:]
    lease_s = float(rest[0]) if rest else 900.0
    with Runtime(store=open_patiently(url), lease_s=lease_s) as runtime:
        set_runtime(runtime)
        print("ready", flush=True)
        sys.stdin.readline()
        if mode == "spend":
            print(spend(Path(provider)), flush=True)
        else:
            hang(Path(provider), rest[1])


if __name__ == "__main__":
    main()
