"""What is counted: one row a meter, from which everything that enumerates meters is made."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Meter = Literal[
    "cost",
    "tokens",
    "input_tokens",
    "output_tokens",
    "model_calls",
    "tool_calls",
    "runs",
    "iterations",
    "concurrent_runs",
    "concurrent_calls",
    "halts",
]

Slot = Literal["concurrent_runs", "concurrent_calls"]
"""What is taken and given back: nothing of it is ever spent, and a lost holder's is free after its lease."""

Bound = Literal["cost", "tokens", "input_tokens", "output_tokens", "model_calls"]
"""What the estimate of a model call knows of it: the most it can cost and use; that it is one call."""


class MeterDefinition(NamedTuple):
    """One row of the table."""

    name: Meter
    letter: str
    """In the records of a Valkey ledger. The rows stand in the order of their letters, from `a` on without a gap."""
    unit: Literal["money", "count"] = "count"
    """Money is in nano-units of the currency. A count is named after its meter: `3 model calls`."""
    kind: Literal["counter", "slot", "order"] = "counter"
    """A counter only ever adds up within a window; a slot is given back; an order stands until it is taken back."""
    bound: Bound | None = None
    """What a model call holds of it: as much as of that meter."""
    usage: str | None = None
    """The attribute of a `Usage` that says what the call really took of it."""
    of_tools: bool = False
    """A tool call takes of it."""
    argument: bool = False
    """`budget_scope` has an argument `max_<name>`."""
    of_runs: bool = False
    """Only runs take of it."""
    at_admission: bool = False
    """The admission of a run takes one."""


_TABLE: Final = (
    MeterDefinition("cost", "a", "money", bound="cost", of_tools=True, argument=True),
    MeterDefinition("tokens", "b", bound="tokens", usage="tokens", argument=True),
    MeterDefinition("input_tokens", "c", bound="input_tokens", usage="input_tokens", argument=True),
    MeterDefinition("output_tokens", "d", bound="output_tokens", usage="output_tokens", argument=True),
    MeterDefinition("model_calls", "e", bound="model_calls", argument=True),
    MeterDefinition("tool_calls", "f", of_tools=True, argument=True),
    MeterDefinition("runs", "g", of_runs=True, at_admission=True),
    MeterDefinition("iterations", "h", of_runs=True, argument=True),
    MeterDefinition("concurrent_runs", "i", kind="slot", of_runs=True, at_admission=True),
    MeterDefinition("concurrent_calls", "j", kind="slot"),
    MeterDefinition("halts", "k", kind="order"),
)

METERS: Final[dict[str, MeterDefinition]] = {row.name: row for row in _TABLE}
"""All of them by name, in the order of the wire: a meter's place is part of the layout of a Valkey ledger."""

COUNTERS: Final[tuple[str, ...]] = tuple(row.name for row in _TABLE if row.kind == "counter")
CALL_METERS: Final[tuple[str, ...]] = tuple(
    row.name for row in _TABLE if row.bound is not None or row.of_tools
)
"""What a metered call uses."""
RUN_METERS: Final[tuple[str, ...]] = tuple(row.name for row in _TABLE if row.of_runs)
ADMISSION_METERS: Final[tuple[str, ...]] = tuple(row.name for row in _TABLE if row.at_admission)
"""Of each of these the admission of a run takes one."""
SLOTS: Final[frozenset[str]] = frozenset(row.name for row in _TABLE if row.kind == "slot")
MONEY: Final[frozenset[str]] = frozenset(row.name for row in _TABLE if row.unit == "money")

HALTS: Final = "halts"
"""Orders to stop: an account limits it to 0, every reserve asks for 0 of it, and one commit of 1 refuses all
that come after. So a stop is decided where admission is, for every process at once, and is in the books."""

MAX_AMOUNT: Final = 2**53 - 1
"""The largest amount, limit or sum: above it Lua's doubles admit what they must refuse. USD 9,007,199.25."""
