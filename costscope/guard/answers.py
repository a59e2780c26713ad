"""Making decisions: of what is allowed, of what was refused, and of how a run stands after a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from costscope.errors import RunHalted
from costscope.guard.decisions import Decision, DecisionWarning
from costscope.guard.standing import left, warnings

if TYPE_CHECKING:
    from costscope.errors import CallDenied
    from costscope.guard.opened import OpenRun

__all__ = ["afterwards", "allowed", "refused", "why"]

D = TypeVar("D", bound=Decision)


def allowed(
    cls: type[D], opened: OpenRun, *, more_warnings: tuple[DecisionWarning, ...] = (), **fields: Any
) -> D:
    """The step may be taken."""
    return cls(allowed=True, **_standing(opened, more_warnings), **fields)


def refused(cls: type[D], opened: OpenRun, error: CallDenied, **fields: Any) -> D:
    """It may not."""
    return cls(allowed=False, **why(error), **_standing(opened, ()), **fields)


def afterwards(
    cls: type[D], opened: OpenRun, *, more_warnings: tuple[DecisionWarning, ...] = (), **fields: Any
) -> D:
    """A step was taken: whether the run may go on."""
    try:
        opened.run.check()
    except RunHalted as error:
        return cls(allowed=False, **why(error), **_standing(opened, more_warnings), **fields)
    return allowed(cls, opened, more_warnings=more_warnings, **fields)


def why(error: CallDenied) -> dict[str, Any]:
    """What a refusal says, as the fields of a decision."""
    return {
        "reason": str(error),
        "kind": error.kind,
        "budget": getattr(error, "budget", None),
        "meter": getattr(error, "meter", None),
        "retry_after": getattr(error, "retry_after", None),
        "resets_at": getattr(error, "resets_at", None),
        "error": error,
    }


def _standing(opened: OpenRun, more_warnings: tuple[DecisionWarning, ...]) -> dict[str, Any]:
    """What every decision says, as last seen; `left` looks, and so comes first."""
    figures = left(opened.scope)
    return {"run_id": opened.run_id, "warnings": (*more_warnings, *warnings(opened.scope)), **figures}
