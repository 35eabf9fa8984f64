"""The market: one price source, so that bars, quotes and options agree."""

from datetime import date, datetime
from itertools import pairwise

import numpy as np
import pytest

from gateway_sim.calendar import NEW_YORK, Calendar, holidays, local
from gateway_sim.clock import MarketClock, parse_start
from gateway_sim.contracts import ContractBook, ContractQuery
from gateway_sim.history import Duration, History
from gateway_sim.market import Market
from gateway_sim.option_series import session_values, value_at, volume_so_far
from gateway_sim.prices import Part, PriceSource
from gateway_sim.pricing import greeks, implied_volatility, normal_cdf, normal_cdf_array

NOW = parse_start("2026-06-15 11:00")


@pytest.fixture(scope="module")
def calendar():
    return Calendar()


@pytest.fixture(scope="module")
def market(calendar):
    return Market(PriceSource(1, calendar), calendar)


@pytest.fixture(scope="module")
def book(market, calendar):
    return ContractBook(market.prices, calendar)


@pytest.fixture(scope="module")
def history(market, calendar):
    return History(market, calendar)


@pytest.fixture(scope="module")
def spy(book):
    return book.underlying("SPY")


# --- calendar and clock ---


@pytest.mark.parametrize(("day", "closed"), [
    (date(2026, 4, 3), True), (date(2026, 6, 19), True), (date(2026, 7, 3), True), (date(2026, 11, 26), True),
    (date(2026, 12, 25), True), (date(2021, 12, 31), False), (date(2027, 12, 24), True), (date(2026, 6, 13), True),
    (date(2026, 6, 15), False), (date(2025, 4, 18), True), (date(2021, 6, 18), False),
])  # fmt: skip
def test_holidays(calendar, day, closed):
    assert calendar.is_trading_day(day) is not closed


@pytest.mark.parametrize(("day", "hour"), [(date(2026, 11, 27), 13), (date(2026, 12, 24), 13), (date(2025, 7, 3), 13),
                                           (date(2026, 6, 15), 16)])  # fmt: skip
def test_half_days_close_at_one(calendar, day, hour):
    assert local(calendar.on(day).close).hour == hour


def test_daylight_saving_moves_the_open_in_utc_not_in_new_york(calendar):
    friday, monday = calendar.on(date(2026, 3, 6)), calendar.on(date(2026, 3, 9))

    assert local(friday.open).hour == local(monday.open).hour == 9
    assert (monday.open - friday.open) == 3 * 86_400 - 3_600


def test_year_has_nine_or_ten_holidays():
    assert [len(holidays(year)) for year in (2021, 2022, 2026)] == [9, 9, 10]


def test_clock_skips_closed_hours_while_elapsed_time_runs_on(calendar):
    """16:00 and the next 9:30 are the same elapsed second; half days and weekends too."""
    clock = MarketClock(calendar, parse_start("2026-11-25 15:59"), skip_closed=True)

    assert local(clock.market_time(59.0)).strftime("%d %H:%M:%S") == "25 15:59:59"
    assert local(clock.market_time(60.0)).strftime("%d %H:%M:%S") == "27 09:30:00"
    assert local(clock.market_time(60.0 + 3.5 * 3600)).strftime("%d %H:%M:%S") == "30 09:30:00"
    assert clock.elapsed_at(clock.market_time(5000.0)) == pytest.approx(5000.0)
    assert clock.market_time(10.0) < clock.market_time(61.0)


def test_clock_without_skipping_lets_nights_pass(calendar):
    clock = MarketClock(calendar, NOW)

    assert clock.market_time(86_400.0) == NOW + 86_400
    assert clock.elapsed_at(NOW + 5) == 5


# --- prices ---


def test_a_day_is_the_same_whatever_was_asked_before(calendar, book):
    listing = book.listings["AAPL"]
    day = calendar.on(date(2026, 6, 15))
    fresh, used = PriceSource(5, calendar), PriceSource(5, calendar)
    for index in range(day.index - 20, day.index):
        used.segment(book.listings["TSLA"], calendar.at_index(index), Part.REGULAR)

    assert np.array_equal(fresh.segment(listing, day, Part.REGULAR).mid, used.segment(listing, day, Part.REGULAR).mid)


def test_sessions_join_without_a_gap_except_overnight(market, calendar, spy):
    day = calendar.on(date(2026, 6, 15))
    pre, regular, post = (market.prices.segment(spy.listing, day, part) for part in Part)

    assert regular.mid[0] == pytest.approx(pre.mid[-1], rel=1e-3)
    assert post.mid[0] == pytest.approx(regular.mid[-1], rel=1e-3)


