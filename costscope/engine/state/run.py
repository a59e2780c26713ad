"""One run in this process, from its admission to its end. No I/O: `costscope.engine.run.run_life` asks the store."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Final

from costscope.background.heartbeat import awake_s
from costscope.engine.control.effects import NOTHING, Effects
from costscope.errors import RunHalted
from costscope.policy import run_account
from costscope.policy.resolve.accounts import observed_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.background.heartbeat import Lease
    from costscope.engine.control.runaway import Detector
    from costscope.engine.state.services import Services
    from costscope.ledger import Account
    from costscope.observe.events.records import RunStatus
    from costscope.policy import Budget
    from costscope.policy.model.controls import Runaway
    from costscope.policy.resolve.resolved import ResolvedBudgets


SLOT_LOST: Final = "its slot could not be renewed in time, and may be another's by now"


class Run:
    """What a scope with a `run` label is, beside a scope.

    Attributes:
        name: the run's label.
        labels: of the scope that opened it; with them, other processes find the same run.
        account: its own in the ledger, if the policy has anything to say about single runs.
        clock_ms: how long it may last from its admission; None for as long as it likes.
        joined: it was admitted elsewhere; this process only works in it.
        detector: what watches it for being out of control, by the rule that it was made with; None where nothing does.
        status: how it ended; None while it goes on.
    """

    def __init__(
        self,
        services: Services,
        labels: dict[str, str],
        account: Account | None,
        clock_ms: int | None,
        runaway: Runaway | None,
        *,
        joined: bool,
    ) -> None:
        self.services = services
        self.name = labels["run"]
        self.labels = labels
        self.account = account
        self.clock_ms = clock_ms
        self.joined = joined
        self.status: RunStatus | None = None
        self.reason = ""
        self.iterations = 0
        self.accounts: tuple[Account, ...] = ()
        """What its admission holds on."""
        self.hold_id = ""
        self.observed: tuple[tuple[Account, Budget], ...] = ()
        """Where constraints are counted that nothing enforces."""
        self.lease: Lease | None = None
        self.admitted_ms = 0
        self.opened_ms = 0
        """When its clock began, as all its processes agree; 0 while unknown."""
        self.begun = False
        """It was admitted, and goes on or went on in this process."""
        self.opened_s = monotonic()
        self.cost = 0
        """Of this process's calls, in nano-units."""
        self.detector: Detector | None = None
        if runaway is not None and account is not None:
            self.detector = services.detectors.of(account.key, runaway)
        self.compares = self.detector is not None and bool(self.detector.rule.repeats)
        """It is watched for calls that repeat one another."""
        self.ends_ms = 0
        """When a clock ends it, as far as is known; 0 for never."""
        self.ends_why = ""
        self._pid = os.getpid()
        self.cut_short = False
        """Its task is to end now, wherever it waits."""
        self._reschedule: Callable[[], None] | None = None

    @property
    def inherited(self) -> bool:
        """True in a forked child: the run is the parent's, who ends it."""
        return self._pid != os.getpid()

    @property
    def key(self) -> str:
        """What names it on the board."""
        return self.account.key if self.account is not None else ""

    @property
    def effects(self) -> Effects:
        """What a runaway has put in force for the rest of the run."""
        return self.detector.effects if self.detector is not None else NOTHING

    def limit(self, meter: str) -> int | None:
        """Return what the run's own account allows of a meter; None for as much as it likes."""
        return None if self.account is None else dict(self.account.limits).get(meter)

    @property
    def goes_on(self) -> bool:
        """False if it was stopped, or has ended."""
        return self.status is None and (
            self.lease is None or awake_s() < self.lease.lost_at_s or self.inherited
        )

    def is_in_time(self, now_ms: int) -> bool:
        """Return True if its clock is known, as all its processes agree, and has not run out."""
        return self.opened_ms > 0 and now_ms < self.ends_ms

    def check(self) -> None:
        """Refuse to go on in a run that was stopped.

        Raises:
            RunHalted: it was.
        """
        if self.lease is not None and awake_s() >= self.lease.lost_at_s and not self.inherited:
            self.halt(SLOT_LOST)
        if self.status == "halted":
            raise self.halted_error()

    def halted_error(self) -> RunHalted:
        """Return what is raised in a run that was stopped."""
        msg = f"run {self.name} was halted: {self.reason}. Start another run, or raise what stopped it."
        return RunHalted(msg, run=self.name, reason=self.reason)

    def halt(self, reason: str, *, interrupt: bool = False) -> bool:
        """Let no further call of this process be made in the run; say whether this is news.

        Args:
            reason: for people.
            interrupt: end the task that the run is, too, wherever it waits.
        """
        if self.status is not None:
            return False
        self.status, self.reason = "halted", reason
        self.cut_short = interrupt
        if interrupt and self._reschedule is not None:
            self._reschedule()
        return True

    def begin_anew(self) -> None:
        """Begin anew where the run's limits were set back: what stopped it stands no more, and its detector knows nothing."""
        self.status, self.reason, self.cut_short = None, "", False
        self.opened_ms = self.iterations = self.ends_ms = 0
        if self._reschedule is not None:
            self._reschedule()
        if self.detector is not None:
            self.detector.begin_anew()

    def ends_at(self, at_ms: int, why: str) -> None:
        """Let a clock over the run end it then, if no other one does so earlier."""
        if not self.ends_ms or at_ms < self.ends_ms:
            self.ends_ms, self.ends_why = at_ms, why
            if self._reschedule is not None:
                self._reschedule()

    def interrupts(self, reschedule: Callable[[], None] | None) -> None:
        """Call this whenever `cut_short` or `ends_ms` has changed: it sees to it that the run's task ends then."""
        self._reschedule = reschedule
        if reschedule is not None and (self.cut_short or self.ends_ms):
            reschedule()


