"""Limits that can never bind: said only where a broader budget really always stops first."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from costscope.policy import Budget, rules_hold
from costscope.policy.lint.limit_lint import binding_warnings
from costscope.policy.model.periods import PERIODS, WEEKDAYS
from costscope.policy.model.schema import Policy
from costscope.policy.resolve.accounts import account


def test_a_tenant_may_not_spend_more_than_everybody_together(of_budgets):
    found = of_budgets(
        "period: monthly, limits: {cost: 100}", "match: {tenant: acme}, period: daily, limits: {cost: 100}"
    )
    assert list(found) == ["$.budgets[1].limits.cost"]
    [problem] = found.values()
    assert problem == (
        "can never bind: the budget a covers all of it and stops at USD 100.00 monthly; lower this limit, or remove it"
    )


@pytest.mark.parametrize(
    ("broad", "narrow"),
    [
        ("limits: {tokens: 5}", "period: hourly, limits: {tokens: 6}"),
        ("match: {tenant: 'a*'}, limits: {tokens: 5}", "match: {tenant: abc}, limits: {tokens: 5}"),
        ("match: {tenant: [a, b]}, limits: {tokens: 5}", "match: {tenant: b, user: x}, limits: {tokens: 5}"),
        ("per: [tenant], limits: {tokens: 5}", "per: [tenant, user], limits: {tokens: 5}"),
        ("per: [tenant], limits: {tokens: 5}", "match: {tenant: x}, limits: {tokens: 5}"),
        ("match: {user: null}, limits: {tokens: 5}", "match: {user: null, tenant: x}, limits: {tokens: 5}"),
        ("period: weekly, limits: {concurrent_runs: 2}", "period: daily, limits: {concurrent_runs: 2}"),
        ("period: yearly, limits: {runs: 2}", "period: monthly, limits: {runs: 3}"),
    ],
)
def test_what_can_never_bind(of_budgets, broad, narrow):
    [place] = of_budgets(broad, narrow)
    assert place.startswith("$.budgets[1].limits.")


@pytest.mark.parametrize(
    ("broad", "narrow"),
    [
        ("limits: {tokens: 5}", "match: {tenant: x}, limits: {tokens: 4}"),
        ("limits: {tokens: 5}", "limits: {input_tokens: 6}"),
        ("per: [tenant], limits: {tokens: 5}", "limits: {tokens: 6}"),
        ("match: {tenant: x}, limits: {tokens: 5}", "limits: {tokens: 6}"),
        ("period: daily, limits: {tokens: 5}", "limits: {tokens: 6}"),
        ("period: monthly, limits: {tokens: 5}", "period: weekly, limits: {tokens: 6}"),
        ("period: monthly, timezone: Asia/Tokyo, limits: {tokens: 5}", "period: daily, limits: {tokens: 6}"),
        ("period: monthly, cycle_day: 15, limits: {tokens: 5}", "period: monthly, limits: {tokens: 6}"),
        ("period: yearly, year_start: 04-06, limits: {tokens: 5}", "period: monthly, limits: {tokens: 6}"),
        ("limits: {tokens: 5}, enforcement: soft", "limits: {tokens: 6}"),
        ("limits: {tokens: 5}, enforcement: shadow", "limits: {tokens: 6}"),
        ("limits: {tokens: 5}, on_limit: reject_new_runs", "limits: {tokens: 6}"),
        ("match: {user: null}, limits: {tokens: 5}", "match: {user: '*'}, limits: {tokens: 6}"),
    ],
)
def test_what_may_bind_yet(of_budgets, broad, narrow):
    assert of_budgets(broad, narrow) == {}


def test_of_two_that_say_the_same_the_later_one_is_named(of_budgets):
    assert list(of_budgets("limits: {tokens: 5}", "limits: {tokens: 5}")) == ["$.budgets[1].limits.tokens"]


_ZONES = st.sampled_from(["UTC", "America/St_Johns", "America/Santiago"])
_INSTANTS = st.integers(
    int(dt.datetime(2009, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000,
    int(dt.datetime(2030, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000,
)
_FISCAL = st.sampled_from([None, "01-01", "04-01", "04-06", "12-31"])


@st.composite
def calendars(draw, periods=PERIODS):
    period = draw(st.sampled_from(periods))
    return {
        "period": period,
        "week_start": draw(st.sampled_from([None, *WEEKDAYS])) if period == "weekly" else None,
        "year_start": draw(_FISCAL) if period in {"quarterly", "yearly"} else None,
        "cycle_day": draw(st.sampled_from([None, 1, 2, 28, 31])) if period == "monthly" else None,
    }


def flagged(broad, narrow):
    return any(steps[1] == 1 for steps, _ in binding_warnings(Policy(budgets=(broad, narrow))))


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    _ZONES, calendars(PERIODS[1:-1]), calendars(PERIODS[:-1]), st.lists(_INSTANTS, min_size=15, max_size=15)
)
def test_each_window_of_it_lies_within_one_of_the_other(zone, broad, narrow, instants):
    """What the warning takes for granted, on the calendar: no week within a month."""
    one, other = (
        Budget(id=name, timezone=zone, limits={"tokens": 1}, **fields)
        for name, fields in (("broad", broad), ("narrow", narrow))
    )
    if flagged(one, other):
        for at in instants:
            start, end = other.window(at)
            assert one.window(start) == one.window(end - 1), (broad, narrow)


_LABELS = st.dictionaries(
    st.sampled_from(["tenant", "user"]),
    st.sampled_from(["a", "ab", "b", "*", "a*", "*b", ("a", "b"), ("a*", "b"), None]),
)


@st.composite
def budgets(draw, name):
    match = draw(_LABELS)
    split = draw(st.sets(st.sampled_from(["tenant", "user"])))
    return Budget(
        id=name,
        match=match,
        per=tuple(label for label in split if match.get(label, "") is not None),
        limits={"tokens": draw(st.integers(1, 2))},
    )


_SCOPES = st.dictionaries(st.sampled_from(["tenant", "user"]), st.sampled_from(["a", "ab", "b", "c", "xb"]))


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(budgets("broad"), budgets("narrow"), st.lists(_SCOPES, min_size=6, max_size=12))
def test_two_calls_in_one_account_of_it_are_in_one_account_of_the_other(broad, narrow, scopes):
    """The same for who is covered, and how they are split."""
    assume(flagged(broad, narrow))
    covered = [labels for labels in scopes if rules_hold(narrow.rules, labels)]
    assert all(rules_hold(broad.rules, labels) for labels in covered)
    assert broad.limits["tokens"] <= narrow.limits["tokens"]
    for mine in covered:
        for other in covered:
            if account(narrow, mine, 0).key == account(narrow, other, 0).key:
                assert account(broad, mine, 0).key == account(broad, other, 0).key
