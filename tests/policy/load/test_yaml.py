"""The YAML that is read, the YAML that is refused, and that each complaint has its line."""

import math
import time

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load.yaml import parse_yaml


def refusal(text):
    with pytest.raises(InvalidPolicy) as caught:
        parse_yaml(text, "budgets.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("12", 12),
        ("-5", -5),
        ("0", 0),
        ("0.15", 0.15),
        ("100.00", 100.0),
        ("9007199254740993", 2**53 + 1),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("acme", "acme"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("1.2.3", "1.2.3"),
        ("12ab", "12ab"),
        ("v1", "v1"),
        ("=", "="),
        ("a:b", "a:b"),
        ("'010'", "010"),
        ('"1:30"', "1:30"),
        ("'<<'", "<<"),
        ("''", ""),
        ('"null"', "null"),
        ("|\n  12\n", "12\n"),
    ],
)
def test_scalars_mean_what_they_say(scalar, value):
    data = parse_yaml(f"a: {scalar}").data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize(
    "scalar",
    [
        "010",
        "0x10",
        "0b1",
        "0o7",
        "1:30",
        "12:30:45",
        "1_000",
        "1_000.5",
        ".nan",
        ".NaN",
        ".inf",
        "-.inf",
        "+5",
        "1e3",
        "1E-3",
        "1.5e3",
        ".5",
        "5.",
        "00",
        "1e400",
        "9" * 41,
        "0." + "1" * 21,
        "190:20:30.15",
        "+.inf",
    ],
)
def test_scalars_on_which_yaml_versions_disagree_are_refused(scalar):
    error = refusal(f"x: 1\na:\n  - {scalar}\n")
    assert error.line == 3
    assert error.path == "$.a[0]"
    assert "quote it" in error.problem


def test_no_plain_number_is_read_otherwise_than_python_reads_its_digits():
    for text in ("7", "10", "0.1", "123456.789"):
        assert parse_yaml(text).data == float(text)
        assert math.isfinite(parse_yaml(text).data)


@pytest.mark.parametrize(
    ("text", "line", "path", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "$.a", "duplicate key 'a', first on line 1"),
        ("a: 1\n'a': 3\n", 2, "$.a", "duplicate key"),
        ("x:\n  - a: {b: 1, b: 2}\n", 2, "$.x[0].a.b", "duplicate key"),
        ("a: &anchor 1\n", 1, "$", "anchor &anchor"),
        ("a: 1\nb: *other\n", 2, "$", "alias *other"),
        ("a: 1\n<<: {b: 2}\n", 2, "$['<<']", "merge keys"),
        ("a: !!int '3'\n", 1, "$", "tags are not supported"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "$", "tags are not supported"),
        ("a: !custom x\n", 1, "$", "tags are not supported"),
        ("! a\n", 1, "$", "tag"),
        ("a: 1\n---\nb: 2\n", 2, "$", "a second document"),
        ("a:\n", 1, "$.a", "the value is missing"),
        ("a: 1\nb:\nc: 2\n", 2, "$.b", "the value is missing"),
        ("- 1\n-\n- 2\n", 2, "$[1]", "the value is missing"),
        ("1: a\n", 1, "$['1']", "is not text; quote it"),
        ("null: a\n", 1, "$", "is not text; quote it"),
        ("? [a]\n: b\n", 1, "$", "a mapping or list as a key"),
        ("{{a: b}: c}\n", 1, "$", "a mapping or list as a key"),
        ("a: 1\nb: [1, 2\n", 3, "$.b", "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "$.a", "not valid YAML"),
        ("a: 'x\n", 2, "$", "not valid YAML"),
        ('a: "\\UFFFFFFFF"\n', 1, "$", "not valid YAML"),
        ('a: 1\nb: "\\ud800"\n', 2, "$.b", "lone surrogate"),
        ('"\\ud800": 1\n', 1, "$", "lone surrogate"),
        ("%YAML 2.0\n---\na: 1\n", 1, "$", "not valid YAML"),
        (f"%YAML {'9' * 5000}.1\n---\na: 1\n", 1, "$", "not valid YAML"),
        ("a: 1\nb: x\0y\n", 2, "$", "U+0000"),
        ("a: 1\nb: x\ud800y\n", 2, "$", "U+D800"),
        ("", 1, "$", "empty"),
        ("# nothing\n\n", None, "$", "empty"),
        ("---\n", None, "$", "empty"),
        ("---\n...\n", None, "$", "empty"),
    ],
)
def test_refused_with_line_path_and_reason(text, line, path, problem):
    error = refusal(text)
    assert problem in error.problem
    assert error.file == "budgets.yaml"
    assert error.line is not None
    if line is not None:
        assert error.line == line
    if path != "$":
        assert error.path.startswith(path)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200000,
        "{" * 200000,
        "[" * 33 + "]" * 33,
        "{a: " * 33 + "1" + "}" * 33,
        "- " * 100000,
        "? " * 100000,
        "\n".join(" " * n + "a:" for n in range(500)),
        "a: " + "[" * 200000,
    ],
    ids=["brackets", "braces", "33 lists", "33 mappings", "dashes", "question marks", "indents", "value"],
)
def test_deep_nesting_is_refused_at_once(text):
    begun = time.process_time()
    error = refusal(text)
    assert "nested more than 32 levels" in error.problem or "as a key" in error.problem
    assert time.process_time() - begun < 5


def test_32_levels_are_read():
    data = parse_yaml("[" * 32 + "]" * 32).data
    for _ in range(31):
        (data,) = data
    assert data == []


def test_billion_laughs_end_at_the_first_anchor():
    text = 'a: &a ["lol","lol"]\n' + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    assert "anchor &a" in refusal(text).problem


def test_every_part_has_its_line():
    document = parse_yaml(
        "# policy\nbudgets:\n  - id: a\n    limits:\n      cost: 1\n  - {id: b,\n     per: [x,\n y]}\n"
    )
    where = {
        ("budgets",): 2,
        ("budgets", 0): 3,
        ("budgets", 0, "limits", "cost"): 5,
        ("budgets", 1): 6,
        ("budgets", 1, "per"): 7,
        ("budgets", 1, "per", 1): 8,
    }
    assert {steps: document.line(steps) for steps in where} == where
    assert document.line(("nothing",)) is None