@pytest.mark.parametrize("symbol", ["SPY", "QQQ", "AAPL", "TSLA", "F"])
def test_intraday_moves_are_believable(market, calendar, book, symbol):
    """Daily range, one-minute noise and U-shaped volume in a sane band."""
    listing = book.listings[symbol]
    segment = market.prices.segment(listing, calendar.on(date(2026, 6, 15)), Part.REGULAR)
    daily = listing.volatility / 252**0.5
    minutes = np.diff(np.log(segment.mid[::60]))

    assert 0.2 * daily < np.log(segment.mid.max() / segment.mid.min()) < 6 * daily
    assert 0.3 < minutes.std() * 390**0.5 / daily < 2.5
    thirds = [part.sum() for part in np.array_split(segment.volume, 13)]
    assert thirds[0] > 1.3 * thirds[6] < thirds[12]
    assert (segment.ask >= segment.bid).all() and (segment.volume > 0).all()


def test_quote_and_last_bar_agree(history, market, spy):
    for second in range(0, 300, 37):
        now = NOW + second
        bars = history.bars(spy, "TRADES", 60, now - 120, now, now, True)

        assert bars.close[-1] == market.quote(spy, now).last


def test_option_quote_and_last_bar_agree(history, market, book):
    expiry = book.expiries("SPY", NOW)[0]
    for strike in (595.0, 600.0, 604.0):
        for right in "CP":
            option = book.option(book.listings["SPY"], expiry, strike, right)
            bars = history.bars(option, "BID", 60, NOW - 120, NOW, NOW, True)
            quote = market.quote(option, NOW)
            assert bars.close[-1] == max(0.0, quote.bid)


def test_small_bars_merge_into_large_ones(history, spy):
    small = history.bars(spy, "TRADES", 5, NOW - 600, NOW - 1, NOW, True)
    large = history.bars(spy, "TRADES", 300, NOW - 600, NOW - 1, NOW, True)

    for row in range(len(large)):
        inside = (small.start >= large.start[row]) & (small.start < large.start[row] + 300)
        assert large.high[row] == small.high[inside].max() and large.volume[row] == small.volume[inside].sum()
        assert large.open[row] == small.open[inside][0] and large.close[row] == small.close[inside][-1]


def test_daily_bar_of_today_is_the_quote(history, market, spy):
    bars = history.bars(spy, "TRADES", 86_400, NOW - 30 * 86_400, NOW, NOW, True)
    quote = market.quote(spy, NOW)

    assert (bars.high[-1], bars.low[-1], bars.close[-1], bars.open[-1]) == (
        quote.high,
        quote.low,
        quote.last,
        quote.open,
    )
    assert bars.close[-2] == quote.previous_close


def test_unfinished_bar_is_included(history, spy):
    """3600 S of one-minute bars at 10:52:08 gives 61 rows, the last starting at 10:52 (rule book 8)."""
    now = parse_start("2026-06-15 10:52:08")
    start = history.start_of(Duration(3600, "S"), now, True)
    bars = history.bars(spy, "TRADES", 60, start, now, now, True)

    assert len(bars) == 61
    assert local(int(bars.start[-1])).strftime("%H:%M:%S") == "10:52:00"


def test_durations_in_seconds_count_session_time(history, spy):
    """Five minutes after the open, 3600 S reaches back to yesterday's last 55 minutes."""
    now = parse_start("2026-06-15 09:35")
    start = history.start_of(Duration(3600, "S"), now, True)

    assert local(start).strftime("%d %H:%M") == "12 15:05"


def test_a_year_of_daily_bars(history, spy):
    start = history.start_of(Duration(1, "Y"), NOW, True)

    assert 250 <= len(history.bars(spy, "TRADES", 86_400, start, NOW, NOW, True)) <= 253


def test_decades_of_daily_bars_come_at_once(history, spy):
    """Old days are drawn from the daily walk: 20 years in well under a second, every bar well-formed."""
    start = history.start_of(Duration(68, "Y"), NOW, True)
    bars = history.bars(spy, "TRADES", 86_400, start, NOW, NOW, True)

    assert len(bars) > 4800
    assert (bars.high >= np.maximum(bars.open, bars.close)).all() and (
        bars.low <= np.minimum(bars.open, bars.close)
    ).all()
    assert (bars.low > 0).all()


def test_small_bars_older_than_six_months_do_not_exist(history, spy):
    old = parse_start("2025-11-03 16:00")

    assert len(history.bars(spy, "TRADES", 5, old - 60, old, NOW, True)) == 0
    assert len(history.bars(spy, "TRADES", 60, old - 60, old, NOW, True)) == 1


# --- options ---


def test_strike_lists_differ_per_expiry_and_the_union_has_phantoms(book):
    expiries = book.expiries("AAPL", NOW)
    lists = [set(book.strikes("AAPL", expiry)) for expiry in expiries]
    union = set().union(*lists)

    assert len({frozenset(strikes) for strikes in lists}) > 3
    assert all(union - strikes for strikes in lists)
    phantom = ContractQuery(
        symbol="AAPL", sec_type="OPT", expiry=expiries[0].text, strike=max(union - lists[0]), right="C"
    )
    assert book.find(phantom, NOW) == []


def test_todays_expiry_is_listed_until_the_close(book):
    assert book.expiries("SPY", NOW)[0].text == "20260615"
    assert book.expiries("SPY", parse_start("2026-06-15 16:00"))[0].text == "20260616"
    assert len(book.expiries("QQQ", NOW)) > 10


