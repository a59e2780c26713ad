"""What can happen, as typed records. One union, encoded as one JSON object with its `type`.

Money is in nano-units of the currency, like everywhere in the ledger; other meters in their own unit. Labels hold the
run's id too, which must be left out where a record becomes a metric.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypedDict, get_args

import msgspec

from costscope.ledger.meters import Meter

RunStatus = Literal["completed", "failed", "halted", "abandoned"]

Kind = Literal[
    "threshold",
    "denied",
    "degraded",
    "downgrade",
    "runaway",
    "settled",
    "run_started",
    "run_ended",
    "reset",
    "policy",
]
"""The records' tags: `type` in their JSON."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record says."""

    id: str
    """128 random bits; a webhook's receiver tells repeats by it."""
    at: datetime
    """UTC, by the store's clock as far as this process knows it."""
    labels: dict[str, str] = {}
    """Of the scope it happened in, or of the account it is about."""


class Stamp(TypedDict):
    """The fields of `Record`, as a scope fills them in."""

    id: str
    at: datetime
    labels: dict[str, str]


class ThresholdCrossed(Record, frozen=True, kw_only=True, tag="threshold"):
    """`spent + held` of an account came to a threshold: once per account and window, over all processes."""

    budget: str
    meter: Meter | str
    threshold: float
    """Percent of the limit."""
    spent: int
    held: int
    remaining: int
    """Limit less spent and held; below 0 where a budget is not hard."""
    limit: int
    window_start: datetime | None
    window_end: datetime | None
    """None for an account whose window never ends."""
    actions: tuple[str, ...] = ()
    message: str = ""
    """What the policy says to those who are told."""


class CallRefused(Record, frozen=True, kw_only=True, tag="denied"):
    """A call, a run or an iteration that was refused, or would have been by a shadow budget."""

    what: Literal["model", "tool", "run", "iteration"]
    name: str
    kind: str
    """As `CallDenied.kind`."""
    reason: str
    budget: str | None = None
    meter: str | None = None
    limit: int | None = None
    spent: int | None = None
    held: int | None = None
    requested: int | None = None
    enforced: bool = True
    """False: a shadow budget, the call was made."""


class CallDegraded(Record, frozen=True, kw_only=True, tag="degraded"):
    """A call that a soft budget, or a budget that only rejects new runs, has let through above its limit."""

    what: Literal["model", "tool", "run", "iteration"]
    name: str
    budget: str
    meter: str
    limit: int
    spent: int
    held: int


class Downgraded(Record, frozen=True, kw_only=True, tag="downgrade"):
    """A call that went to another model, or with a lower cap, than it asked for."""

    asked: str
    effective: str
    reason: str
    stage: str | None = None
    max_tokens: int | None = None
    """The cap that was put on it; None: its own."""
    saved: int | None = None
    """What the hold is cheaper than the asked model's would have been, in nano-units; None where no price is known."""


class RunawayDetected(Record, frozen=True, kw_only=True, tag="runaway"):
    """A run that seems out of control: once per run and reason, over all processes."""

    run: str
    reason: Literal["failures", "burn_rate", "repeats"]
    detail: str
    measured: float
    allowed: float
    actions: tuple[str, ...] = ()


class CallSettled(Record, frozen=True, kw_only=True, tag="settled"):
    """A metered call that has ended."""

    what: Literal["model", "tool"]
    name: str
    outcome: Literal["ok", "error"]
    cost: int
    """What was charged, in nano-units."""
    held: int
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0
    """From the reserve to the settlement."""
    degraded: bool = False


class RunStarted(Record, frozen=True, kw_only=True, tag="run_started"):
    """A run was admitted."""

    run: str


class RunEnded(Record, frozen=True, kw_only=True, tag="run_ended"):
    """A run has ended, or its process is presumed dead (`abandoned`)."""

    run: str
    status: RunStatus
    reason: str = ""
    cost: int = 0
    """Of this process's calls, in nano-units."""
    seconds: float = 0.0
    iterations: int = 0


class AccountReset(Record, frozen=True, kw_only=True, tag="reset"):
    """What an account had spent was set back, and why."""

    budget: str
    reason: str
    forgiven: dict[str, int]
    """By meter."""


class PolicyReloaded(Record, frozen=True, kw_only=True, tag="policy"):
    """A policy source has changed: it is in force now, or was refused and the old one stays."""

    source: str
    accepted: bool
    problem: str = ""


Event = (
    ThresholdCrossed
    | CallRefused
    | CallDegraded
    | Downgraded
    | RunawayDetected
    | CallSettled
    | RunStarted
    | RunEnded
    | AccountReset
    | PolicyReloaded
)


class Traits(NamedTuple):
    """What is the same of all records of one type."""

    kind: Kind
    level: int
    """Of `logging`; 0: it is not logged. What a record says may make it louder: see `level_of`."""
    published: bool = True
    """It goes to the board, where other processes and webhooks find it."""
    by_actions: bool = False
    """The policy says who is told, by the actions `log` and `callback`."""


TRAITS: Final[dict[type[Record], Traits]] = {
    ThresholdCrossed: Traits("threshold", logging.DEBUG, by_actions=True),
    CallRefused: Traits("denied", logging.INFO),  # the call raises anyhow
    CallDegraded: Traits("degraded", logging.INFO),
    Downgraded: Traits("downgrade", logging.INFO),
    RunawayDetected: Traits("runaway", logging.DEBUG, by_actions=True),
    CallSettled: Traits("settled", logging.NOTSET, published=False),  # one comes with every call
    RunStarted: Traits("run_started", logging.DEBUG),
    RunEnded: Traits("run_ended", logging.INFO),
    AccountReset: Traits("reset", logging.WARNING),
    PolicyReloaded: Traits("policy", logging.INFO),
}

ENCODER: Final = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def kind_of(event: Event) -> Kind:
    """Return the tag of a record."""
    return TRAITS[type(event)].kind


def encode_event(event: Event) -> str:
    """Write the record as one JSON object."""
    return ENCODER.encode(event).decode()


def decode_event(record: str | bytes) -> Event:
    """Read the record that `encode_event` wrote.

    Raises:
        msgspec.ValidationError: something else.
    """
    event: Event = _decoder.decode(record)
    return event
