"""What a budget does beside refusing: thresholds and their actions, what a hard limit does, routes, runaways.

As in `schema`, amounts and durations stay as the user wrote them; `costscope.policy.load.shorthand` has brought the short
forms of a file (`thresholds: [50, 80]`, `actions: [log]`) into these before they are decoded.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

import msgspec

from costscope.ledger.meters import METERS, MONEY
from costscope.policy.model.actions import Action
from costscope.policy.model.durations import Duration, to_ms
from costscope.pricing.money import to_count, to_nano

WALL_CLOCK: Final = "wall_clock"
"""The one limit that is no meter of the ledger: a duration."""

Amount = str | int | float
"""A limit as written: `cost` in units of the currency (text or number), other meters whole numbers."""

Pattern = str | tuple[str, ...] | None
"""A label's exact value, a glob with `*` (`"*"`: present), a list of these, or null: the label is absent."""

Enforcement = Literal["hard", "soft", "shadow"]
OnLimit = Literal["reject", "reject_new_runs", "halt_run", "downgrade_then_reject"]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the limit from which on something is done. In a file also a plain number: `log` and `callback`."""

    at: float
    """Percent of the limit that is spent or held; above 0. 80 is four fifths."""
    meter: str | None = None
    """One of the budget's meters; by default each of them."""
    actions: tuple[Action, ...] = (Action(do="log"), Action(do="callback"))
    message: str = ""
    """In the record of the crossing, for its readers."""


class OnDenied(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a refused call does. In a file: `raise`, `{return: VALUE}`, `{wait: 30s}`."""

    do: Literal["raise", "return", "wait"] = "raise"
    value: object = None
    """`return`: what the function returns instead."""
    timeout: Duration = 0
    """`wait`: how long a call waits for those in flight before it raises."""


class Constraints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Limits of each single run under a budget. Of several budgets the more specific one's value holds, per field."""

    iterations: int | None = None
    tool_calls: int | None = None
    model_calls: int | None = None
    tokens: int | None = None
    """Of model calls, in and out."""
    cost: Amount | None = None
    wall_clock: Duration | None = None
    """From the run's admission, in any process."""

    @cached_property
    def ceilings(self) -> tuple[tuple[str, int], ...]:
        """`(meter, limit)` in the ledger's units and the order of `costscope.ledger.meters`.

        Raises:
            InvalidAmount: a value that is no amount; a policy that went through `load_policy` has none.
        """
        given = {meter: getattr(self, meter, None) for meter in METERS}
        return tuple((meter, ceiling(meter, amount)) for meter, amount in given.items() if amount is not None)

    @cached_property
    def wall_clock_ms(self) -> int | None:
        """`wall_clock` in ms.

        Raises:
            InvalidAmount: no duration, as above.
        """
        return None if self.wall_clock is None else to_ms(self.wall_clock, what=WALL_CLOCK)


class Triggers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a stage falls back; any one is enough."""

    soft_threshold_exceeded: bool = False
    """A threshold with `downgrade_model` is passed in any budget over the call."""
    remaining_budget_below: Amount | None = None
    """Of `cost`, in units of the currency, in any budget over the call that limits it."""
    utilization_above: float | None = None
    """Percent of `cost` spent or held in any such budget."""
    latency_above: Duration | None = None
    """Of the model's last calls in this process (the 90th percentile of at most 32, at least 8 within 5 minutes)."""
    error_rate_above: float | None = None
    """Percent of the same calls."""


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model serves one stage of the work."""

    stage: str = "*"
    """The call's `stage=` or the scope's label `stage`; `*`: any, also none."""
    model: str | None = None
    """The default model; by default the one the call asks for."""
    fallbacks: tuple[str, ...] = ()
    """Where to go, one after the other, while a trigger holds."""
    max_tokens: int | None = None
    """The most output tokens of a call."""
    downgrade_on: Triggers | None = None


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model a call really goes to. The first route that matches decides, with its first stage that does."""

    id: str
    match: dict[str, Pattern] = {}
    models: tuple[str, ...] = ("*",)
    """Patterns of the model that is asked for."""
    stages: tuple[Stage, ...]


class Runaway(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a run counts as out of control; 0 switches a detector off."""

    match: dict[str, Pattern] = {}
    failures: int = 3
    """Metered calls that failed one after the other."""
    burn_rate: float = 2.0
    """Times the run's own baseline of cost per minute."""
    repeats: int = 10
    """The same call (name and arguments) among the last 32 of a run."""
    actions: tuple[Action, ...] = (Action(do="log"), Action(do="callback"), Action(do="halt_run"))


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where records are sent, signed with a secret that stands in the environment and not in the file."""

    url: str
    secret_env: str
    """The environment variable with the key of the signature (HMAC-SHA256)."""
    timeout: Duration = 5


def ceiling(meter: str, amount: Amount) -> int:
    """Return a limit in the ledger's unit of that meter.

    Raises:
        InvalidAmount: not an amount of that meter.
    """
    return to_nano(amount, what=meter) if meter in MONEY else to_count(amount, what=meter)
