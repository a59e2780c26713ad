"""Every period in every zone, against an oracle that knows no arithmetic of calendars: it asks zoneinfo, minute by
minute, what the wall clock shows."""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import zoneinfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import parse_policy
from costscope.policy.model.periods import PERIODS, WEEKDAYS, load_zone, month_day, window

MINUTE, HOUR, DAY = 60, 3600, 86400
FIRST, LAST = (int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) for year in (2010, 2037))
SPECIAL = [
    "UTC",
    "Europe/Berlin",
    "America/Santiago",  # no midnight on the first day of summer
    "America/Havana",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/St_Johns",  # set back at one minute past midnight until 2011
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # without the 30th of December 2011
    "Antarctica/Troll",  # by two hours
    "Africa/Casablanca",  # summer time except in Ramadan
    "America/Nuuk",
]
ZONES = sorted(
    name
    for name in zoneinfo.available_timezones()
    if not name.startswith(("localtime", "posix", "right/", "Factory"))
)


# ----------------------------------------------------------------------------- the oracle


def local_time(second, zone):
    return dt.datetime.fromtimestamp(second, dt.UTC).astimezone(zone)


@functools.lru_cache(maxsize=4096)
def begins(day, zone):
    """The first minute at which the wall clock shows this date or a later one."""
    noon = int(dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC).timestamp())
    second = noon - 27 * HOUR
    while local_time(second, zone).date() < day:
        # far away it takes steps of an hour; no clock has ever been set back by more than a day
        second += HOUR if local_time(second + 2 * HOUR, zone).date() < day else MINUTE
    return second


def day_of(second, zone):
    """The last date that has begun, whatever the clock shows now."""
    day = local_time(second, zone).date() + dt.timedelta(days=1)
    while begins(day, zone) > second:
        day -= dt.timedelta(days=1)
    return day


def is_first(day, period, week_start, year_start, cycle_day):
    """Whether a period begins on this date."""

    def is_the(wanted):
        return day.day == min(wanted, calendar.monthrange(day.year, day.month)[1])

    return {
        "daily": lambda: True,
        "weekly": lambda: WEEKDAYS[day.weekday()] == week_start,
        "monthly": lambda: is_the(cycle_day),
        "quarterly": lambda: day.month % 3 == year_start[0] % 3 and is_the(year_start[1]),
        "yearly": lambda: day.month == year_start[0] and is_the(year_start[1]),
    }[period]()


def expected(period, second, zone, *anchors):
    if period == "hourly":
        return hour_of(second, zone)
    one = dt.timedelta(days=1)
    first = day_of(second, zone)
    while not is_first(first, period, *anchors):
        first -= one
    after = first + one
    while not is_first(after, period, *anchors):
        after += one
    return begins(first, zone), begins(after, zone)


def hour_of(second, zone):
    """All minutes around that show the same date, hour and offset."""

    def face(at):
        moment = local_time(at, zone)
        return moment.date(), moment.hour, moment.utcoffset()

    start = second - second % MINUTE
    end = start + MINUTE
    while face(start - MINUTE) == face(second):
        start -= MINUTE
    while face(end) == face(second):
        end += MINUTE
    return start, end


@functools.cache
def changes(name):
    """The minutes at which the clocks of a zone are changed."""
    zone = load_zone(name)
    found = []
    for before in range(FIRST, LAST, 7 * DAY):
        low, high = before, before + 7 * DAY
        if local_time(low, zone).utcoffset() == local_time(high, zone).utcoffset():
            continue
        while high - low > MINUTE:
            middle = (low + high) // 2 // MINUTE * MINUTE
            low, high = (
                (middle, high)
                if local_time(middle, zone).utcoffset() == local_time(low, zone).utcoffset()
                else (low, middle)
            )
        found.append(high)
    return found


# ----------------------------------------------------------------------------- the property


@st.composite
def moments(draw):
    """A zone and a second, often one near a change of its clocks."""
    name = draw(st.sampled_from(SPECIAL) | st.sampled_from(ZONES))
    near = changes(name) if draw(st.booleans()) else []
    if near:
        return name, draw(st.sampled_from(near)) + draw(
            st.integers(-2 * HOUR, 2 * HOUR) | st.integers(-2 * DAY, 2 * DAY)
        )
    return name, draw(st.integers(FIRST + DAY, LAST - DAY))


