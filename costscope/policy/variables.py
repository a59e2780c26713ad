"""The environment variables that say something about the policy: what each is called, and the form of its value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from costscope.policy.sources import POLICY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.policy.document import Steps

__all__ = [
    "BUDGET",
    "MATCH",
    "OF_BUDGETS",
    "OF_WEBHOOKS",
    "PLAIN",
    "STAGE",
    "VARIABLES",
    "WEBHOOK",
    "Field",
    "pattern",
    "speaks",
]

_WHOLE: Final = re.compile(r"[0-9]{1,40}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


def _text(text: str) -> str:
    return text


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def pattern(text: str) -> str | list[str]:
    """One pattern or several, with commas between them."""
    words = _words(text)
    return words[0] if len(words) == 1 else words


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        msg = "is no whole number; write digits such as 1000"
        raise ValueError(msg)
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        msg = "is no number; write digits such as 80 or 2.5"
        raise ValueError(msg)
    return float(text) if "." in text else int(text)


def _switch(text: str) -> bool:
    if text not in {"true", "false"}:
        msg = "is neither true nor false"
        raise ValueError(msg)
    return text == "true"


def _thresholds(text: str) -> list[Any]:
    """`50,80:downgrade_model+webhook`."""
    found: list[Any] = []
    for part in _words(text):
        percent, colon, actions = part.partition(":")
        at = _number(percent)
        found.append({"at": at, "actions": actions.split("+")} if colon else at)
    return found


def _on_denied(text: str) -> object:
    """`raise`, `return`, `return:VALUE`, `wait:30s`."""
    word, colon, value = text.partition(":")
    if word == "return":
        return {"return": value if colon else None}
    return {word: value} if colon else word


class Field(NamedTuple):
    """Where the value of a variable goes in the document, and how it is read. Reading raises ValueError."""

    steps: Steps
    read: Callable[[str], object]


_COUNTED: Final = (
    "TOKENS",
    "INPUT_TOKENS",
    "OUTPUT_TOKENS",
    "MODEL_CALLS",
    "TOOL_CALLS",
    "RUNS",
    "ITERATIONS",
    "CONCURRENT_RUNS",
    "CONCURRENT_CALLS",
)
_LIMITS: Final = {"COST": _text, "WALL_CLOCK": _text} | dict.fromkeys(_COUNTED, _whole)
_CONSTRAINTS: Final = ("COST", "TOKENS", "MODEL_CALLS", "TOOL_CALLS", "ITERATIONS", "WALL_CLOCK")

OF_BUDGETS: Final = (
    {name: Field(("limits", name.lower()), read) for name, read in _LIMITS.items()}
    | {f"CONSTRAINTS_{name}": Field(("constraints", name.lower()), _LIMITS[name]) for name in _CONSTRAINTS}
    | {
        name: Field((name.lower(),), _text)
        for name in ("PERIOD", "TIMEZONE", "WEEK_START", "YEAR_START", "ENFORCEMENT", "ON_LIMIT", "ON_OUTAGE")
    }
    | {
        "CYCLE_DAY": Field(("cycle_day",), _whole),
        "PER": Field(("per",), _words),
        "THRESHOLDS": Field(("thresholds",), _thresholds),
        "ON_DENIED": Field(("on_denied",), _on_denied),
    }
)
OF_WEBHOOKS: Final = {name: Field((name.lower(),), _text) for name in ("URL", "SECRET_ENV", "TIMEOUT")}

STAGE: Final[Steps] = ("routing", 0, "stages", 0)
PLAIN: Final = {
    "COSTSCOPE_UNSCOPED": Field(("unscoped",), _text),
    "COSTSCOPE_CURRENCY": Field(("currency",), _text),
    "COSTSCOPE_RUNAWAY": Field(("runaway",), _switch),
    "COSTSCOPE_RUNAWAY_FAILURES": Field(("runaway", "failures"), _whole),
    "COSTSCOPE_RUNAWAY_BURN_RATE": Field(("runaway", "burn_rate"), _number),
    "COSTSCOPE_RUNAWAY_REPEATS": Field(("runaway", "repeats"), _whole),
    "COSTSCOPE_RUNAWAY_ACTIONS": Field(("runaway", "actions"), _words),
    "COSTSCOPE_ROUTE_MODEL": Field((*STAGE, "model"), _text),
    "COSTSCOPE_ROUTE_FALLBACKS": Field((*STAGE, "fallbacks"), _words),
    "COSTSCOPE_ROUTE_MAX_TOKENS": Field((*STAGE, "max_tokens"), _whole),
}
BUDGET: Final = "COSTSCOPE_BUDGET_"
WEBHOOK: Final = "COSTSCOPE_WEBHOOK_"
MATCH: Final = "_MATCH_"

VARIABLES: Final = (
    POLICY_VARIABLE,
    *PLAIN,
    f"{BUDGET}<NAME>{MATCH}<LABEL>",
    *(f"{BUDGET}<NAME>_{field}" for field in OF_BUDGETS),
    *(f"{WEBHOOK}<NAME>_{field}" for field in OF_WEBHOOKS),
)
"""All there are, with what stands for a name in brackets."""


def speaks(name: str) -> bool:
    """True if a variable of this name is about the policy."""
    return name in PLAIN or name.startswith((BUDGET, WEBHOOK, "COSTSCOPE_RUNAWAY_", "COSTSCOPE_ROUTE_"))
