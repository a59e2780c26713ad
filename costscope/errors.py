"""Every exception and warning of costscope, drawn as one tree.

CostscopeError
  + CallDenied                  a metered call was refused before a cent was spent; `.kind` says why
  |   x BudgetExceeded          exhausted | in_flight | never_fits | throttled: a limit stands in the way
  |   x RunHalted               halted: the run was told to stop, by a policy, by hand or by its own clock
  |   x ModelUnpriced           unpriced: no price is known, and unknown is never free
  |   x CallUnscoped            unscoped: no budget scope is open here and the policy denies that
  |   x StoreUnavailable        unavailable: the books could not be reached (also a StoreError)
  + StoreError                  the store, not a budget, is the reason
  |   x StoreUnavailable        unreachable, frozen, read-only, out of memory: try again later
  |   x StoreMisconfigured      reachable, but it cannot keep the promises (eviction, no Valkey, bad URL)
  |   x LayoutMismatch          another version of costscope wrote these books
  |   x OutboxFull              too many settlements wait for the store; nothing is dropped silently
  + LedgerError                 the caller broke the protocol of the ledger
  |   x HoldMismatch            the same id with another payload
  |   x HoldClosed              commit, release or extend of a hold that is settled already
  |   x AmountOverflow          a sum above 2^53-1
  + GuardError                  a framework calls the hooks of a `Guard` out of order
  |   x RunUnknown              a hook for a run that is not open: never started, refused, or ended
  |   x CallUnknown             an `after_...` without its `before_...`, or one that several calls could be meant by
  |   x HookRepeated            a run or a call is begun with an id that is open already
  + InvalidInput (ValueError)   what was given cannot be used; says the value, the limit and the remedy
      x InvalidAmount           not a finite, non-negative number within 2^53-1 units
      x InvalidLabel            a label name or value that cannot be a label
      x InvalidUsage            a usage object that cannot be believed
      x InvalidPolicy           a policy file: with file, line and path

NotBilled                       raised by YOUR function: the provider did not bill, release the hold

CostscopeWarning (UserWarning)
  x UsageWarning                usage missing or absurd: the estimate was charged
  x StoreWarning                the store works, but not as safely as it could
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "AmountOverflow",
    "BudgetExceeded",
    "CallDenied",
    "CallUnknown",
    "CallUnscoped",
    "CostscopeError",
    "CostscopeWarning",
    "DenialKind",
    "GuardError",
    "HoldClosed",
    "HoldMismatch",
    "HookRepeated",
    "InvalidAmount",
    "InvalidInput",
    "InvalidLabel",
    "InvalidPolicy",
    "InvalidUsage",
    "LayoutMismatch",
    "LedgerError",
    "ModelUnpriced",
    "NotBilled",
    "OutboxFull",
    "RunHalted",
    "RunUnknown",
    "StoreError",
    "StoreMisconfigured",
    "StoreUnavailable",
    "StoreWarning",
    "UsageWarning",
]

LedgerDenial = Literal["exhausted", "in_flight", "never_fits"]
"""What the ledger refuses a reserve as."""
LimitDenial = Literal[LedgerDenial, "throttled"]
"""The kinds of `BudgetExceeded`."""
DenialKind = Literal[LimitDenial, "halted", "unpriced", "unscoped", "unavailable"]

LEDGER_DENIALS: Final[tuple[LedgerDenial, ...]] = get_args(LedgerDenial)


class CostscopeError(Exception):
    """The root: `except CostscopeError` catches everything this library raises on purpose."""


class CallDenied(CostscopeError):
    """A metered call was refused; the function did not run and nothing was spent."""

    kind: DenialKind


class BudgetExceeded(CallDenied):
    """A limit stands in the way of a call.

    Attributes:
        kind: `exhausted` (spent, until `resets_at`), `in_flight` (other calls hold what is left; it may
            free up, try again after `retry_after`), `never_fits` (more than the whole limit) or `throttled` (its
            turn comes later than the policy lets a call wait).
        budget: id of the budget that refused.
        labels: the label values of the account that refused.
        meter: what was counted, for example `cost` or `model_calls`.
        limit, spent, held, requested: the numbers, in the meter's unit (`cost`: nano-units of the currency;
            `wall_clock`: ms).
        resets_at: when the account's window ends (UTC), or None for one that never does.
        retry_after: seconds after which trying again is worth while, for `in_flight`; else None.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: LimitDenial,
        budget: str,
        labels: Mapping[str, str],
        meter: str,
        limit: int,
        spent: int,
        held: int,
        requested: int,
        resets_at: datetime | None,
        retry_after: float | None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.budget = budget
        self.labels = labels
        self.meter = meter
        self.limit = limit
        self.spent = spent
        self.held = held
        self.requested = requested
        self.resets_at = resets_at
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling: task queues and process pools send exceptions home."""
        return (_rebuild, (type(self), self.args, self.__dict__))


class RunHalted(CallDenied):
    """A call, an iteration or an admission in a run that was told to stop.

    Attributes:
        run: the run's label.
        reason: what stopped it.
    """

    kind: DenialKind = "halted"

    def __init__(self, message: str, *, run: str, reason: str) -> None:
        super().__init__(message)
        self.run = run
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class ModelUnpriced(CallDenied):
    """No price is known for the model or tool; unknown is refused, never free."""

    kind: DenialKind = "unpriced"


class CallUnscoped(CallDenied):
    """A metered call outside every scope, under a policy that says `unscoped: deny`."""

    kind: DenialKind = "unscoped"


class StoreError(CostscopeError):
    """The store, not a budget, is the reason."""


class StoreUnavailable(StoreError, CallDenied):
    """The books could not be reached in time; by default the call is refused (fail closed)."""

    kind: DenialKind = "unavailable"


class StoreMisconfigured(StoreError):
    """The store answers but cannot keep the promises: wrong URL, eviction on, not a Valkey."""


class LayoutMismatch(StoreError):
    """The ledger was written with another layout version."""


class OutboxFull(StoreError):
    """Too many settlements wait for a store that is away; nothing is dropped silently."""


class LedgerError(CostscopeError):
    """The caller broke the protocol of the ledger."""


class HoldMismatch(LedgerError):
    """The same id was used with another payload."""


class HoldClosed(LedgerError):
    """The hold is settled already; a second commit, release or extend has no meaning."""


class AmountOverflow(LedgerError):
    """A sum would exceed 2^53-1, the largest integer every host counts exactly."""


class GuardError(CostscopeError):
    """The hooks of a `Guard` were called out of order; a refusal is never an error there, but a decision."""


class RunUnknown(GuardError):
    """A hook for a run that is not open in this guard: never started, refused, or ended."""


class CallUnknown(GuardError):
    """An `after_...` whose `before_...` is not open, or that several open calls could be meant by."""


class HookRepeated(GuardError):
    """A run or a call is begun with an id that is open already."""


class InvalidInput(CostscopeError, ValueError):
    """What was given cannot be used."""


class InvalidAmount(InvalidInput):
    """Not a finite, non-negative number within 2^53-1 units."""


class InvalidLabel(InvalidInput):
    """A label name or value that cannot be a label."""


class InvalidUsage(InvalidInput):
    """A usage object that cannot be believed: negative, NaN, contradictory or absurd."""


class InvalidPolicy(InvalidInput):
    """A policy that cannot be loaded.

    Attributes:
        file: where it was read from, or None for a policy given as data.
        line: the 1-based line, or None when it is not known.
        path: the place inside the document, such as `$.budgets[0].limits.cost`.
    """

    def __init__(
        self, problem: str, *, file: str | None = None, line: int | None = None, path: str = "$"
    ) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        self.path = path
        where = f"{file or '<policy>'}:{line}" if line is not None else file or "<policy>"
        super().__init__(f"{where}: {path}: {problem}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class DenialDefinition(NamedTuple):
    """One kind of refusal."""

    error: type[CallDenied]
    remedy: str = ""
    """What its message ends with; fields in braces are filled in. Empty: each message has words of its own."""
    rank: int = 0
    """Of what the ledger refuses: the higher, the harder, and the hardest is told. Its number on the wire, too."""
    waits: bool = False
    """It may free up as other calls settle: a caller can queue for it, and is told `retry_after`."""
    limit_met: bool = False
    """The limit itself is met: it halts a run where a budget says `on_limit: halt_run`."""
    ends_run: bool = False
    """Nothing more can be done in the run."""


DENIALS: Final[dict[DenialKind, DenialDefinition]] = {
    "exhausted": DenialDefinition(
        BudgetExceeded, "{wait}aise the limit, or do without the call.", rank=2, limit_met=True
    ),
    "in_flight": DenialDefinition(
        BudgetExceeded,
        "Other calls hold the rest; it frees up as they settle: try again after {retry_after} s.",
        rank=1,
        waits=True,
    ),
    "never_fits": DenialDefinition(
        BudgetExceeded,
        "It is more than the whole limit and will never fit: lower max_tokens or the input, use "
        'estimate="capped", or raise the limit.',
        rank=3,
        limit_met=True,
    ),
    "throttled": DenialDefinition(BudgetExceeded, "Try again then, raise max_wait or the limit."),
    "halted": DenialDefinition(RunHalted, ends_run=True),
    "unpriced": DenialDefinition(ModelUnpriced),
    "unscoped": DenialDefinition(CallUnscoped),
    "unavailable": DenialDefinition(StoreUnavailable),
}
"""Every kind of refusal."""


class NotBilled(Exception):
    """Raise this from a metered function to say that the provider did not bill: the hold is released."""


class CostscopeWarning(UserWarning):
    """The root of the warnings."""


class UsageWarning(CostscopeWarning):
    """Usage was missing or could not be believed; the estimate was charged."""


class StoreWarning(CostscopeWarning):
    """The store works, but not as safely as it could."""


def _rebuild(cls: type[Exception], args: tuple[object, ...], state: dict[str, object]) -> Exception:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
