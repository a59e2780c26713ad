"""Several processes, one budget, nothing to install: an embedded Valkey keeps the books in a folder.

Each process opens the same run, so they share its 1.00. Calls cost 0.01: exactly 100 are allowed in all.
"""

import multiprocessing
import tempfile
from pathlib import Path

import costscope
from costscope import BudgetExceeded, budget_scope, metered_tool


@metered_tool("search", price="0.01")
def search(query: str) -> str:
    """A tool that costs one cent a call."""
    return query[::-1]


def work(store: str) -> int:
    """One process: search until the run's budget is spent; how often that was."""
    costscope.configure(store=store)
    done = 0
    with budget_scope(tenant="acme", run="r-1", max_cost="1.00"):
        try:
            while done < 1000:  # noqa: PLR2004 - more than the budget pays for
                search("abc")
                done += 1
        except BudgetExceeded:
            pass
    return done


def main() -> None:
    """Four processes, then the books."""
    with tempfile.TemporaryDirectory() as folder:
        books = Path(folder) / "books"
        store = f"embedded://{books}?idle_s=1"  # stops a second after its last client has gone
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            done = pool.map(work, [store] * 4, chunksize=1)
        with costscope.Runtime(store=store) as runtime:
            with budget_scope(tenant="acme", run="r-1", max_cost="1.00", runtime=runtime) as run:
                run.refresh()
                print("allowed:", sum(done), "of 4,000 tries; spent", run.spent, "held", run.held)
            print("audit:", "exact" if runtime.audit().exact else "NOT exact")
        _stop(books)
    assert sum(done) == 100, done  # noqa: PLR2004 - 100 calls of 0.01


def _stop(books: Path) -> None:
    from costscope_valkey.embedded import stop_server  # noqa: PLC0415 - only so that the folder can go at once

    stop_server(books)


if __name__ == "__main__":
    main()
