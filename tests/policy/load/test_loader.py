"""Loading a policy: files, data, and what is said about those that cannot be one."""

import os
import pickle
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidPolicy
from costscope.ledger.meters import COUNTERS, MAX_AMOUNT
from costscope.policy import Budget, Policy
from costscope.policy.load.loader import load_policy, parse_policy

# other work on the machine must not decide whether a test passes
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

YAML = """\
budgets:
  - id: tenant-month
    match: {tenant: "*"}
    per: [tenant]
    period: monthly
    timezone: Europe/Berlin
    limits:
      cost: "100.00"
      model_calls: 1000
  - id: trial
    match:
      plan: [free, "trial-*"]
      user: null
    period: weekly
    week_start: sunday
    limits: {cost: 0.5, tokens: 0}
    on_outage: open
prices:
  models:
    gpt-4o-mini: {input: "0.15", output: "0.60"}
  tools: {web_search: "0.01"}
unscoped: allow
"""

TOML = """\
unscoped = "allow"

[[budgets]]
id = "tenant-month"
match = { tenant = "*" }
per = ["tenant"]
period = "monthly"
timezone = "Europe/Berlin"
limits = { cost = "100.00", model_calls = 1_000 }

[[budgets]]
id = "trial"
match = { plan = ["free", "trial-*"] }
period = "weekly"
week_start = "sunday"
on_outage = "open"
limits = { cost = 0.5, tokens = 0 }

[prices.models.gpt-4o-mini]
input = "0.15"
output = "0.60"

[prices.tools]
web_search = "0.01"
"""


def budget_yaml(**changes):
    fields = {"id": "x", "limits": '{cost: "1"}'} | changes
    return "budgets:\n  -\n" + "".join(f"    {name}: {value}\n" for name, value in fields.items())


def refusal(text, format_="yaml"):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text, format_, file="budgets.yaml")
    return caught.value


def test_a_yaml_file_is_read_with_everything_in_it(tmp_path):
    path = tmp_path / "budgets.yaml"
    path.write_text(YAML, "utf-8")
    policy = load_policy(str(path))
    monthly, trial = policy.budgets
    assert (monthly.id, monthly.per, monthly.period, monthly.timezone) == (
        "tenant-month",
        ("tenant",),
        "monthly",
        "Europe/Berlin",
    )
    assert monthly.ceilings == (("cost", 100_000_000_000), ("model_calls", 1000))
    assert trial.match == {"plan": ("free", "trial-*"), "user": None}
    assert trial.ceilings == (("cost", 500_000_000), ("tokens", 0))
    assert (monthly.on_outage, trial.on_outage, trial.week_start) == ("closed", "open", "sunday")
    assert policy.prices.models["gpt-4o-mini"].input == "0.15"
    assert policy.prices.tools == {"web_search": "0.01"}
    assert (policy.unscoped, policy.currency) == ("allow", "USD")


def test_toml_and_data_say_the_same_as_yaml(tmp_path):
    path = tmp_path / "budgets.toml"
    path.write_text(TOML, "utf-8")
    # TOML has no null, so a label that must be absent cannot be written in it
    from_yaml = parse_policy(YAML.replace("      user: null\n", ""))
    assert load_policy(path) == from_yaml
    assert load_policy(msgspec.to_builtins(from_yaml)) == from_yaml
    assert load_policy(MappingProxyType(msgspec.to_builtins(from_yaml))) == from_yaml


def test_a_policy_made_in_python_is_checked_like_a_file():
    good = Policy(budgets=(Budget(id="x", limits={"cost": "1.00"}),))
    assert load_policy(good) == good
    with pytest.raises(InvalidPolicy, match=r"\$\.budgets\[0\]\.limits\.cost"):
        load_policy(Policy(budgets=(Budget(id="x", limits={"cost": "-1"}),)))
    with pytest.raises(InvalidPolicy, match=r"\$\.budgets\[0\]\.period"):
        load_policy(Policy(budgets=(Budget(id="x", limits={"cost": "1"}, period="dayly"),)))
    with pytest.raises(InvalidPolicy, match="no policy file could"):
        load_policy(Policy(budgets=(Budget(id="x", limits={"cost": object()}),)))


