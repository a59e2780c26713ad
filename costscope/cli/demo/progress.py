"""What is known about a demo while it runs, from the books, the stream of events and the workers. No I/O."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from costscope.cli.demo.scenario import Path, path_of
from costscope.ledger import Counters
from costscope.observe.events.records import (
    CallRefused,
    Downgraded,
    RunawayDetected,
    RunEnded,
    ThresholdCrossed,
)
from costscope.observe.reports.as_json import short_money
from costscope.policy import read_account_info

if TYPE_CHECKING:
    from costscope.cli.demo.provider import Provider
    from costscope.cli.demo.scenario import Scenario
    from costscope.ledger import Snapshot
    from costscope.observe.events.records import Event, RunStatus

STATUSES: Final[tuple[RunStatus, ...]] = ("completed", "failed", "halted", "abandoned")
"""How a run ends. Of two ends the first one is true: its process knows better than another that found it silent."""
_REASONS: Final = {"repeats": "one call {:g} times", "failures": "{:g} failures in a row"}


class Crossing(NamedTuple):
    """A threshold of an account."""

    budget: str
    meter: str
    percent: float


class Report(msgspec.Struct, frozen=True):
    """What a worker did since its last report."""

    pairs_us: list[int] = []  # of each call, the microseconds of reserve plus commit
    denials: dict[str, int] = msgspec.field(default_factory=Counter)
    crossings: list[Crossing] = []  # which this process's callback was told of
    ready: bool = False  # it is the first one
    last: bool = False
    error: str = ""  # why it failed


class Entry(msgspec.Struct, frozen=True):
    """The cost of one account, in nano-USD; two windows of one budget add up."""

    spent: int = 0
    held: int = 0
    presumed: int = 0

    def __add__(self, more: Entry | Counters) -> Entry:
        return Entry(self.spent + more.spent, self.held + more.held, self.presumed + more.presumed)


class Places(msgspec.Struct):
    """The runs of one tenant."""

    admitted: int = 0  # so far, of `limit` in a day
    limit: int = 0
    taken: int = 0  # at once, of `places`; the runs of a killed worker count until their lease has ended
    places: int = 0


class Progress:
    """Counts and events of one demo; the provider's bill grows in place."""

    def __init__(self, scenario: Scenario, provider: Provider) -> None:
        self.scenario = scenario
        self.provider = provider
        # from the ledger
        self.entries = dict.fromkeys(scenario.limits, Entry())  # in the order of the tree
        self.places: dict[str, Places] = {}  # by tenant
        self.most_taken: Counter[str] = Counter()  # by tenant, the most runs at once that any look has found
        # from the stream of events
        self.ended: dict[Path, RunStatus] = {}
        self.refused: set[Path] = set()  # runs that were not admitted
        self.crossed: Counter[Crossing] = Counter()  # how often it has told of each threshold
        self.downgraded = 0  # calls that went to another model than they asked for
        self.runaways: dict[Path, str] = {}  # runs that seemed out of control, and why
        # from the workers
        self.alive = 0
        self.killed = 0
        self.called_back: Counter[Crossing] = Counter()  # how often a callback was told of each threshold
        self.denials: Counter[str] = Counter()  # calls that were refused, by kind
        self.pairs_us: list[int] = []
        self.events: list[tuple[float, str]] = []  # what happened, and how many seconds after the start
        self._made_s = time.monotonic()
        self.started_s = 0.0  # when the agents began, and when the last one was done
        self.ended_s = 0.0
        self._said: set[object] = {None}

    @property
    def seconds(self) -> float:
        """How long agents have been running."""
        return (self.ended_s or time.monotonic()) - self.started_s if self.started_s else 0.0

    @property
    def rate_per_s(self) -> float:
        """Reserve+commit pairs a second, of all processes."""
        return len(self.pairs_us) / self.seconds if self.seconds else 0.0

    def percentile_us(self, percent: int) -> int:
        """Return the nearest-rank percentile of the pairs; 0 of none."""
        pairs = sorted(self.pairs_us)
        return pairs[max(0, -(-len(pairs) * percent // 100) - 1)] if pairs else 0

    def runs(self, tenant: str | None = None) -> dict[str, int]:
        """Return how many runs the ledger has admitted, how many ended how, and were refused; of one tenant or of all."""
        ended = Counter(status for path, status in self.ended.items() if tenant in {None, path[0]})
        admitted = sum(runs.admitted for name, runs in self.places.items() if tenant in {None, name})
        refused = sum(tenant in {None, path[0]} for path in self.refused)
        return {"admitted": admitted, **{status: ended[status] for status in STATUSES}, "refused": refused}

    def note(self, text: str, *, once: object = None) -> None:
        """Note an event; with `once`, only the first of those that have the same."""
        if once is None or once not in self._said:
            self._said.add(once)
            self.events.append((time.monotonic() - self._made_s, text))

    def start(self, text: str, *, alive: int) -> None:
        """Note that the agents begin, in so many processes."""
        self.alive, self.started_s = alive, time.monotonic()
        self.note(text)

    def take(self, report: Report) -> None:
        """Add what a worker reported."""
        self.pairs_us += report.pairs_us
        self.denials.update(report.denials)
        self.called_back.update(report.crossings)
        self.alive -= report.last

    def look(self, entries: dict[Path, Entry], places: dict[str, Places]) -> None:
        """Take what the ledger says now, as `read_books` has read it."""
        self.entries, self.places = entries, places
        for tenant, runs in places.items():
            self.most_taken[tenant] = max(runs.taken, self.most_taken[tenant])
        if any(entry.presumed for entry in entries.values()):
            self.note("holds of the killed worker presumed spent", once="presumed")

    def total(self) -> Entry:
        """Add up the tenants."""
        return sum((entry for path, entry in self.entries.items() if len(path) == 1), Entry())

    def amounts_of(self, path: Path) -> dict[str, int]:
        """List what is known of the cost of one account, in nano-USD."""
        limit, entry = self.scenario.limits.get(path, 0), self.entries.get(path, Entry())
        return {"limit": limit, **msgspec.structs.asdict(entry), "billed": self.provider.billed[path]}

    def status_of(self, run: Path) -> str:
        """Say how a run has ended, if it has."""
        return self.ended.get(run, "open")

    def hear(self, event: Event) -> None:
        """Count a record of the stream, and note what of it is worth a line."""
        path = path_of(event.labels)
        match event:
            case RunEnded(status=status):
                self.ended[path] = min(status, self.ended.get(path, status), key=STATUSES.index)
                if status == "abandoned":
                    line = "runs of the killed worker found abandoned: their places are free"
                    self.note(line, once=status)
            case CallRefused(
                what="run", budget=str(budget)
            ):  # else the store was away: the run is tried again
                self.refused.add(path)
                spent = short_money(event.spent or 0)
                why = f"no new runs any more, {spent} USD are spent"
                if event.meter == "runs":
                    why = f"no more runs today, {event.limit:,} were admitted"
                self.note(f"{budget}: {why}", once=("refused", path[0], budget))
            case ThresholdCrossed(budget=budget, threshold=at):
                self.crossed[crossing_of(event)] += 1
                used, limit = short_money(event.spent + event.held), short_money(event.limit)
                actions = ", ".join(action for action in event.actions if action not in {"log", "callback"})
                acts = f": {actions}" if actions else ""
                self.note(f"{budget} at {at:g}% ({used} of {limit} USD){acts}")
            case Downgraded() if event.effective != event.asked:
                self.downgraded += 1
                line = f"{path[0]}: {event.effective} serves what {event.asked} was asked for, from here on"
                self.note(line, once=("downgraded", path[0]))
            case RunawayDetected():
                self.runaways[path] = event.reason
                halted = ": halted" if "halt_run" in event.actions else ""
                reason = _REASONS.get(event.reason, event.detail).format(event.measured)
                self.note(f"run {event.run} is out of control ({reason}){halted}")


def read_books(scenario: Scenario, snapshot: Snapshot) -> tuple[dict[Path, Entry], dict[str, Places]]:
    """Read what a snapshot says about the cost of each node of the tree, and about the runs of each tenant."""
    entries, none = dict.fromkeys(scenario.limits, Entry()), Counters()
    places: dict[str, Places] = defaultdict(Places)
    for account in snapshot.accounts:
        info, meters = read_account_info(account.about), account.meters
        path = path_of(info.labels)
        if cost := meters.get("cost"):
            entries[path] = entries.get(path, Entry()) + cost
        if len(path) == 1:  # runs are counted in the tenant's budget, their places in an account beside it
            tenant, runs = places[path[0]], meters.get("runs", none)
            tenant.admitted += runs.spent + runs.held  # a run is held until it ends, and spent from then on
            tenant.limit = max(tenant.limit, info.limits.get("runs", 0))
            tenant.taken += meters.get("concurrent_runs", none).held
            tenant.places = max(tenant.places, info.limits.get("concurrent_runs", 0))
    return entries, places


def crossing_of(event: ThresholdCrossed) -> Crossing:
    """Name the threshold that a record tells of."""
    return Crossing(event.budget, event.meter, event.threshold)
