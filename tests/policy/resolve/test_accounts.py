"""Which budgets cover a scope, and which account of each it counts in."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.ledger.times import KEEP_AFTER_MS, KEEP_SHARED_MS
from costscope.policy import AccountInfo, Budget, Policy, check_labels, inline_account, read_account_info
from costscope.policy.load.loader import parse_policy
from costscope.policy.resolve.accounts import account
from costscope.policy.resolve.resolved import resolve_budgets

# other work on the machine must not decide whether a test passes
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOUR = 3_600_000
NOW = 1_790_000_000_000


def budget(**fields):
    return Budget(**({"id": "b", "limits": {"cost": "1.00"}} | fields))


def test_the_most_specific_budget_comes_first_then_the_order_of_the_file():
    policy = parse_policy("""
budgets:
- {id: all, limits: {cost: 9}}
- {id: tenant, match: {tenant: "*"}, per: [tenant], limits: {cost: 5}}
- {id: plan, match: {plan: free}, limits: {cost: 4}}
- {id: user, match: {tenant: acme}, per: [tenant, user], limits: {cost: 1}}
- {id: other, match: {tenant: other}, limits: {cost: 1}}
""")
    labels = {"tenant": "acme", "plan": "free", "user": "u"}
    assert [one.id for one in resolve_budgets(policy, labels)] == ["user", "tenant", "plan", "all"]
    assert [one.id for one in resolve_budgets(policy, {})] == ["all"]
    assert resolve_budgets(Policy(), labels) == ()


def test_an_account_has_key_limits_window_and_about():
    daily = budget(
        id="tenant.day", per=("tenant", "plan"), period="daily", limits={"model_calls": 7, "cost": "0.5"}
    )
    made = account(daily, {"plan": "free", "tenant": "a:b/c,d=é"}, NOW)
    start, end = NOW - NOW % (24 * HOUR), NOW - NOW % (24 * HOUR) + 24 * HOUR
    assert made.key == f"tenant.day/tenant=a%3Ab%2Fc%2Cd%3D%C3%A9,plan=free/{start}-{end}"
    assert made.limits == (("cost", 500_000_000), ("model_calls", 7))
    assert (made.start_ms, made.end_ms) == (start, end)
    assert made.keep_ms == KEEP_AFTER_MS == 72 * HOUR
    assert read_account_info(made.about) == AccountInfo(
        budget="tenant.day",
        labels={"tenant": "a:b/c,d=é", "plan": "free"},
        period="daily",
        start_ms=start,
        end_ms=end,
        limits={"cost": 500_000_000, "model_calls": 7},
    )


def test_a_total_is_one_account_for_ever():
    made = account(budget(), {"tenant": "acme"}, NOW)
    assert (made.key, made.start_ms, made.end_ms, made.keep_ms) == ("b//0-0", 0, 0, 0)
    assert account(budget(), {}, NOW + 10**12) == made


def test_scopes_without_a_per_label_share_one_account_that_no_value_can_name():
    per_user = budget(per=("tenant", "user"))
    missing = account(per_user, {"tenant": "acme"}, NOW)
    assert missing.key == "b/tenant=acme,user/0-0"
    assert read_account_info(missing.about).labels == {"tenant": "acme", "user": None}
    assert account(per_user, {"tenant": "acme", "run": "1"}, NOW) == missing
    for value in ("user", "null", "None", "~", "user/0-0", "=", ",user"):
        assert account(per_user, {"tenant": "acme", "user": value}, NOW).key != missing.key


values = st.text("ab:/,=%~{}é", min_size=1, max_size=4)
scopes = st.dictionaries(st.sampled_from(["tenant", "user", "run"]), values, max_size=3).map(check_labels)


@unhurried
@given(scopes, scopes)
def test_accounts_are_the_same_exactly_when_the_per_labels_are(one, other):
    split = budget(per=("tenant", "user"))
    same = all(one.get(label) == other.get(label) for label in split.per)
    assert (account(split, one, NOW).key == account(split, other, NOW).key) is same


def test_accounts_of_different_budgets_never_meet():
    ids = ["a", "a.b", "a-b", "~scope"]
    labels = {"tenant": "x"}
    keys = [account(budget(id=name, per=per), labels, NOW).key for name in ids for per in ((), ("tenant",))]
    assert len(set(keys)) == len(keys)


def test_windows_of_one_budget_are_accounts_of_their_own():
    hourly = budget(period="hourly", timezone="Asia/Kolkata")
    keys = {account(hourly, {}, NOW + minute * 60_000).key for minute in range(180)}
    assert len(keys) in {3, 4}


def test_a_shared_inline_account_is_the_same_for_the_same_labels_in_any_order():
    one = inline_account({"tenant": "acme", "run": "r"}, {"cost": 5, "tool_calls": 2}, shared=True)
    other = inline_account({"run": "r", "tenant": "acme"}, {"tool_calls": 2, "cost": 5}, shared=True)
    assert one.key == other.key == "~scope/run=r,tenant=acme/0-0"
    assert one.limits == other.limits == (("cost", 5), ("tool_calls", 2))
    assert (one.start_ms, one.end_ms, one.keep_ms) == (0, 0, KEEP_SHARED_MS)
    assert KEEP_SHARED_MS == 35 * 24 * HOUR
    info = read_account_info(one.about)
    assert (info.budget, info.labels["run"], info.period) == ("~scope", "r", "total")


def test_a_private_inline_account_is_that_of_its_unique_id():
    labels = {"tenant": "acme"}
    first = inline_account(labels, {"cost": 5}, shared=False, unique="01")
    second = inline_account(labels, {"cost": 5}, shared=False, unique="02")
    assert first.key == "~scope/01/0-0"
    assert first.key != second.key
    assert first.keep_ms == KEEP_AFTER_MS
    assert read_account_info(first.about).labels == labels


def test_no_private_account_can_have_the_key_of_a_shared_one():
    shared = inline_account({"run": "r"}, {"cost": 5}, shared=True)
    private = inline_account({"run": "r"}, {"cost": 5}, shared=False, unique="run=r")
    assert shared.key != private.key


@pytest.mark.parametrize(("labels", "shared", "unique"), [({}, True, None), ({"a": "b"}, False, None)])
def test_an_inline_account_that_would_be_everybodys_is_refused(labels, shared, unique):
    with pytest.raises(ValueError, match="give labels or unique"):
        inline_account(labels, {"cost": 5}, shared=shared, unique=unique)


def test_keys_are_ascii_without_the_separators_of_a_store():
    odd = check_labels({"tenant": "}{é\u00a0:😀*"})
    keys = [account(budget(per=("tenant",)), odd, NOW).key, inline_account(odd, {"cost": 1}, shared=True).key]
    for key, character in itertools.product(keys, "{}: *\n"):
        assert key.isascii()
        assert character not in key
