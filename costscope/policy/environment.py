"""A policy in environment variables: `COSTSCOPE_BUDGET_TENANT_DAY_COST=5.00` and the like.

Every variable is one value at one place of the plain document; the rest is what every policy goes through, and an
error names the variable.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, NoReturn

from costscope.policy.document import Document, cut
from costscope.policy.sources import ENVIRONMENT, POLICY_VARIABLE
from costscope.policy.variables import (
    BUDGET,
    MATCH,
    OF_BUDGETS,
    OF_WEBHOOKS,
    PLAIN,
    STAGE,
    WEBHOOK,
    Field,
    pattern,
    speaks,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.policy.document import Steps

__all__ = ["environment_documents", "environment_source"]


def environment_source(environ: Mapping[str, str] | None = None) -> str | None:
    """Where the environment says that the policy is: `$COSTSCOPE_POLICY`, `env:` if other variables say more, or None.

    Args:
        environ: the environment variables; by default those of the process.
    """
    given = os.environ if environ is None else environ
    return ENVIRONMENT if any(map(speaks, given)) else given.get(POLICY_VARIABLE) or None


def environment_documents(variables: Mapping[str, str]) -> list[Document]:
    """What the variables say, as one document; none if they say nothing.

    Raises:
        InvalidPolicy: a variable with one of our prefixes that does not exist, or whose value has the wrong form.
    """
    given = {name: variables[name] for name in sorted(filter(speaks, variables))}
    if not given:
        return []
    writer = _Writer()
    for name, text in given.items():
        writer.write(name, text)
    return [writer.document()]


class _Writer:
    """Fills a document from variables, one after the other."""

    def __init__(self) -> None:
        self._budgets: dict[str, dict[Any, Any]] = {}
        self._route: dict[Any, Any] = {}
        self._data: dict[Any, Any] = {}
        self._moved: dict[Steps, tuple[Document, Steps]] = {}

    def document(self) -> Document:
        data = dict(self._data)
        if self._budgets:
            data["budgets"] = list(self._budgets.values())
        if self._route:
            if "fallbacks" in self._route:
                self._route["downgrade_on"] = {"soft_threshold_exceeded": True}
            data["routing"] = [{"id": "environment", "stages": [self._route]}]
        return Document(data, "the environment", moved=self._moved)

    def write(self, name: str, text: str) -> None:
        if name.startswith(BUDGET):
            self._write_budget(name, text)
        elif name.startswith(WEBHOOK):
            owner, field = self._split(name, WEBHOOK, OF_WEBHOOKS)
            self._put(name, self._data, ("webhooks", owner, *field.steps), self._read(name, text, field))
        elif name not in PLAIN:
            self._unknown(name, tuple(PLAIN))
        elif PLAIN[name].steps[:4] == STAGE:
            self._moved[PLAIN[name].steps] = (Document(None, name), PLAIN[name].steps)
            self._route[PLAIN[name].steps[-1]] = self._read(name, text, PLAIN[name])
        else:
            self._put(name, self._data, PLAIN[name].steps, self._read(name, text, PLAIN[name]))

    def _write_budget(self, name: str, text: str) -> None:
        owner, between, label = name.removeprefix(BUDGET).partition(MATCH)
        if between and owner and label:
            owner, field = _id(owner), Field(("match", label.lower()), pattern)
        else:
            owner, field = self._split(name, BUDGET, OF_BUDGETS)
        budget = self._budgets.get(owner)
        if budget is None:
            budget = self._budgets[owner] = {"id": owner}
            self._moved["budgets", len(self._budgets) - 1] = (Document(None, f"{name} and others"), ())
        place: Steps = ("budgets", list(self._budgets).index(owner))
        self._put(name, budget, field.steps, self._read(name, text, field), place)

    def _split(self, name: str, prefix: str, fields: Mapping[str, Field]) -> tuple[str, Field]:
        """Whose variable this is, and for what; `A_INPUT_TOKENS` is the input tokens of `a`."""
        rest = name.removeprefix(prefix)
        for suffix in sorted(fields, key=len, reverse=True):
            owner = rest.removesuffix(f"_{suffix}")
            if owner and owner != rest:
                return _id(owner), fields[suffix]
        return self._unknown(name, tuple(f"{prefix}<NAME>_{suffix}" for suffix in fields))

    def _unknown(self, name: str, known: tuple[str, ...]) -> NoReturn:
        near = difflib.get_close_matches(name[:128], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        Document(None, name).refuse(f"no such variable; {hint}", ())

    def _read(self, name: str, text: str, field: Field) -> object:
        if not text:
            Document(None, name).refuse("is empty; give it a value, or unset it", field.steps)
        try:
            return field.read(text)
        except ValueError as error:
            Document(None, name).refuse(f"{cut(text)} {error}", field.steps)

    def _put(
        self, name: str, mapping: dict[Any, Any], steps: Steps, value: object, place: Steps = ()
    ) -> None:
        for step in steps[:-1]:
            inner = mapping.setdefault(step, {})
            if not isinstance(inner, dict):  # COSTSCOPE_RUNAWAY, and one of its details
                inner = mapping[step] = {} if inner is True else self._off(name, steps)
            mapping = inner
        mapping[steps[-1]] = value
        self._moved[*place, *steps] = (Document(None, name), (*place, *steps))

    def _off(self, name: str, steps: Steps) -> NoReturn:
        Document(None, name).refuse("COSTSCOPE_RUNAWAY is false; unset one of the two", steps)


def _id(text: str) -> str:
    return text.lower().replace("_", "-")
