"""What the hooks of a `Guard` answer: typed, never an exception for a refusal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from costscope.errors import DENIALS, CallDenied, DenialKind
from costscope.observe.events.records import RunStatus
from costscope.pricing.money import currency
from costscope.scope.summary import ScopeSummary

if TYPE_CHECKING:
    from decimal import Decimal

DecisionAction = Literal["allow", "downgrade", "limit", "reject", "halt"]
WarningKind = Literal["threshold", "degraded", "shadow", "downgraded", "capped", "usage"]


class DecisionWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the caller should know about a step that may be taken; `str()` gives the message."""

    kind: WarningKind
    """`threshold`: passed; `degraded`, `shadow`: above a limit that lets through; `downgraded`, `capped`: the call is
    to be made otherwise than asked; `usage`: what was reported cannot be believed, the hold was charged."""
    message: str
    budget: str | None = None
    meter: str | None = None
    threshold: float | None = None
    """Percent of the limit."""

    def __str__(self) -> str:
        return self.message


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook has decided, as of this moment.

    Numbers are in the meter's unit: `cost` in nano-units of the currency, tokens, calls.
    """

    allowed: bool
    """Whether the step may be taken; after a step: whether the run may go on."""
    run_id: str
    reason: str = ""
    """Why it is refused, or sent to another model; empty otherwise."""
    kind: DenialKind | None = None
    """Of a refusal, as `CallDenied.kind`."""
    budget: str | None = None
    """The budget that refuses."""
    meter: str | None = None
    retry_after: float | None = None
    """Seconds after which asking again is worth while: other calls hold what is left."""
    resets_at: datetime | None = None
    """When the refusing budget begins anew (UTC)."""
    warnings: tuple[DecisionWarning, ...] = ()
    remaining: dict[str, int] = {}
    """By meter, the least that any budget over the run has left before it refuses."""
    utilisation: float | None = None
    """(spent + held) / limit of the fullest budget of cost over the run; None where there is none."""
    error: CallDenied | None = None
    """The refusal as the decorators would raise it."""

    @property
    def remaining_cost(self) -> Decimal | None:
        """`remaining["cost"]` in units of the currency; None where nothing limits it."""
        left = self.remaining.get("cost")
        return None if left is None else currency(left)

    @property
    def action(self) -> DecisionAction:
        """In a word: `halt` ends the run, `reject` this step only."""
        if self.allowed:
            return "allow"
        return "halt" if self.kind is not None and DENIALS[self.kind].ends_run else "reject"

    def raise_if_denied(self) -> None:
        """Raise what the decorators would have raised.

        Raises:
            CallDenied: it was refused.
        """
        if self.error is not None:
            raise self.error


class AdmissionDecision(Decision, frozen=True, kw_only=True):
    """Whether a run may start."""


class IterationDecision(Decision, frozen=True, kw_only=True):
    """Whether the run's loop may take another turn."""

    iteration: int = 0
    """Which one it is: 1, 2, 3 ... in this process; 0 if it was refused."""

    @property
    def remaining_iterations(self) -> int | None:
        """How many more there may be behind this one; None where nothing limits them."""
        return self.remaining.get("iterations")


class ModelDecision(Decision, frozen=True, kw_only=True):
    """Whether a model may be called, which one, and how."""

    call_id: str = ""
    """For `after_model_call`."""
    model: str = ""
    """What was asked for."""
    effective_model: str = ""
    """What is to be called: a route or a threshold may send the call elsewhere."""
    max_tokens: int | None = None
    """The output cap that the call is to be made with; None: it needs none."""
    request: dict[str, Any] = {}
    """The call's arguments as they are to be passed on: the effective model, the cap under the provider's name."""
    held: dict[str, int] = {}
    """What is reserved for it, by meter."""
    saved: int | None = None
    """What the hold is cheaper than that of the model asked for, in nano-units; None where it was not downgraded."""
    instead: Any = None
    """What the policy (`on_denied: {return: ...}`) wants a refused call to answer."""

    @property
    def was_downgraded(self) -> bool:
        """True if it goes to another model than asked."""
        return self.allowed and self.effective_model != self.model

    @property
    def action(self) -> DecisionAction:
        """As `Decision.action`; `downgrade`: to another model, `limit`: with a lower cap."""
        if self.was_downgraded:
            return "downgrade"
        if self.allowed and any(warning.kind == "capped" for warning in self.warnings):
            return "limit"
        return super().action


class ToolDecision(Decision, frozen=True, kw_only=True):
    """Whether a tool may be called."""

    call_id: str = ""
    """For `after_tool_call`."""
    tool: str = ""
    held: dict[str, int] = {}
    """What is reserved for it, by meter."""
    instead: Any = None
    """What the policy (`on_denied: {return: ...}`) wants a refused call to answer."""

    @property
    def remaining_tool_calls(self) -> int | None:
        """How many more there may be behind this one; None where nothing limits them."""
        return self.remaining.get("tool_calls")


class SettledDecision(Decision, frozen=True, kw_only=True):
    """What a step has cost, and whether the run may go on after it."""

    call_id: str = ""
    """Of a model or tool call; empty for an iteration."""
    charged: dict[str, int] = {}
    """What was entered into the books, by meter; nothing for a call that was not billed."""

    @property
    def cost(self) -> Decimal:
        """`charged["cost"]` in units of the currency."""
        return currency(self.charged.get("cost", 0))


class RunSummary(Decision, frozen=True, kw_only=True):
    """How a run has ended. `allowed` is False for one that was halted; `reason` says why it ended as it did."""

    status: RunStatus
    summary: ScopeSummary
    """What it came to in this process, by model, tool and label; `scope.summary()` of a run in a scope."""
    metadata: dict[str, Any] = {}
    """As given to `on_run_start`."""
    unsettled: int = 0
    """Calls that were still open; their whole hold was charged."""

    @property
    def cost(self) -> Decimal:
        """What it has spent, in units of the currency."""
        return self.summary.spent