def test_a_decimal_in_data_is_an_exact_amount():
    policy = load_policy({"budgets": [{"id": "x", "limits": {"cost": Decimal("0.1")}}]})
    assert policy.budgets[0].ceilings == (("cost", 100_000_000),)


def test_a_loaded_policy_survives_pickling_and_copying():
    policy = parse_policy(YAML)
    assert policy.ranked
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert copy.budgets[0].ceilings == policy.budgets[0].ceilings
    assert msgspec.structs.replace(policy.budgets[0], id="y").ceilings == policy.budgets[0].ceilings


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path):
    path = tmp_path / "budgets.yml"
    path.write_bytes(b"\xef\xbb\xbf" + YAML.replace("\n", "\r\n").encode())
    assert load_policy(path) == parse_policy(YAML)
    assert parse_policy("\ufeff" + TOML, "toml") == parse_policy(TOML, "toml")


@pytest.mark.parametrize("text", ["{}", "budgets: []", "prices: {}", "budgets: []  # none yet"])
def test_a_policy_may_have_no_budgets(text):
    assert parse_policy(text) == Policy()


@pytest.mark.parametrize(
    ("name", "content", "line", "problem"),
    [
        ("empty.yaml", b"", 1, "empty"),
        ("empty.toml", b"", 1, "empty"),
        ("bom.yaml", b"\xef\xbb\xbf", 1, "empty"),
        ("nul.yaml", b"a: 1\nb: \0\n", 2, "U+0000"),
        ("latin.yaml", b"a: 1\nb: caf\xe9\n", 2, "not UTF-8"),
        ("utf16.yaml", "a: 1".encode("utf-16"), 1, "not UTF-8"),
        ("large.yaml", b"#" * (256 * 1024 + 1), None, "larger than 256 KiB"),
        ("long.yaml", "# é\n".encode() * 60_000 + b"budgets: []", None, "larger than 256 KiB"),
        ("brackets.yaml", b"[" * 200_000, 1, "nested more than 32 levels"),
        ("brackets.toml", b"a = " + b"[" * 200_000, None, "nested more than 32 levels"),
        ("list.yaml", b"- a\n", 1, "expected a mapping"),
        ("text.yaml", b"hello\n", 1, "expected a mapping"),
        ("budgets.json", b"{}", None, "use .yaml, .yml or .toml"),
        ("budgets", b"{}", None, "use .yaml, .yml or .toml"),
    ],
)
def test_files_that_are_no_policy(tmp_path, name, content, line, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(path)
    assert problem in caught.value.problem
    assert caught.value.line == line
    assert caught.value.file == str(path)


def test_paths_that_are_no_file(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for source, problem in [
        (tmp_path / "missing.yaml", "No such file"),
        (tmp_path / "folder.yaml", "the folder has no .yaml, .yml or .toml file"),
        (tmp_path / "pipe.yaml", "not a regular file"),
        ("x\0.yaml", "null"),
        ("x" * 5000 + ".yaml", "too long"),
        ("budgets: []", "use .yaml, .yml or .toml"),
        ("", "the path is empty"),
    ]:
        with pytest.raises(InvalidPolicy, match=problem):
            load_policy(source)


@pytest.mark.parametrize(
    ("text", "line", "path", "problem"),
    [
        ("budget: []\n", 1, "$.budget", "unknown field 'budget'; did you mean budgets?"),
        (budget_yaml(limit="3"), 5, "$.budgets[0].limit", "did you mean limits?"),
        (budget_yaml(colour="red"), 5, "$.budgets[0].colour", "known are id, match"),
        ("budgets:\n  - limits: {cost: 1}\n", 2, "$.budgets[0]", "the field id is missing"),
        ("budgets:\n  - id: a\n", 2, "$.budgets[0].limits", "no limit, so the budget caps nothing"),
        ("budgets: {}\n", 1, "$.budgets", "expected a list, got a mapping"),
        ("budgets: null\n", 1, "$.budgets", "expected a list, got null"),
        ("budgets:\n- a\n", 2, "$.budgets[0]", "expected a mapping, got text"),
        (budget_yaml(id="12"), 3, "$.budgets[0].id", "expected text, got a whole number; quote it"),
        (budget_yaml(match="{tenant: 12}"), 5, "$.budgets[0].match.tenant", "quote it"),
        (budget_yaml(match="{a: x, tenant: [y, true]}"), 5, "$.budgets[0].match.tenant[1]", "expected text"),
        (budget_yaml(match="{a: x, b: [], tenant: {}}"), 5, "$.budgets[0].match.tenant", "got a mapping"),
        (budget_yaml(period="dayly"), 5, "$.budgets[0].period", "did you mean daily? Expected hourly, daily"),
        (budget_yaml(on_outage="fail"), 5, "$.budgets[0].on_outage", "Expected closed, open"),
        ("unscoped: no\n", 1, "$.unscoped", "'no' is none of the choices; Expected allow, deny"),
        (budget_yaml(limits="{tokens: 1, cost: true}"), 4, "$.budgets[0].limits.cost", "got true or false"),
        (
            budget_yaml(limits="\n      tokens: 1\n      cost: [1]"),
            6,
            "$.budgets[0].limits.cost",
            "got a list",
        ),
        (
            "prices:\n  models:\n    m:\n      inputs: 1\n",
            4,
            "$.prices.models.m.inputs",
            "did you mean input?",
        ),
        ("prices:\n  models:\n    m:\n      input: -1\n", 4, "$.prices.models.m.input", "per million tokens"),
        ("prices:\n  models:\n    n: {input: 1}\n    m: {output: 1}\n", 4, "$.prices.models.m", "input"),
        ("prices:\n  tools:\n    a: 1\n    b.c: x\n", 4, "$.prices.tools['b.c']", "'x'"),
        ("prices:\n  tools:\n    a: 1\n    b: []\n", 4, "$.prices.tools.b", "got a list"),
    ],
)
def test_what_does_not_fit_the_schema_is_named_with_line_and_path(text, line, path, problem):
    error = refusal(text)
    assert problem in error.problem
    assert (error.line, error.path) == (line, path)
    assert str(error).startswith(f"budgets.yaml:{line}: {path}: ")


@pytest.mark.parametrize(
    "text",
    [
        f"{'x' * 200_000}: 1\n",
        budget_yaml(period="x" * 200_000),
        budget_yaml(id="x" * 200_000),
        budget_yaml(limits=f"{{{'x' * 900}: 1}}"),
        budget_yaml(limits=f"{{cost: '{'9' * 200_000}'}}"),
        budget_yaml(limits=f"{{tokens: '{'9' * 200_000}'}}"),
        budget_yaml(match=f"{{tenant: '{'9' * 200_000}'}}"),
        budget_yaml(timezone="x" * 200_000),
        f'prices: {{tools: {{"{"x" * 900}": z}}}}\n',
        'prices: {tools: {"a\\nb": z}}\n',
        f"{{{'a: b, ' * 20_000}}}",
        f"a: !{'x' * 100_000}!y 1",
        f"a: &{'x' * 100_000} 1",
        "a: !<%0A> 1",
    ],
)
def test_messages_stay_one_short_line(text):
    message = str(refusal(text))
    assert len(message) < 1000
    assert "\n" not in message


def test_a_key_is_found_among_thousands_without_delay():
    tools = "".join(f"    t{number}: 1\n" for number in range(10_000))
    error = refusal(f"prices:\n  tools:\n{tools}    last: x\n")
    assert (error.line, error.path) == (10_003, "$.prices.tools.last")


def test_data_that_contains_itself_or_multiplies_is_refused():
    cyclic = {"budgets": []}
    cyclic["budgets"].append(cyclic)
    with pytest.raises(InvalidPolicy, match="nested more than 32 levels"):
        load_policy(cyclic)
    laughs = ["lol"]
    for _ in range(20):
        laughs = [laughs] * 10
    with pytest.raises(InvalidPolicy, match="values"):
        load_policy({"budgets": laughs})


@pytest.mark.parametrize(
    "data", [{1: 2}, {"budgets": [{1: 2}]}, {"\ud800": 1}, {"budgets": [{"id": "\ud800"}]}]
)
def test_keys_and_text_that_are_no_text(data):
    with pytest.raises(InvalidPolicy):
        load_policy(data)


def test_the_error_survives_pickling():
    error = refusal("a: 1\n")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.line, copy.path, copy.file) == (str(error), error.line, error.path, error.file)


def loads_or_refuses(load, *arguments):
    try:
        policy = load(*arguments)
    except InvalidPolicy as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert len(message) < 1000
    if message:
        return
    assert isinstance(policy, Policy)
    for budget in policy.budgets:
        assert budget.ceilings


WORDS = [
    "budgets",
    "id",
    "limits",
    "cost",
    "match",
    "per",
    "tenant",
    "period",
    "daily",
    "null",
    "1",
    "0.5",
    "010",
]
MARKS = [
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    '"',
    "'",
    "&a ",
    "*a",
    "!t ",
    "#",
    "|\n",
    "?",
]


@unhurried
@given(st.text() | st.lists(st.sampled_from(WORDS + MARKS), max_size=40).map("".join))
def test_arbitrary_yaml_is_a_policy_or_invalid(text):
    loads_or_refuses(parse_policy, text, "yaml")


@unhurried
@given(st.text() | st.lists(st.sampled_from([*WORDS, *MARKS, " = ", "[["]), max_size=40).map("".join))
def test_arbitrary_toml_is_a_policy_or_invalid(text):
    loads_or_refuses(parse_policy, text, "toml")


@unhurried
@given(st.integers(0, len(YAML)), st.integers(0, 10), st.text(max_size=5) | st.sampled_from(MARKS))
def test_a_damaged_policy_is_a_policy_or_invalid(position, removed, inserted):
    loads_or_refuses(parse_policy, YAML[:position] + inserted + YAML[position + removed :], "yaml")


amounts = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.decimals())
values = st.recursive(
    amounts, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
budgets = st.fixed_dictionaries(
    {"id": st.text(max_size=4), "limits": st.dictionaries(st.sampled_from(COUNTERS), amounts, max_size=3)},
    optional={
        "match": st.dictionaries(st.sampled_from(["tenant", "Ü"]), values, max_size=2) | values,
        "per": st.lists(st.sampled_from(["tenant", "run", ""])) | values,
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "x"]) | st.text(),
        "week_start": values,
    },
)


@unhurried
@given(
    st.fixed_dictionaries({"budgets": st.lists(budgets, max_size=3)}, optional={"prices": values}) | values
)
def test_arbitrary_data_is_a_policy_or_invalid(data):
    if isinstance(data, dict):
        loads_or_refuses(load_policy, data)


@unhurried
@given(st.text())
def test_an_arbitrary_path_is_a_policy_or_invalid(text):
    loads_or_refuses(load_policy, text)


def test_the_largest_limit_is_exact():
    policy = parse_policy(budget_yaml(limits=f'{{cost: "9007199.254740991", tokens: {MAX_AMOUNT}}}'))
    assert policy.budgets[0].ceilings == (("cost", MAX_AMOUNT), ("tokens", MAX_AMOUNT))


def test_the_working_folder_is_where_a_relative_path_starts(tmp_path, monkeypatch):
    (tmp_path / "budgets.yaml").write_text(YAML, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_policy("budgets.yaml") == load_policy(Path("budgets.yaml")) == parse_policy(YAML)
