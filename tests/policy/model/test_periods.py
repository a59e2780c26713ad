"""Calendar windows: they tile time, on every kind of day a wall clock has shown."""

import datetime as dt
import itertools
import zoneinfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.policy.model.periods import PERIODS, WEEKDAYS, load_zone, window

# other work on the machine must not decide whether a test passes
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOUR = 3_600_000
ODD_ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "America/Havana",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Gaza",
    "America/Nuuk",
    "America/Scoresbysund",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Asia/Pyongyang",
    "America/Caracas",
]
zones = st.sampled_from(ODD_ZONES).map(load_zone)
instants = st.integers(
    int(dt.datetime(2010, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000,
    int(dt.datetime(2045, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000,
)
calendar_periods = st.sampled_from([period for period in PERIODS if period != "total"])


def ms(text, zone):
    """A wall clock time with its UTC offset, as ms since the epoch."""
    moment = dt.datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    assert moment.astimezone(zone).replace(tzinfo=None) == moment.replace(tzinfo=None)
    return int(moment.timestamp()) * 1000


def local(at_ms, zone):
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).astimezone(zone)


def transitions(zone, year):
    """The instants of a year at which the zone's UTC offset changes, found second by second where needed."""
    start = int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())
    found = []
    for hour in range(start, start + 366 * 86400, 3600):
        if local(hour * 1000, zone).utcoffset() != local((hour + 3600) * 1000, zone).utcoffset():
            seconds = range(hour + 1, hour + 3601)
            old = local(hour * 1000, zone).utcoffset()
            found.append(next(s for s in seconds if local(s * 1000, zone).utcoffset() != old) * 1000)
    return found


@unhurried
@given(calendar_periods, instants, zones, st.sampled_from(WEEKDAYS))
def test_windows_tile_time_without_gap_or_overlap(period, at_ms, zone, week_start):
    start, end = window(period, at_ms, zone, week_start)
    assert start <= at_ms < end
    assert window(period, start, zone, week_start) == (start, end)
    assert window(period, end - 1, zone, week_start) == (start, end)
    assert window(period, end, zone, week_start)[0] == end
    assert window(period, start - 1, zone, week_start)[1] == start


@pytest.mark.parametrize("name", ODD_ZONES)
@pytest.mark.parametrize("year", [2011, 2025, 2026])
def test_windows_tile_time_around_every_change_of_the_clocks(name, year):
    zone = load_zone(name)
    for change in transitions(zone, year):
        for period in PERIODS[:3]:
            at = change - 26 * HOUR
            while at < change + 26 * HOUR:
                start, end = window(period, at, zone)
                assert start <= at < end
                for inside in (start, (start + end) // 2000 * 1000, end - 1):
                    assert window(period, inside, zone) == (start, end)
                at = end
            # the seconds beside the change itself
            for at in range(change - 2000, change + 3000, 500):
                start, end = window(period, at, zone)
                assert start <= at < end


@unhurried
@given(instants, zones)
def test_the_local_date_is_constant_inside_a_daily_window(at_ms, zone):
    start, end = window("daily", at_ms, zone)
    dates = {local(at, zone).date() for at in (start, at_ms, (start + end) // 2, end - 1000)}
    if "St_Johns" not in str(zone):  # its clocks went back over midnight until 2011
        assert len(dates) == 1
    assert local(end, zone).date() > local(start, zone).date()
    assert local(start - 1000, zone).date() < local(at_ms, zone).date()


@unhurried
@given(instants, zones)
def test_an_hourly_window_is_one_hour_of_the_clock_under_one_offset(at_ms, zone):
    start, end = window("hourly", at_ms, zone)
    assert end - start <= HOUR
    first, last = local(start, zone), local(end - 1000, zone)
    assert first.utcoffset() == last.utcoffset()
    assert (first.date(), first.hour) == (last.date(), last.hour)


@unhurried
@given(instants, zones, st.sampled_from(WEEKDAYS))
def test_longer_periods_start_on_their_first_local_day(at_ms, zone, week_start):
    starts = {
        period: local(window(period, at_ms, zone, week_start)[0], zone)
        for period in ("weekly", "monthly", "quarterly", "yearly")
    }
    assert starts["weekly"].weekday() == WEEKDAYS.index(week_start) or "Apia" in str(zone)
    assert starts["monthly"].day == 1
    assert (starts["quarterly"].day, starts["quarterly"].month % 3) == (1, 1)
    assert (starts["yearly"].day, starts["yearly"].month) == (1, 1)


@pytest.mark.parametrize(
    ("name", "inside", "start", "end", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00+02:00", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00+01:00", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25),
        # midnight is skipped: the day begins at one o'clock
        (
            "America/Santiago",
            "2026-09-06T12:00-03:00",
            "2026-09-06T01:00-03:00",
            "2026-09-07T00:00-03:00",
            23,
        ),
        ("Africa/Cairo", "2026-04-24T12:00+03:00", "2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00", 23),
        ("America/Havana", "2026-03-08T12:00-04:00", "2026-03-08T01:00-04:00", "2026-03-09T00:00-04:00", 23),
        ("Asia/Beirut", "2026-03-29T12:00+03:00", "2026-03-29T01:00+03:00", "2026-03-30T00:00+03:00", 23),
        # midnight comes twice: the day begins with the first
        ("America/Havana", "2026-11-01T00:30-05:00", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00", 25),
        # the hour before midnight comes twice: it stays with its day
        (
            "America/Santiago",
            "2026-04-04T23:30-04:00",
            "2026-04-04T00:00-03:00",
            "2026-04-05T00:00-04:00",
            25,
        ),
        # clocks put forward half an hour before midnight
        (
            "America/Toronto",
            "1919-03-31T12:00-04:00",
            "1919-03-31T00:30-04:00",
            "1919-04-01T00:00-04:00",
            23.5,
        ),
        # a day that never was
        ("Pacific/Apia", "2011-12-29T12:00-10:00", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00", 24),
        # clocks set back at one minute past midnight: yesterday's last hour again, but the new day has begun
        (
            "America/St_Johns",
            "2010-11-06T23:30-03:30",
            "2010-11-07T00:00-02:30",
            "2010-11-08T00:00-03:30",
            25,
        ),
        (
            "America/St_Johns",
            "2010-11-06T23:30-02:30",
            "2010-11-06T00:00-02:30",
            "2010-11-07T00:00-02:30",
            24,
        ),
    ],
)
def test_days_of_other_lengths(name, inside, start, end, hours):
    zone = load_zone(name)
    found = window("daily", ms(inside, zone), zone)
    assert found == (ms(start, zone), ms(end, zone))
    assert found[1] - found[0] == hours * HOUR


def test_the_hour_that_comes_twice_is_two_windows():
    zone = load_zone("Europe/Berlin")
    first = window("hourly", ms("2026-10-25T02:30+02:00", zone), zone)
    second = window("hourly", ms("2026-10-25T02:30+01:00", zone), zone)
    assert first == (ms("2026-10-25T02:00+02:00", zone), ms("2026-10-25T02:00+01:00", zone))
    assert second == (first[1], first[1] + HOUR)


def test_hours_in_zones_of_half_an_hour_begin_on_the_local_hour():
    zone = load_zone("Asia/Kolkata")
    assert window("hourly", ms("2026-01-01T10:59+05:30", zone), zone) == (
        ms("2026-01-01T10:00+05:30", zone),
        ms("2026-01-01T11:00+05:30", zone),
    )


def test_clocks_that_change_by_half_an_hour_make_windows_of_half_an_hour():
    zone = load_zone("Australia/Lord_Howe")
    around = ms("2026-04-05T01:00+11:00", zone)
    lengths = []
    for _ in range(3):
        start, end = window("hourly", around, zone)
        lengths.append((end - start) / HOUR)
        around = end
    assert lengths == [1, 0.5, 1]


def test_quarters_and_years_end_where_the_next_one_starts():
    zone = load_zone("UTC")
    at = ms("2026-12-31T23:59:59+00:00", zone)
    assert window("quarterly", at, zone) == (
        ms("2026-10-01T00:00+00:00", zone),
        ms("2027-01-01T00:00+00:00", zone),
    )
    assert window("yearly", at, zone) == (
        ms("2026-01-01T00:00+00:00", zone),
        ms("2027-01-01T00:00+00:00", zone),
    )


@pytest.mark.parametrize("week_start", WEEKDAYS)
def test_a_week_has_seven_days_from_its_first(week_start):
    zone = load_zone("UTC")
    days = [ms(f"2026-02-{day:02d}T12:00+00:00", zone) for day in range(1, 29)]
    starts = [window("weekly", day, zone, week_start)[0] for day in days]
    for start, group in itertools.groupby(starts):
        assert local(start, zone).weekday() == WEEKDAYS.index(week_start)
        assert len(list(group)) <= 7


def test_total_has_no_window():
    assert window("total", 1_700_000_000_000, load_zone("UTC")) == (0, 0)


def test_the_answer_does_not_depend_on_what_was_asked_before():
    """Windows are remembered per zone and first weekday; none may answer for another."""
    at = 1_760_000_000_000
    seen = {}
    for _ in range(2):
        for name, period, week_start in itertools.product(ODD_ZONES, PERIODS, WEEKDAYS):
            answer = window(period, at, load_zone(name), week_start)
            assert seen.setdefault((name, period, week_start), answer) == answer
    weekly = {seen["UTC", "weekly", week_start] for week_start in WEEKDAYS}
    assert len(weekly) == 7


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Berlin",
        "europe",
        "Europe",
        "../etc/passwd",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "Factory",
        "right/UTC",
        "posix/UTC",
        "Europe/Berlin\x00",
        "Europe/Berlin\n",
        "x" * 10000,
        "UTC+1",
        "+01:00",
        "�",
    ],
)
def test_what_is_no_iana_name_is_refused(name):
    with pytest.raises(ValueError, match="unknown time zone") as caught:
        load_zone(name)
    assert len(str(caught.value)) < 300


def test_a_near_miss_is_suggested():
    with pytest.raises(ValueError, match="did you mean Europe/Berlin"):
        load_zone("Europe/Berln")


def test_utc_needs_no_zone_database(monkeypatch):
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    zoneinfo.ZoneInfo.clear_cache()
    assert load_zone("UTC").utcoffset(None) == dt.timedelta(0)
