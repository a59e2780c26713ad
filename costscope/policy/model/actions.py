"""What a threshold or a runaway can do: one row an action, from which everything that enumerates them is made.

How an action enters what is in force over a call stands in `costscope.engine.control.effects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from costscope.policy.model.durations import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

ActionKind = Literal[
    "log",
    "callback",
    "downgrade_model",
    "limit_capabilities",
    "throttle",
    "halt_new_runs",
    "halt_run",
    "webhook",
]

Refused = Literal["calls", "run", "new_runs"]
"""Calls, one by one; everything that goes on in a run; the admission of further runs."""


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something to do, or to be in force, from a threshold on. In a file: `log`, or `{webhook: {to: ops}}`."""

    do: ActionKind
    model: str | None = None
    """`downgrade_model`: to this model; by default to the next of the route's fallbacks."""
    max_tokens: int | float | None = None
    """`limit_capabilities`: a whole number is the most output tokens of a call, a decimal below 1 a factor."""
    iterations: int | float | None = None
    """`limit_capabilities`: the same for the iterations of a run."""
    max_wait: Duration = 30
    """`throttle`: a call that would have to wait longer is refused."""
    to: str | None = None
    """`webhook`: its name under `webhooks:`; by default the only one there is."""


FieldKind = Literal["model", "cap", "duration", "webhook"]

FIELDS: Final[dict[str, FieldKind]] = {
    "model": "model",
    "max_tokens": "cap",
    "iterations": "cap",
    "max_wait": "duration",
    "to": "webhook",
}
"""What stands in the fields of an `Action`: by this they are checked and put into words."""


class ActionDefinition(NamedTuple):
    """One row of the table."""

    fields: tuple[str, ...] = ()
    """Those of `Action` that belong to it. Of caps at least one must be given."""
    value: str | None = None
    """The field that is meant by a value without a name: `{webhook: ops}`."""
    refuses: Refused | None = None
    """What it may refuse."""
    needs_model: bool = False
    """It has no effect without another model: its own, or a route's fallback."""
    needs_run: bool = False
    """It is about runs: without one it has no effect."""
    needs_reset: bool = False
    """It makes the rest of a budget last until the reset, so it paces what is used up and not what comes back."""
    also: tuple[str, ...] = ()
    """Other words for it in a file."""


ACTIONS: Final[dict[str, ActionDefinition]] = {
    "log": ActionDefinition(also=("log_only",)),
    "callback": ActionDefinition(),
    "downgrade_model": ActionDefinition(("model",), value="model", needs_model=True),
    "limit_capabilities": ActionDefinition(("max_tokens", "iterations")),
    "throttle": ActionDefinition(("max_wait",), value="max_wait", refuses="calls", needs_reset=True),
    "halt_new_runs": ActionDefinition(refuses="new_runs", needs_run=True),
    "halt_run": ActionDefinition(refuses="run", needs_run=True),
    "webhook": ActionDefinition(("to",), value="to"),
}
"""Every action by its word, in the order in which they are listed for people."""


def any_refuses(actions: Iterable[Action], what: Refused) -> bool:
    """Tell whether one of the actions refuses that."""
    return any(ACTIONS[action.do].refuses == what for action in actions)


def any_paces(actions: Iterable[Action]) -> bool:
    """Tell whether one of the actions wants to know what calls use, to pace them."""
    return any(ACTIONS[action.do].needs_reset for action in actions)


def format_action(action: Action) -> str:
    """Format an action: `limit_capabilities (max_tokens x 0.5)`, `webhook ops`."""
    given = {field: getattr(action, field) for field in ACTIONS[action.do].fields}
    caps = [
        f"{field} x {value:g}" if isinstance(value, float) else f"{field} {value:,}"
        for field, value in given.items()
        if FIELDS[field] == "cap" and value is not None
    ]
    if caps:
        return f"{action.do} ({', '.join(caps)})"
    names = [value for field, value in given.items() if FIELDS[field] in {"model", "webhook"} and value]
    return " ".join((action.do, *names))
