"""A demo that has ended, without running one."""

from collections import Counter

from costscope.cli.demo.progress import Crossing, Entry, Places, Progress
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.scenario import Scenario
from costscope.cli.demo.verdict import Verdict
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


def ended_demo(billed=None, spent=None, **changes):
    """The progress of a demo in which every limit was spent to the end, and every run ended as it should.

    Args:
        billed: by the provider; the limits if None.
        spent: by the ledger; the limits if None.
        **changes: other attributes of the provider, or else of the progress.
    """
    limits = SCENARIO.limits
    provider = Provider()
    provider.billed = Counter(limits if billed is None else billed)
    provider.calls = 5
    provider.requests = Counter({path: 10 if kind == "repeats" else 3 for path, kind in WILD.items()})
    provider.instead = 7
    provider.saved = 1_000_000
    provider.most_at_once = Counter(dict.fromkeys(TENANTS, 15))
    progress = Progress(SCENARIO, provider)
    progress.entries = {path: Entry(spent=(spent or limits)[path]) for path in limits}
    progress.places = {tenant: Places(len(runs), len(runs), 0, 16) for tenant, runs in RUNS.items()}
    for runs in RUNS.values():
        progress.ended |= {path: "halted" if path in WILD else "completed" for path in runs}
    progress.runaways |= WILD
    for tenant in TENANTS:
        progress.crossed.update(Crossing(f"{tenant}-day", "cost", percent) for percent in (50, 80, 95))
    progress.downgraded = 7
    progress.called_back = Counter(progress.crossed)
    progress.most_taken = Counter(dict.fromkeys(TENANTS, 16))
    progress.denials = Counter(exhausted=2, in_flight=1)
    progress.pairs_us = [30, 10, 20]
    progress.started_s, progress.ended_s = 100.0, 101.5
    for name, value in changes.items():
        setattr(provider if hasattr(provider, name) else progress, name, value)
    return progress


def verdict(progress=None, audit=NOTHING_ODD, **changes):
    """What comes of it."""
    return Verdict(progress or ended_demo(**changes), "memory://", audit)
