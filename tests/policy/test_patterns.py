"""Globs: `*` is any text, nothing else is special."""

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.policy.model.patterns import matches

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
