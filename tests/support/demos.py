"""A demo that has ended, without running one."""

from collections import Counter

from costscope.cli.demo import Scenario
from costscope.cli.demo.heard import Crossing, Heard
from costscope.cli.demo.ledger import Books, Entry, Places
from costscope.cli.demo.outcome import Outcome
from costscope.ledger import AuditReport

SCENARIO = Scenario(
    processes=4, tasks=16, calls=240, budget_nano=10_000_000_001, seed=1, lease_s=3, victim=None
)
NOTHING_ODD = AuditReport(0, 1, 0, ())


WILD = SCENARIO.wild
TENANTS = ("acme", "birch", "cedar")
RUNS = {
    tenant: [path for path in SCENARIO.limits if len(path) == 4 and path[0] == tenant] for tenant in TENANTS
}


def outcome(billed=None, spent=None, audit=NOTHING_ODD, **changes):
    """A demo in which everybody spent all of it, and every run ended as it should."""
    limits = SCENARIO.limits
    heard = Heard()
    for runs in RUNS.values():
        heard.ended |= {path: "halted" if path in WILD else "completed" for path in runs}
    heard.runaways |= WILD
    for tenant in TENANTS:
        heard.crossed.update(Crossing(f"{tenant}-day", "cost", percent) for percent in (50, 80, 95))
    heard.downgraded = 7
    given = {
        "scenario": SCENARIO,
        "store": "memory://",
        "books": Books(
            {path: Entry(spent=(spent or limits)[path]) for path in limits},
            {tenant: Places(len(runs), len(runs), 0, 16) for tenant, runs in RUNS.items()},
        ),
        "billed": limits if billed is None else billed,
        "calls": 5,
        "requests": {path: 10 if kind == "repeats" else 3 for path, kind in WILD.items()},
        "served_instead": 7,
        "saved": 1_000_000,
        "unanswered_calls": 0,
        "killed_processes": 0,
        "heard": heard,
        "told": Counter(heard.crossed),
        "most_taken": dict.fromkeys(TENANTS, 16),
        "most_served": dict.fromkeys(TENANTS, 15),
        "denials": {"exhausted": 2, "in_flight": 1},
        "pairs_us": [30, 10, 20],
        "seconds": 1.5,
        "audit": audit,
    }
    return Outcome(**(given | changes))