def test_volume_peaks_near_the_money_and_only_grows(market, book, calendar):
    listing = book.listings["SPY"]
    expiry = book.expiries("SPY", NOW)[0]
    volumes = {
        strike: market.quote(book.option(listing, expiry, strike, "C"), NOW).volume
        for strike in book.strikes("SPY", expiry)
    }
    spot = market.spot(listing, NOW)

    best = max(volumes, key=lambda strike: volumes[strike])
    assert abs(best - spot) < 3
    assert volumes[best] > 20 * volumes[min(volumes)]
    nearest = sorted(volumes, key=lambda strike: abs(strike - spot))[:3]
    assert len({volumes[strike] for strike in nearest}) == 3
    option = book.option(listing, expiry, best, "C")
    segment = market.prices.segment(listing, calendar.current(NOW), Part.REGULAR)
    series = volume_so_far(option, segment)
    assert (np.diff(series) >= 0).all()
    assert abs(int(series[int(NOW) - segment.start]) - volumes[best]) <= 1


def test_scalar_and_array_option_prices_are_the_same_cents(market, book, calendar):
    listing = book.listings["AAPL"]
    expiry = book.expiries("AAPL", NOW)[1]
    segment = market.prices.segment(listing, calendar.current(NOW), Part.REGULAR)
    for strike in book.strikes("AAPL", expiry)[::9]:
        option = book.option(listing, expiry, strike, "P")
        series = session_values(option, segment)
        for second in range(0, 23_400, 4999):
            value = value_at(option, float(segment.mid[second]), segment.start + second)
            assert (value.bid, value.ask, value.last) == (series.bid[second], series.ask[second], series.last[second])


@pytest.mark.parametrize("right", ["C", "P"])
def test_a_watched_minute_is_what_single_looks_show(book, calendar, right):
    """Looked at once a second or once in all: same prices, day's range and volume; greeks to the digits sent."""
    listing = book.listings["AAPL"]
    option = book.option(listing, book.expiries("AAPL", NOW)[0], 200.0, right)
    watching = Market(PriceSource(1, calendar), calendar)
    watched = [(watching.quote(option, NOW + at), watching.option_value(option, NOW + at)) for at in range(120)]

    for at in (0, 1, 59, 60, 119):
        fresh = Market(PriceSource(1, calendar), calendar)
        quote, value = watched[at]
        alone = fresh.option_value(option, NOW + at)
        assert fresh.quote(option, NOW + at) == quote
        assert (value.bid, value.ask, value.last) == (alone.bid, alone.ask, alone.last)
        assert value.model == pytest.approx(alone.model, abs=1e-9)


def test_last_lies_inside_the_days_range(book, calendar):
    """Of an option and of its underlying, through an hour in which volume only grows."""
    market = Market(PriceSource(3, calendar), calendar)
    listing = book.listings["SPY"]
    for contract in (book.underlying("SPY"), book.option(listing, book.expiries("SPY", NOW)[0], 600.0, "C")):
        quotes = [market.quote(contract, NOW + at) for at in range(0, 3600, 7)]
        assert all(quote.low <= quote.last <= quote.high for quote in quotes)
        assert all(later.volume >= earlier.volume for earlier, later in pairwise(quotes))


def test_greeks_match_finite_differences():
    spot, strike, years, volatility = 600.0, 605.0, 0.02, 0.2
    up, down = (greeks(spot + step, strike, years, volatility, True).price for step in (0.5, -0.5))
    here = greeks(spot, strike, years, volatility, True)

    assert here.delta == pytest.approx(up - down, abs=1e-3)
    assert here.gamma == pytest.approx((up - 2 * here.price + down) / 0.25, rel=0.02)
    more = greeks(spot, strike, years, volatility + 0.01, True).price
    assert here.vega == pytest.approx(more - here.price, rel=0.02)
    tomorrow = greeks(spot, strike, years - 1 / 365, volatility, True).price
    assert here.theta == pytest.approx(tomorrow - here.price, rel=0.1)


def test_implied_volatility_inverts_the_price():
    price = greeks(600.0, 590.0, 0.05, 0.23, False).price

    assert implied_volatility(price, 600.0, 590.0, 0.05, False) == pytest.approx(0.23, abs=1e-6)
    assert implied_volatility(1000.0, 600.0, 590.0, 0.05, False) is None


def test_normal_distribution_twins_agree():
    points = np.linspace(-6, 6, 241)

    assert np.allclose(normal_cdf_array(points), [normal_cdf(float(x)) for x in points], atol=1e-15)
    assert normal_cdf(1.0) == pytest.approx(0.8413447461, abs=1e-7)


def test_closed_market_shows_no_bid_and_ask(market, book):
    night = datetime(2026, 6, 15, 22, 0, tzinfo=NEW_YORK).timestamp()
    spy_quote = market.quote(book.underlying("SPY"), night)

    assert (spy_quote.bid, spy_quote.bid_size, spy_quote.ask) == (-1.0, 0, -1.0)
    assert spy_quote.last > 0
