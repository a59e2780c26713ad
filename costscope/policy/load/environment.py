"""A policy in environment variables: `COSTSCOPE_BUDGET_TENANT_DAY_COST=5.00` and the like.

Every variable is one value at one place of the plain document; the rest is what every policy goes through, and an
error names the variable.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from costscope.ledger.meters import METERS, MONEY
from costscope.policy.load.document import Document, copy_plain, cut, suggest
from costscope.policy.load.sources import ENVIRONMENT, POLICY_VARIABLE
from costscope.policy.model.controls import WALL_CLOCK, Constraints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.policy.load.document import Steps


_WHOLE: Final = re.compile(r"[0-9]{1,40}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def pattern(text: str) -> str | list[str]:
    """Read one pattern or several, with commas between them."""
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
    """Read `50,80:downgrade_model+webhook`."""
    found: list[Any] = []
    for part in _words(text):
        percent, colon, actions = part.partition(":")
        at = _number(percent)
        found.append({"at": at, "actions": actions.split("+")} if colon else at)
    return found


def _on_denied(text: str) -> object:
    """Read `raise`, `return`, `return:VALUE`, `wait:30s`."""
    word, colon, value = text.partition(":")
    if word == "return":
        return {"return": value if colon else None}
    return {word: value} if colon else word


class Field(NamedTuple):
    """Where the value of a variable goes in the document, and how it is read. Reading raises ValueError."""

    steps: Steps
    read: Callable[[str], object]


_LIMITS: Final = {
    name.upper(): str if name in MONEY else _whole for name, meter in METERS.items() if meter.kind != "order"
} | {WALL_CLOCK.upper(): str}
_CONSTRAINTS: Final = tuple(field.upper() for field in Constraints.__struct_fields__)

OF_BUDGETS: Final = (
    {name: Field(("limits", name.lower()), read) for name, read in _LIMITS.items()}
    | {f"CONSTRAINTS_{name}": Field(("constraints", name.lower()), _LIMITS[name]) for name in _CONSTRAINTS}
    | {
        name: Field((name.lower(),), str)
        for name in ("PERIOD", "TIMEZONE", "WEEK_START", "YEAR_START", "ENFORCEMENT", "ON_LIMIT", "ON_OUTAGE")
    }
    | {
        "CYCLE_DAY": Field(("cycle_day",), _whole),
        "PER": Field(("per",), _words),
        "THRESHOLDS": Field(("thresholds",), _thresholds),
        "ON_DENIED": Field(("on_denied",), _on_denied),
    }
)
OF_WEBHOOKS: Final = {name: Field((name.lower(),), str) for name in ("URL", "SECRET_ENV", "TIMEOUT")}

STAGE: Final[Steps] = ("routing", 0, "stages", 0)
PLAIN: Final = {
    "COSTSCOPE_UNSCOPED": Field(("unscoped",), str),
    "COSTSCOPE_CURRENCY": Field(("currency",), str),
    "COSTSCOPE_RUNAWAY": Field(("runaway",), _switch),
    "COSTSCOPE_RUNAWAY_FAILURES": Field(("runaway", "failures"), _whole),
    "COSTSCOPE_RUNAWAY_BURN_RATE": Field(("runaway", "burn_rate"), _number),
    "COSTSCOPE_RUNAWAY_REPEATS": Field(("runaway", "repeats"), _whole),
    "COSTSCOPE_RUNAWAY_ACTIONS": Field(("runaway", "actions"), _words),
    "COSTSCOPE_ROUTE_MODEL": Field((*STAGE, "model"), str),
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


def is_policy_variable(name: str) -> bool:
    """Tell whether a variable of this name is about the policy."""
    return name in PLAIN or name.startswith((BUDGET, WEBHOOK, "COSTSCOPE_RUNAWAY_", "COSTSCOPE_ROUTE_"))


def environment_source(environ: Mapping[str, str] | None = None) -> str | None:
    """Find where the policy is: `$COSTSCOPE_POLICY`, `env:` if other variables say more, or None.

    Args:
        environ: the environment variables; by default those of the process.
    """
    given = os.environ if environ is None else environ
    return ENVIRONMENT if any(map(is_policy_variable, given)) else given.get(POLICY_VARIABLE) or None


def environment_documents(variables: Mapping[str, str]) -> list[Document]:
    """Write what the variables say as one document; none if they say nothing.

    Raises:
        InvalidPolicy: a variable with one of our prefixes that does not exist, or whose value has the wrong form.
    """
    given = {name: variables[name] for name in sorted(filter(is_policy_variable, variables))}
    if not given:
        return []
    writer = _Writer()
    for name, text in given.items():
        writer.write(name, text)
    return [copy_plain(writer.document())]


class _Writer:
    """Fills a document from variables, one after the other."""

    def __init__(self) -> None:
        self._data: dict[Any, Any] = {}
        """Lists are mappings from their indexes until all is written."""
        self._budgets: list[str] = []
        self._moved: dict[Steps, tuple[Document, Steps]] = {}

    def document(self) -> Document:
        data = dict(self._data)
        if "budgets" in data:
            data["budgets"] = list(data["budgets"].values())
        if "routing" in data:
            stage = data["routing"][0]["stages"][0]
            if "fallbacks" in stage:
                stage["downgrade_on"] = {"soft_threshold_exceeded": True}
            data["routing"] = [{"id": "environment", "stages": [stage]}]
        return Document(data, "the environment", moved=self._moved)

    def write(self, name: str, text: str) -> None:
        steps, read = self._find(name)
        origin = Document(None, name)
        if not text:
            origin.refuse("is empty; give it a value, or unset it", steps)
        try:
            value = read(text)
        except ValueError as error:
            origin.refuse(f"{cut(text)} {error}", steps)
        inside = self._data
        for step in steps[:-1]:
            inner = inside.setdefault(step, {})
            if inner is True:  # COSTSCOPE_RUNAWAY, and one of its details
                inner = inside[step] = {}
            elif inner is False:
                origin.refuse("COSTSCOPE_RUNAWAY is false; unset one of the two", steps)
            inside = inner
        inside[steps[-1]] = value
        self._moved[steps] = (origin, steps)

    def _find(self, name: str) -> Field:
        if name in PLAIN:
            return PLAIN[name]
        if name.startswith(WEBHOOK):
            return _split(name, WEBHOOK, "webhooks", OF_WEBHOOKS)
        if not name.startswith(BUDGET):
            _refuse_unknown(name, tuple(PLAIN))
        owner, _, label = name.removeprefix(BUDGET).partition(MATCH)
        if owner and label:
            field = Field(("budgets", _id(owner), "match", label.lower()), pattern)
        else:
            field = _split(name, BUDGET, "budgets", OF_BUDGETS)
        budget = str(field.steps[1])
        if budget not in self._budgets:
            place: Steps = ("budgets", len(self._budgets))
            self._budgets.append(budget)
            self._data.setdefault("budgets", {})[place[1]] = {"id": budget}
            self._moved[place] = (Document(None, f"{name} and others"), ())
        return field._replace(steps=("budgets", self._budgets.index(budget), *field.steps[2:]))


def _split(name: str, prefix: str, kind: str, fields: Mapping[str, Field]) -> Field:
    """Split a name into whose variable it is, and for what; `A_INPUT_TOKENS` is the input tokens of `a`."""
    rest = name.removeprefix(prefix)
    for suffix in sorted(fields, key=len, reverse=True):
        owner = rest.removesuffix(f"_{suffix}")
        if owner and owner != rest:
            return Field((kind, _id(owner), *fields[suffix].steps), fields[suffix].read)
    return _refuse_unknown(name, tuple(f"{prefix}<NAME>_{suffix}" for suffix in fields))


def _refuse_unknown(name: str, known: tuple[str, ...]) -> NoReturn:
    Document(None, name).refuse(f"no such variable; {suggest(name, known)}", ())


def _id(text: str) -> str:
    return text.lower().replace("_", "-")
