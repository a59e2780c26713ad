"""TOML: the same policies, and lines found although the parser gives none."""

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import parse_policy
from costscope.policy.load.toml import parse_toml

POLICY = """\
# company policy
unscoped = "deny"

[[budgets]]
id = "tenant"
per = [
  "tenant",

  "user",   # and each of its users
]
[budgets.limits]
cost = "1.00"

[[budgets]]
id = "text"
timezone = '''
UTC'''
match = { plan = "free", user = "x" }
limits.model_calls = 3
limits.cost = 1_000.5
"""


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ((), 1),
        (("unscoped",), 2),
        (("budgets",), 4),
        (("budgets", 0), 4),
        (("budgets", 0, "id"), 5),
        (("budgets", 0, "per"), 6),
        (("budgets", 0, "per", 1), 6),
        (("budgets", 0, "limits"), 11),
        (("budgets", 0, "limits", "cost"), 12),
        (("budgets", 1), 14),
        (("budgets", 1, "timezone"), 16),
        (("budgets", 1, "match", "user"), 18),
        (("budgets", 1, "limits", "model_calls"), 19),
        (("budgets", 1, "limits", "cost"), 20),
        (("budgets", 2), None),
        (("budgets", 0, "limits", "tokens"), None),
    ],
)
def test_the_line_is_that_on_which_the_statement_begins(steps, line):
    assert parse_toml(POLICY).line(steps) == line


def test_the_search_for_a_line_gives_up_rather_than_take_long():
    text = "a = '''" + "\n" * 5000 + "'''\nb = 1\n"
    assert parse_toml(text).line(("b",)) in {5002, None}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "empty"),
        (" \n", 1, "empty"),
        ("a = 1\na = 2\n", 2, "not valid TOML"),
        ("a = 1\n\0", 2, "not valid TOML"),
        ("a = 1\nb = [1,\n", 2, "not valid TOML"),
        ("a = 010\n", 1, "not valid TOML"),
        ("a = " + "9" * 5000, None, "not valid TOML"),
        ("a = 1\nb" + ".b" * 100_000 + " = 1", 2, "more than 128 dots on one line"),
        ("a = 1\n[b" + ".b" * 100_000 + "]", 2, "more than 128 dots on one line"),
        ("a = " + "[" * 100_000, None, "nested more than 32 levels"),
        ("a = " + "{b=" * 50_000, None, "nested more than 32 levels"),
    ],
)
def test_refused_with_line_and_reason(text, line, problem):
    with pytest.raises(InvalidPolicy) as caught:
        parse_toml(text, "budgets.toml")
    assert problem in caught.value.problem
    assert caught.value.line == line
    assert caught.value.file == "budgets.toml"


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("a" + ".a" * 60 + " = 1\n", 1, "$.a.a.a.a"),
        ('[[budgets]]\nid = "x"\n\n[budgets.limits]\ncost = nan\n', 5, "$.budgets[0].limits.cost"),
        ('[[budgets]]\nid = "x"\n\n[budgets.limits]\ncost = 1e400\n', 5, "$.budgets[0].limits.cost"),
        ('[[budgets]]\nid = "x"\n\n[budgets.limits]\ncost = 2026-01-01\n', 5, "$.budgets[0].limits.cost"),
        ('[[budgets]]\nid = "x"\nlimits.tokens = 1.5\n', 3, "$.budgets[0].limits.tokens"),
        ('[[budgets]]\nid = "x"\nlimits = {}\n', 3, "$.budgets[0].limits"),
        ('[budgets]\nid = "x"\n', 1, "$.budgets"),
    ],
)
def test_what_the_schema_refuses_has_its_line_too(text, line, path):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text, "toml", file="budgets.toml")
    assert (caught.value.line, caught.value.path) == (line, path)