year_starts = st.sampled_from(
    ["01-01", "04-01", "04-06", "07-01", "10-31", "12-31", "02-28", "03-30", "11-30"]
)
ALL = [period for period in PERIODS if period != "total"]


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ALL), moments(), st.sampled_from(WEEKDAYS), year_starts, st.integers(1, 31))
@example("daily", ("America/St_Johns", 1289097120), "monday", "01-01", 1)
@example("yearly", ("Pacific/Apia", 1325200000), "monday", "12-31", 1)
@example(
    "daily", ("America/Toronto", -1601726400), "monday", "01-01", 1
)  # put forward at half past eleven at night
@example("monthly", ("America/Santiago", 1788667200), "monday", "01-01", 6)
def test_a_window_is_what_the_wall_clock_of_its_zone_says(period, moment, week_start, year_start, cycle_day):
    name, second = moment
    zone = load_zone(name)
    anchors = (week_start, month_day(year_start), cycle_day)
    start, end = expected(period, second, zone, *anchors)
    found = window(period, second * 1000, zone, week_start, year_start=anchors[1], cycle_day=cycle_day)
    assert found == (start * 1000, end * 1000)


# ----------------------------------------------------------------------------- by hand


def starts(fields, first, count):
    """The dates on which windows of a budget begin, one after the other."""
    [budget] = parse_policy(f"budgets: [{{id: x, limits: {{cost: 1}}, {fields}}}]").budgets
    at = int(dt.datetime.fromisoformat(f"{first}T12:00+00:00").timestamp() * 1000)
    zone, found = load_zone(budget.timezone), []
    for _ in range(count):
        start, at = budget.window(at)
        found.append(local_time(start // 1000, zone).date().isoformat())
    return found


@pytest.mark.parametrize(
    ("fields", "first", "dates"),
    [
        (
            "period: monthly, cycle_day: 31",
            "2028-01-31",
            ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"],
        ),
        ("period: monthly, cycle_day: 29", "2027-02-15", ["2027-01-29", "2027-02-28", "2027-03-29"]),
        ("period: monthly, cycle_day: 15", "2026-01-14", ["2025-12-15", "2026-01-15", "2026-02-15"]),
        (
            "period: quarterly, year_start: 04-06",
            "2026-04-05",
            ["2026-01-06", "2026-04-06", "2026-07-06", "2026-10-06"],
        ),
        (
            "period: quarterly, year_start: 10-31",
            "2026-03-01",
            ["2026-01-31", "2026-04-30", "2026-07-31", "2026-10-31"],
        ),
        (
            "period: yearly, year_start: 07-01, timezone: Australia/Sydney",
            "2026-06-29",
            ["2025-07-01", "2026-07-01"],
        ),
        ("period: yearly, year_start: 12-31", "2026-12-30", ["2025-12-31", "2026-12-31"]),
        ("period: weekly, week_start: saturday", "2026-03-06", ["2026-02-28", "2026-03-07"]),
    ],
)
def test_fiscal_years_billing_cycles_and_weeks(fields, first, dates):
    assert starts(fields, first, len(dates)) == dates


def test_a_fiscal_year_begins_at_midnight_of_its_own_zone():
    [budget] = parse_policy(
        "budgets: [{id: x, limits: {cost: 1}, period: yearly, year_start: 04-06, timezone: Europe/London}]"
    ).budgets
    start, end = budget.window(int(dt.datetime(2026, 6, 1, tzinfo=dt.UTC).timestamp() * 1000))
    assert dt.datetime.fromtimestamp(start / 1000, dt.UTC).isoformat() == "2026-04-05T23:00:00+00:00"
    assert dt.datetime.fromtimestamp(end / 1000, dt.UTC).isoformat() == "2027-04-05T23:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("period: daily, cycle_day: 5", "cycle_day", "for monthly only"),
        ("period: monthly, cycle_day: 0", "cycle_day", "is no day of a month"),
        ("period: monthly, cycle_day: 32", "cycle_day", "is no day of a month"),
        ("period: monthly, year_start: 04-01", "year_start", "for quarterly and yearly only"),
        ("period: yearly, year_start: 02-29", "year_start", "use 02-28 or 03-01"),
        ("period: yearly, year_start: 02-30", "year_start", "is no day of the year"),
        ("period: yearly, year_start: 13-01", "year_start", "is no day of the year"),
        ("period: yearly, year_start: April", "year_start", "write month and day such as 04-01"),
        ("period: monthly, week_start: monday", "week_start", "for weekly only"),
        ("period: weekly, week_start: mon", "week_start", "did you mean monday?"),
    ],
)
def test_anchors_that_are_none(fields, path, words):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(f"budgets: [{{id: x, limits: {{cost: 1}}, {fields}}}]")
    assert caught.value.path == f"$.budgets[0].{path}"
    assert words in caught.value.problem
