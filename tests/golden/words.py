"""What a policy may say, in files and in the environment, and what it comes to once it is loaded.

Loaded the way users do it: a runtime is given the file, and shows its policy.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import describe
import msgspec

from costscope import InvalidPolicy, Runtime
from costscope.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
VARIABLES: dict[str, str] = json.loads((HERE / "environment.json").read_text(encoding="utf-8"))
"""Each variable of docs/policy.md with a value."""

_BESIDE = {
    "COSTSCOPE_BUDGET_TENANT_DAY_WEEK_START": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "weekly"},
    "COSTSCOPE_BUDGET_TENANT_DAY_YEAR_START": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "yearly"},
    "COSTSCOPE_BUDGET_TENANT_DAY_CYCLE_DAY": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "monthly"},
    "COSTSCOPE_WEBHOOK_OPS_URL": {"COSTSCOPE_WEBHOOK_OPS_SECRET_ENV": "OPS_SECRET"},
    "COSTSCOPE_WEBHOOK_OPS_SECRET_ENV": {"COSTSCOPE_WEBHOOK_OPS_URL": "https://ops.example/hook"},
    "COSTSCOPE_WEBHOOK_OPS_TIMEOUT": {
        "COSTSCOPE_WEBHOOK_OPS_URL": "https://ops.example/hook",
        "COSTSCOPE_WEBHOOK_OPS_SECRET_ENV": "OPS_SECRET",
    },
}
_BUDGET = {"COSTSCOPE_BUDGET_TENANT_DAY_RUNS": "7"}
"""A budget needs a limit, and no other variable of the list is this one with this value."""


def fields() -> dict[str, str]:
    """Every field of a policy, with what it takes and its default."""
    return describe.words_of(Policy)


def files() -> dict[str, Any]:
    """Each file of `policies` as it is in force."""
    return {path.name: _loaded(str(path)) for path in sorted((HERE / "policies").iterdir())}


def _loaded(source: str) -> Any:
    try:
        return _in_force(source)
    except InvalidPolicy as error:
        return {"refused": str(error)}


def _in_force(source: str) -> Any:
    with Runtime(policy=source, reload=False) as runtime:
        return msgspec.json.decode(msgspec.json.encode(runtime.policy))


def variables() -> dict[str, Any]:
    """What each variable changes, by the place in the policy."""
    found = {}
    for name, value in VARIABLES.items():
        beside = _BESIDE.get(name, {}) | (_BUDGET if "_BUDGET_" in name else {})
        with environment(beside):
            before = flat(_loaded("env:")) if beside and "_WEBHOOK_" not in name else {}
        with environment(beside | {name: value}):
            after = flat(_loaded("env:"))
        changes = {place: said for place, said in after.items() if before.get(place) != said}
        found[name] = {place: said for place, said in changes.items() if before or said not in _EMPTY}
    with environment(
        {"COSTSCOPE_STORE": "memory://", "COSTSCOPE_POLICY": str(HERE / "policies" / "words.toml")}
    ):
        import costscope

        with costscope.get_runtime() as runtime:
            found["COSTSCOPE_STORE"] = runtime.store.url
            found["COSTSCOPE_POLICY"] = [budget.id for budget in runtime.policy.budgets]
    return found


_EMPTY = (None, [], {})
os.environ["OPS_SECRET"] = "whsec_Z29sZGVuIGdvbGRlbiBnb2xkZW4gZ29sZGVuIQ=="


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let these be the only variables that speak of costscope."""
    before = {name: value for name, value in os.environ.items() if name.startswith("COSTSCOPE_")}
    for name in before:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


def flat(value: Any, path: str = "$") -> dict[str, Any]:
    """The leaves of plain data by their place."""
    if isinstance(value, dict) and value:
        return {
            place: leaf for key, one in value.items() for place, leaf in flat(one, f"{path}.{key}").items()
        }
    if isinstance(value, list) and value:
        return {
            place: leaf
            for number, one in enumerate(value)
            for place, leaf in flat(one, f"{path}[{number}]").items()
        }
    return {path: value}