def run_of(
    services: Services,
    labels: dict[str, str],
    resolved: ResolvedBudgets,
    clock_ms: int | None,
    inline: Account | None,
    *,
    joined: bool,
) -> Run:
    """Return the run that a scope with these labels opens, not yet admitted.

    It has an account of its own where any budget covers it or it has a clock; with nothing but limits set on the
    scope itself their account serves. Orders to stop stand in that account, and the admission holds on it, so that
    others find out when its process has died. A run that nothing limits has none: no books are kept of it.

    `resolved` is what the policy says about these labels, `clock_ms` how long the run may last besides, `inline` the
    account of the limits set on the scope; `joined`: it was admitted elsewhere.
    """
    rules = services.rules
    runaway = None if rules.runaway is None else rules.runaway_for(labels)
    clocks = [ms for ms in (clock_ms, resolved.run_clock_ms) if ms is not None]
    limited = resolved.observed or resolved.accounts or resolved.admission or resolved.run_limits or clocks
    account = inline
    if limited or runaway is not None:
        caps = runaway is not None and any(action.iterations is not None for action in runaway.actions)
        account = run_account(labels, dict(resolved.run_limits), turns=resolved.curbs or caps)
    run = Run(services, labels, account, min(clocks, default=None), runaway, joined=joined)
    if resolved.observed:
        run.observed = tuple((observed_account(budget, labels), budget) for budget in resolved.observed)
    return run


def ended_mark(account_key: str, hold_id: str) -> str:
    """Return the mark of the end of a run on the board: the first to put it there says how it ended."""
    return f"{account_key}#ended:{hold_id}"


def status_of(error: BaseException | None) -> RunStatus:
    """Return how a run ended that was left like this.

    An error is a failure. A generator is closed by callers that have had enough of it, and `sys.exit()` is an end like
    any other. What is no `Exception` comes from outside: Ctrl-C, a task that is cancelled.
    """
    if isinstance(error, SystemExit):
        return "failed" if error.code else "completed"
    if error is None or isinstance(error, GeneratorExit):
        return "completed"
    return "failed" if isinstance(error, Exception) else "halted"
