"""Globs, whether a `match` holds for a scope, and an index that finds the same budgets as a look at each."""

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.policy import Budget, Policy, rules_hold, rules_of
from costscope.policy.model import patterns
from costscope.policy.model.patterns import matches
from costscope.policy.resolve.resolved import resolve_budgets

# other work on the machine must not decide whether a test passes
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("acme", "acme", True),
        ("acme", "Acme", False),
        ("*", "x", True),
        ("acme-*", "acme-", True),
        ("acme-*", "acme", False),
        ("*-eu", "acme-eu", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("*b*b*", "b", False),
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("a?c", "abc", False),
        ("[ab]", "a", False),
        ("a.c*", "abcd", False),
    ],
)
def test_examples(pattern, value, fits):
    assert matches(pattern, value) is fits


@unhurried
@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_glob_means_what_the_regular_expression_means(pattern, value):
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, value) is bool(re.fullmatch(expression, value, re.DOTALL))


def test_no_pattern_makes_matching_slow():
    begun = time.process_time()
    assert not matches("*a" * 60 + "*b", "a" * 128)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("match", "labels", "holds"),
    [
        ({}, {}, True),
        ({}, {"tenant": "acme"}, True),
        ({"tenant": "acme"}, {"tenant": "acme", "run": "1"}, True),
        ({"tenant": "acme"}, {"tenant": "Acme"}, False),
        ({"tenant": "acme"}, {}, False),
        ({"tenant": "*"}, {"tenant": "x"}, True),
        ({"tenant": "*"}, {"run": "x"}, False),
        ({"tenant": "ac*"}, {"tenant": "acme"}, True),
        ({"tenant": ("acme", "b*")}, {"tenant": "beta"}, True),
        ({"tenant": ("acme", "b*")}, {"tenant": "gamma"}, False),
        ({"user": None}, {"tenant": "acme"}, True),
        ({"user": None}, {"user": "u"}, False),
        ({"tenant": "acme", "user": None}, {"tenant": "acme", "user": "u"}, False),
        ({"tenant": "cafe\u0301"}, {"tenant": "caf\u00e9"}, True),
        ({"tenant": ("cafe\u0301*", "x")}, {"tenant": "caf\u00e9s"}, True),
    ],
)
def test_match(match, labels, holds):
    assert rules_hold(rules_of(match), labels) is holds
    assert bool(resolve_budgets(Policy(budgets=(Budget(id="b", match=match),)), labels)) is holds


_NAMES = st.sampled_from(["tenant", "user", "workflow", "run"])
_TEXT = st.text("ab\u00e9-!", min_size=1, max_size=3)
_PATTERN = st.one_of(
    _TEXT,
    st.just("*"),
    st.text("ab*", min_size=1, max_size=4),
    st.sampled_from(["!a", "!*", "a!", "e\u0301*", "a*e\u0301"]),
)
_MATCH = st.dictionaries(
    _NAMES, st.one_of(_PATTERN, st.none(), st.lists(_PATTERN, max_size=3).map(tuple)), max_size=4
)
_PER = st.sets(_NAMES).map(tuple)
_LABELS = st.dictionaries(_NAMES, _TEXT, max_size=4)


@unhurried
@given(st.lists(st.tuples(_MATCH, _PER), max_size=12), st.lists(_LABELS, min_size=1, max_size=6))
def test_the_index_finds_what_a_look_at_each_budget_finds_in_the_same_order(rules, scopes):
    policy = Policy(
        budgets=tuple(Budget(id=f"b{at}", match=match, per=per) for at, (match, per) in enumerate(rules))
    )
    for labels in scopes:
        expected = [budget for budget in policy.ranked if rules_hold(rules_of(budget.match), labels)]
        assert [one.id for one in resolve_budgets(policy, labels)] == [one.id for one in expected]


def test_a_new_combination_of_labels_is_compared_only_with_the_budgets_that_can_match_it(monkeypatch):
    """Of each kind there are two hundred, and the label that tells them apart is looked up."""
    kinds = [
        lambda at: {"tenant": f"t{at}"},
        lambda at: {"tenant": "acme", "user": f"u{at}"},
        lambda at: {"user": f"u{at}", "tenant": "acme"},
        lambda at: {"tenant": f"team-{at}-*"},
        lambda at: {"workflow": (f"w{at}", f"x{at}")},
        lambda at: {"tenant": f"s{at}", "run": None},
        lambda at: {"tenant": "*", "agent": f"a{at}"},
    ]
    matches = [kind(at) for kind in kinds for at in range(200)]
    policy = Policy(budgets=tuple(Budget(id=f"b{at}", match=match) for at, match in enumerate(matches)))
    compared = []
    monkeypatch.setattr(patterns, "rules_hold", lambda *asked: compared.append(asked) or rules_hold(*asked))
    for labels, found in [
        ({"tenant": "t7"}, 1),
        ({"tenant": "acme", "user": "u7"}, 2),
        ({"tenant": "team-7-x"}, 1),
        ({"tenant": "acme", "workflow": "x7"}, 1),
        ({"tenant": "s7"}, 1),
        ({"tenant": "s7", "run": "r"}, 0),
        ({"tenant": "new", "agent": "a7", "user": "new"}, 1),
        ({}, 0),
    ]:
        compared.clear()
        assert len(resolve_budgets(policy, labels)) == found
        assert len(compared) <= 2
