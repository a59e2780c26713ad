"""Calendar windows: the `[start, end)` in which a budget counts, on the wall clock of its time zone.

Wall clocks are not a straight line: days of 23 and 25 hours, days that have no midnight, hours that come
twice, offsets of half an hour, and in Samoa a Friday that never was. The rules that keep windows tiling time
without a gap or an overlap:

* a day starts at the first instant at which the local date is that day or later; weeks, months, quarters
  and years start where their first day starts;
* a month that begins on a day it does not have begins on its last one, as bills do: 31 is the end of each month;
* an hour is one hour of the local clock under one UTC offset: the hour that comes twice is two windows, and
  a change of the clocks in the middle of an hour ends one window and starts the next.
"""

from __future__ import annotations

import calendar
import datetime as dt
import difflib
import functools
import re
import zoneinfo
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

Period = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "total"]
PERIODS: Final[tuple[str, ...]] = get_args(Period)

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: Final[tuple[str, ...]] = get_args(Weekday)

Window = tuple[int, int]
"""`(start_ms, end_ms)`: from start inclusive to end exclusive, in ms since the epoch; `(0, 0)` is no window."""

MonthDay = tuple[int, int]
"""A month and a day in it, both from 1."""

NEW_YEAR: Final[MonthDay] = (1, 1)

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND: Final = dt.timedelta(seconds=1)
_HOUR: Final = 3600
_MONTHS: Final = {"monthly": 1, "quarterly": 3, "yearly": 12}

_MONTH_DAY: Final = re.compile(r"[0-9]{2}-[0-9]{2}", re.ASCII)
_COMMON_YEAR: Final = 2001
_LEAP_DAY: Final = "02-29"

_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", re.ASCII)
_MACHINE_ZONES: Final = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""Names a zone database may hold that mean another thing on another machine, or count leap seconds."""


def window(
    period: Period,
    at_ms: int,
    zone: dt.tzinfo,
    week_start: Weekday = "monday",
    *,
    year_start: MonthDay = NEW_YEAR,
    cycle_day: int = 1,
) -> Window:
    """Find the window of `period` that holds the instant `at_ms`.

    Args:
        period: how often the budget starts anew; `total` never does.
        at_ms: an instant in ms since the epoch.
        zone: the time zone whose wall clock decides, from `load_zone`.
        week_start: the first day of a week, for `weekly`.
        year_start: the first day of a year, for `quarterly` and `yearly`, from `month_day`.
        cycle_day: the first day of a month, for `monthly`, 1 to 31.

    Returns:
        `(start_ms, end_ms)` with `start_ms <= at_ms < end_ms`, or `(0, 0)` for `total`.
    """
    if period == "total":
        return 0, 0
    if period == "hourly":
        start, end = _hour(at_ms // 1000, zone)
        return start * 1000, end * 1000
    # Callers ask again and again about now: the last window of each kind answers nearly all of them.
    place = (period, zone, week_start, year_start, cycle_day)
    last = _LAST.get(place)
    if last is None or not last[0] <= at_ms < last[1]:
        anchor = (1, cycle_day) if period == "monthly" else year_start
        last = _LAST[place] = _days(period, at_ms // 1000, zone, WEEKDAYS.index(week_start), anchor)
    return last


_LAST: Final[dict[tuple[Period, dt.tzinfo, Weekday, MonthDay, int], Window]] = {}
"""At most one window per kind and zone in use; two threads that race write the same value."""


def month_day(text: str) -> MonthDay:
    """Read a day of the year such as `04-01`.

    Raises:
        ValueError: not of that form, no such day, or the one that most years do not have.
    """
    if text == _LEAP_DAY:
        msg = "02-29 is a day that most years do not have; use 02-28 or 03-01"
        raise ValueError(msg)
    if _MONTH_DAY.fullmatch(text):
        month, day = int(text[:2]), int(text[3:])
        if 1 <= month <= 12 and 1 <= day <= calendar.monthrange(_COMMON_YEAR, month)[1]:  # noqa: PLR2004 - months
            return month, day
    msg = f"{text[:40]!a} is no day of the year; write month and day such as 04-01"
    raise ValueError(msg)


def load_zone(name: str) -> dt.tzinfo:
    """Load the IANA time zone of a name such as `Europe/Berlin`.

    Raises:
        ValueError: no such zone, with the nearest names there are.
    """
    if name == "UTC":
        return dt.UTC  # needs no zone database, which small containers do not have
    if _ZONE_NAME.fullmatch(name) and not name.startswith(_MACHINE_ZONES):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # missing, a folder of zones, or not a zone file: all are names that are no zone
    known = sorted(zoneinfo.available_timezones())
    if not known:
        msg = f"time zone {name[:64]!a} cannot be looked up, this machine has no zone database; pip install tzdata"
    else:
        near = difflib.get_close_matches(name[:64], known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "use an IANA name such as Europe/Berlin"
        msg = f"unknown time zone {name[:64]!a}; {hint}"
    raise ValueError(msg)


def _days(period: Period, at: int, zone: dt.tzinfo, first_weekday: int, anchor: MonthDay) -> Window:
    day = _local(at, zone).date()
    # Clocks set back across midnight show yesterday once more: that hour stays with the day already begun.
    while _day_start(day + dt.timedelta(days=1), zone) <= at:
        day += dt.timedelta(days=1)
    first, after = _span(period, day, first_weekday, anchor)
    return _day_start(first, zone) * 1000, _day_start(after, zone) * 1000


def _span(period: Period, day: dt.date, first_weekday: int, anchor: MonthDay) -> tuple[dt.date, dt.date]:
    """Find the first day of the period that holds `day`, and the first day of the next one."""
    if period == "daily":
        return day, day + dt.timedelta(days=1)
    if period == "weekly":
        first = day - dt.timedelta(days=(day.weekday() - first_weekday) % 7)
        return first, first + dt.timedelta(days=7)
    months, (anchor_month, anchor_day) = _MONTHS[period], anchor
    number = day.year * 12 + day.month - 1
    number -= (number - (anchor_month - 1)) % months
    if day < _begins(number, anchor_day):
        number -= months
    return _begins(number, anchor_day), _begins(number + months, anchor_day)


def _begins(number: int, day: int) -> dt.date:
    """Find that day of a month, or the month's last; months are counted from the year 0."""
    year, month = divmod(number, 12)
    return dt.date(year, month + 1, min(day, calendar.monthrange(year, month + 1)[1]))


