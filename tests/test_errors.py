"""The tree of errors: drawn as it is, caught as it says, and sent between processes."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import pickle
import re

import pytest

import costscope
from costscope import errors
from costscope.errors import BudgetExceeded, CostscopeError, CostscopeWarning, InvalidPolicy

CLASSES = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing)
    and issubclass(thing, BaseException)
    and thing.__module__.startswith("costscope")
}


def drawn():
    """Class to parent, as the docstring draws them."""
    parents, stack = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^([| +x]*)\b([A-Z]\w+)", line)
        if not found or found.group(2) not in CLASSES:
            continue
        depth = len(found.group(1))
        while stack and stack[-1][0] >= depth:
            stack.pop()
        parents.setdefault(found.group(2), set()).add(stack[-1][1] if stack else None)
        stack.append((depth, found.group(2)))
    return parents


def test_the_drawn_tree_is_the_real_one():
    tree = drawn()
    assert set(tree) == set(CLASSES)
    for name, parents in tree.items():
        bases = {base.__name__ for base in CLASSES[name].__bases__}
        assert parents - {None} <= bases, name
        assert bases & set(CLASSES) <= parents, f"{name} has another parent than drawn"


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_public_and_says_when(name):
    assert getattr(costscope, name) is CLASSES[name]
    assert CLASSES[name].__doc__


def test_one_except_clause_catches_all_of_them():
    apart = {"NotBilled", "CostscopeWarning", "UsageWarning", "StoreWarning"}
    for name, cls in CLASSES.items():
        assert issubclass(cls, CostscopeError) == (name not in apart)
    for name in ("UsageWarning", "StoreWarning"):
        assert issubclass(CLASSES[name], CostscopeWarning)
        assert issubclass(CLASSES[name], UserWarning)


def test_denials_and_store_failures_are_told_apart():
    assert issubclass(errors.StoreUnavailable, errors.StoreError)
    assert issubclass(errors.StoreUnavailable, errors.CallDenied)
    assert not issubclass(errors.StoreUnavailable, BudgetExceeded)
    assert not issubclass(BudgetExceeded, errors.StoreError)
    assert not issubclass(errors.NotBilled, CostscopeError), (
        "the user's own word, not a failure of this library"
    )
    assert issubclass(errors.InvalidInput, ValueError)


def test_each_denial_has_its_kind():
    kinds = set(errors.DenialKind.__args__)
    single = {
        errors.RunHalted: "halted",
        errors.ModelUnpriced: "unpriced",
        errors.CallUnscoped: "unscoped",
        errors.StoreUnavailable: "unavailable",
    }
    assert {cls: cls.kind for cls in single} == single
    assert kinds == {"exhausted", "in_flight", "never_fits", "throttled", *single.values()}


def exceeded():
    return BudgetExceeded(
        "message",
        kind="exhausted",
        budget="daily",
        labels={"tenant": "acme"},
        meter="cost",
        limit=10,
        spent=8,
        held=1,
        requested=5,
        resets_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        retry_after=None,
    )


@pytest.mark.parametrize(
    "error",
    [
        exceeded(),
        InvalidPolicy("is wrong", file="b.yaml", line=3, path="$.budgets[0]"),
        errors.StoreUnavailable("away"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "send",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_errors_survive_the_way_home_from_a_worker(error, send):
    sent = send(error)
    assert type(sent) is type(error)
    assert str(sent) == str(error)
    assert vars(sent) == vars(error)


def test_a_note_survives_too():
    error = exceeded()
    error.add_note("seen in worker 3")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["seen in worker 3"]


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("b.yaml", 3, "b.yaml:3: $.budgets: is wrong"),
        ("b.yaml", None, "b.yaml: $.budgets: is wrong"),
        (None, 3, "<policy>:3: $.budgets: is wrong"),
        (None, None, "<policy>: $.budgets: is wrong"),
    ],
)
def test_a_policy_error_names_the_place(file, line, message):
    error = InvalidPolicy("is wrong", file=file, line=line, path="$.budgets")
    assert str(error) == message
    assert (error.problem, error.file, error.line, error.path) == ("is wrong", file, line, "$.budgets")
