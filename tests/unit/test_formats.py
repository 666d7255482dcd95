"""Spans, times, numbers and money in the words of a locale, and what is none of them."""

import pytest
from babel import Locale

from email_service.rendering import formats


def write(locale: str, name: str, *values: object) -> str:
    return formats.filters(Locale.parse(locale, sep="-"))[name](*values).replace("\u202f", " ").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "in 1 minute"),
        (59, "in 59 minutes"),
        (60, "in 1 hour"),
        (61, "in 61 minutes"),
        (90, "in 90 minutes"),
        (120, "in 2 hours"),
        (599, "in 599 minutes"),
        (601, "in 10 hours"),
        (1440, "in 24 hours"),
        (2160, "in 36 hours"),
        (2880, "in 2 days"),
        (4000, "in 66 hours"),
        (14_399, "in 239 hours"),
        (14_401, "in 10 days"),
        (525_600, "in 365 days"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_that_tells_it_and_never_as_more_than_it_is(minutes, words):
    assert write("en", "lifetime", minutes) == words


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de", "in 7 Tagen"),
        ("pl", "za 7 dni"),
        ("pt-BR", "em 7 dias"),
        ("tr", "7 gün sonra"),
        ("ja", "7 日後"),
        ("zh-Hans", "7天后"),
        ("ar", "خلال 7 أيام"),
    ],
)
def test_a_span_is_in_the_case_that_its_language_wants(locale, words):
    assert write(locale, "lifetime", 10_080) == words


@pytest.mark.parametrize("minutes", [0, -1, 60.0, "60", None, 10**30])
def test_what_is_no_span_is_a_mistake(minutes):
    assert write("en", "lifetime", 60) == "in 1 hour"  # is remembered, and 60.0 is not the same
    with pytest.raises(TypeError, match="whole number of minutes"):
        write("en", "lifetime", minutes)


@pytest.mark.parametrize(
    ("locale", "written", "told"),
    [
        ("en", "2026-11-21T08:30:00Z", "November 21, 2026, 8:30 AM UTC"),
        ("en", "2026-11-21t08:30:59.123456789z", "November 21, 2026, 8:30 AM UTC"),
        ("de", "2026-11-21T08:30:00+01:00", "21. November 2026, 08:30 GMT+01:00"),
        ("fr", "2026-11-21T20:30:00-05:00", "21 novembre 2026, 20:30 UTC-05:00"),
        ("ja", "2026-11-21T08:30:00Z", "2026年11月21日 8:30 UTC"),
        ("en", "2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
        ("en", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_told_with_its_own_offset(locale, written, told):
    assert write(locale, "moment", written).replace("\u2212", "-") == told


def test_a_date_is_told_in_words():
    assert write("es", "date", "2026-12-21") == "21 de diciembre de 2026"
    assert write("es", "date", "0000-12-21") == "0000-12-21"


@pytest.mark.parametrize(
    ("locale", "amount", "currency", "written"),
    [
        ("en", "1234.5", "EUR", "€1,234.50"),
        ("de", "1234.5", "EUR", "1.234,50 €"),
        ("de", "-0.1", "EUR", "-0,10 €"),
        ("ja", "1234", "JPY", "￥1,234"),
        ("en", "1.234", "KWD", "KWD 1.234"),
        ("pt-BR", "0.1", "BRL", "R$ 0,10"),
        ("en", "5", "XXZ", "XXZ 5.00"),
    ],
)
def test_money_is_written_as_its_currency_and_its_reader_do(locale, amount, currency, written):
    told = write(locale, "money", amount, currency)
    assert told.replace("XXZ5", "XXZ 5").replace("KWD1", "KWD 1") == written


def test_numbers_are_written_as_the_reader_does():
    assert write("de", "number", 1234567.25) == "1.234.567,25"
    assert write("en", "number", 5) == "5"


@pytest.mark.parametrize(("name", "more"), [("date", []), ("moment", []), ("number", []), ("money", ["EUR"])])
def test_what_is_longer_than_it_can_be_is_neither_read_nor_remembered(name, more):
    """T21."""
    with pytest.raises(ValueError, match="longer than"):
        write("en", name, "0." + "0" * 100_000, *more)
    with pytest.raises(ValueError, match="longer than"):
        write("en", "money", "1", "E" * 100_000)


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", 10**20])
def test_a_number_without_end_is_a_mistake(number):
    with pytest.raises((ValueError, ArithmeticError)):
        write("en", "number", number)