@functools.lru_cache(maxsize=256)
def _day_start(day: dt.date, zone: dt.tzinfo) -> int:
    """Find the first second at which the local date is `day` or later."""
    midnight = dt.datetime.combine(day, dt.time())
    # Of a midnight that comes twice, fold=0 is the first. Of one that is skipped, fold=0 is read on the old
    # offset and lies at the jump or after it, fold=1 on the new one and lies before: the jump is between.
    start = _epoch(midnight.replace(tzinfo=zone))
    if _local(start, zone).replace(tzinfo=None) == midnight:
        return start
    before = _epoch(midnight.replace(tzinfo=zone, fold=1)) - 1
    return _first(before, start, lambda second: _local(second, zone).replace(tzinfo=None) >= midnight)


def _hour(at: int, zone: dt.tzinfo) -> Window:
    offset = _offset(at, zone)
    start = (at + offset) // _HOUR * _HOUR - offset
    end = start + _HOUR
    if _offset(start, zone) != offset:
        start = _first(start, at, lambda second: _offset(second, zone) == offset)
    if _offset(end - 1, zone) != offset:
        end = _first(at, end - 1, lambda second: _offset(second, zone) != offset)
    return start, end


def _first(before: int, after: int, reached: Callable[[int], bool]) -> int:
    """Find the first second in `(before, after]` at which `reached` holds; it holds at `after`, not at `before`."""
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if reached(middle) else (middle, after)
    return after


def _local(second: int, zone: dt.tzinfo) -> dt.datetime:
    # Not fromtimestamp: it asks the platform, whose range is narrower on some.
    return (_EPOCH + dt.timedelta(seconds=second)).astimezone(zone)


def _offset(second: int, zone: dt.tzinfo) -> int:
    offset = _local(second, zone).utcoffset()
    return 0 if offset is None else offset // _SECOND


def _epoch(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // _SECOND
