"""Spans, times, numbers and money as the readers of one locale write them: Jinja filters over Babel.

Knows the rules of Unicode's CLDR by way of Babel; knows no template and never reads the clock.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

from babel import Locale, dates, numbers

_HOUR, _DAY = 60, 24 * 60  # minutes
_LONGEST = 10 * 365 * _DAY
# From how many on a unit is taken although something smaller is left over; that is dropped, so that nobody is late.
_MANY = 10
# Results that are remembered, of what is no longer than any date, number or time is.
_KEPT = 4096
_LONGEST_WRITTEN = 40
_MOST_DIGITS = 15


def filters(locale: Locale) -> Mapping[str, Callable[..., str]]:
    """The filters by the name that templates call them."""
    return {
        "lifetime": partial(_in_time, locale),
        "date": partial(_tell_date, locale),
        "moment": partial(_tell_moment, locale),
        "number": partial(_write_number, locale),
        "money": partial(_write_money, locale),
    }


@lru_cache(_KEPT, typed=True)
def _in_time(locale: Locale, minutes: Any) -> str:
    """When this many minutes are over, in words: in 15 minutes, in 24 hours, in 7 days."""
    if not isinstance(minutes, int) or not 0 < minutes <= _LONGEST:
        raise TypeError("a lifetime is a whole number of minutes, at most ten years")
    if minutes >= 2 * _DAY and (minutes % _DAY == 0 or minutes >= _MANY * _DAY):
        unit = _DAY
    elif minutes >= _HOUR and (minutes % _HOUR == 0 or minutes >= _MANY * _HOUR):
        unit = _HOUR
    else:
        unit = 1
    count = minutes // unit
    # A threshold of the count itself makes Babel take this unit and none that is larger.
    return dates.format_timedelta(timedelta(minutes=count * unit), threshold=count, add_direction=True, locale=locale)


@lru_cache(_KEPT, typed=True)
def _tell_date(locale: Locale, written: str) -> str:
    """A date of RFC 3339 in words, such as November 21, 2026."""
    _check_length(written)
    try:
        return dates.format_date(date.fromisoformat(written), "long", locale=locale)
    except ValueError:  # the year 0
        return written


@lru_cache(_KEPT, typed=True)
def _tell_moment(locale: Locale, written: str) -> str:
    """A time of RFC 3339 as date and time with its own offset, such as November 21, 2026, 8:30 AM UTC."""
    _check_length(written)
    try:
        moment = datetime.fromisoformat(written.upper())
    except ValueError:  # a leap second, or the year 0: allowed in RFC 3339, unknown to Python
        return written
    day = dates.format_date(moment.date(), "long", locale=locale)
    time = dates.format_time(moment.timetz(), "short", locale=locale)
    pattern = str(dates.get_datetime_format("long", locale=locale)).replace("'", "")
    zone = dates.format_datetime(moment, "ZZZZ", locale=locale) if moment.utcoffset() else "UTC"
    return f"{pattern.replace('{1}', day).replace('{0}', time)} {zone}"


@lru_cache(_KEPT, typed=True)
def _write_number(locale: Locale, value: Any) -> str:
    return numbers.format_decimal(_exact(value), locale=locale)


@lru_cache(_KEPT, typed=True)
def _write_money(locale: Locale, amount: Any, currency: str) -> str:
    """An amount in major units with the sign of its currency (ISO 4217), as many digits as the currency has."""
    _check_length(currency)
    return numbers.format_currency(_exact(amount), currency, locale=locale)


def _exact(value: Any) -> Decimal:
    """A number as it was written: 0.1 is a tenth."""
    written = str(value)
    _check_length(written)
    number = Decimal(written)
    if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
        raise ValueError("a number is too large")
    return number


def _check_length(written: str) -> None:
    if len(written) > _LONGEST_WRITTEN:
        raise ValueError("this is longer than a date, a number or a time is")
