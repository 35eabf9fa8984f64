"""Every limit: at it nothing happens, one over it gives the exact code and text, and a line in the ledger."""

from dataclasses import replace

import pytest

from gateway_sim.limits import HISTORY_BUDGET, LimitSettings, Rule, SlidingLog
from gateway_sim.settings import GatewaySettings
from tests.gateway_sim.direct import Bench

PACING = "Historical Market Data Service error message:Historical data request pacing violation"


def bench_with(**limits) -> Bench:
    return Bench(GatewaySettings(limits=LimitSettings(**limits)))


def spaced_history(bench, client, count, step_s=1.0, what="TRADES", size="5 secs"):
    """So many requests that break no rule but the budget: each of another end time, far enough apart."""
    for number in range(count):
        client.history(
            1000 + number, end=f"20260612 15:{number // 60:02d}:{number % 60:02d} US/Eastern", what=what, size=size
        )
        bench.advance(step_s)


# --- message rate ---


def test_fifty_messages_a_second_pass():
    bench = Bench()
    client = bench.connect(1)
    for _ in range(50):
        client.send(49, 1)

    assert client.codes() == []
    assert len(client.of(49)) == 50


def test_fifty_first_message_gets_100_and_is_not_served():
    bench = Bench()
    client = bench.connect(1)
    for _ in range(51):
        client.send(49, 1)

    assert client.errors() == [(-1, 100, "Max rate of messages per second has been exceeded:max=50 rec=51 (1)")]
    assert len(client.of(49)) == 50
    assert bench.violations() == ["message_rate"]
    assert len(bench.events("violation")[0]["window"]) == 50


def test_third_strike_ends_the_session():
    bench = Bench()
    client, other = bench.connect(1), bench.connect(2)
    for _ in range(53):
        client.send(49, 1)

    assert [text[-3:] for _, _, text in client.errors()] == ["(1)", "(2)", "(3)"]
    assert client.closed and not other.closed


def test_the_window_slides():
    """A message is forgotten exactly one second after it came."""
    bench = Bench()
    client = bench.connect(1)
    for _ in range(50):
        client.send(49, 1)
    bench.advance(1.0)

    client.send(49, 1)

    assert client.codes() == []


def test_rate_is_warned_of_at_ninety_per_cent():
    bench = Bench()
    client = bench.connect(1)
    for _ in range(45):
        client.send(49, 1)

    [warning] = [fields for fields in client.of(4) if fields[3] == "0"]
    assert warning[4] == "Warning: Approaching max rate of 50 messages per second (45)"


def test_rate_follows_the_market_data_lines():
    """200 lines give 100 messages a second."""
    bench = bench_with(lines=200)
    client = bench.connect(1)
    for _ in range(100):
        client.send(49, 1)

    assert client.codes() == []


def test_pace_mode_delays_in_order_and_says_nothing():
    bench = bench_with(messages="pace")
    client = bench.connect(1)
    for number in range(120):
        client.send(91, 26) if number % 2 else client.send(49, 1)

    assert len(client.received) == 51  # 50 answers and the warning
    assert bench.paused() == [1]
    bench.advance(1.0)
    assert len(client.of(49)) + len(client.of(93)) == 100
    bench.advance(1.0)
    assert len(client.of(49)) + len(client.of(93)) == 120
    assert client.codes() == [] and bench.paused() == []
    assert bench.violations().count("message_rate") >= 1


# --- historical trio ---


def test_identical_small_request_within_15_s_is_a_violation():
    bench = Bench()
    client = bench.connect(1)
    client.history(1)
    bench.advance(14.9)

    client.history(2)

    assert client.errors() == [(2, 162, PACING)]
    assert bench.violations() == ["historical_identical_15s"]


def test_identical_small_request_after_15_s_is_none():
    bench = Bench()
    client = bench.connect(1)
    client.history(1)
    bench.advance(15.0)

    client.history(2)
    bench.advance(1)

    assert client.codes() == [] and len(client.of(17)) == 2


def test_the_trio_is_counted_per_login_not_per_client():
    bench = Bench()
    first, second = bench.connect(1), bench.connect(2)
    first.history(1)
    second.history(1)

    assert second.codes() == [162]


def test_sixth_request_for_one_contract_within_2_s_is_a_violation():
    bench = Bench()
    client = bench.connect(1)
    for number in range(5):
        client.history(number, duration=f"{60 + number} S")
    assert client.codes() == []

    client.history(6, duration="90 S")

    assert client.errors() == [(6, 162, PACING)]
    assert bench.violations() == ["historical_6_per_2s"]


def test_other_tick_type_is_another_count():
    bench = Bench()
    client = bench.connect(1)
    for number in range(5):
        client.history(number, duration=f"{60 + number} S")

    client.history(6, what="MIDPOINT")

    assert client.codes() == []


def test_sixty_in_ten_minutes_pass_and_the_next_does_not():
    bench = Bench()
    client = bench.connect(1)
    spaced_history(bench, client, 60)
    assert client.codes() == []

    client.history(2)

    assert client.errors() == [(2, 162, PACING)]
    assert bench.violations() == ["historical_60_per_600s"]
    bench.advance(600 - 60)
    client.history(3)
    assert client.codes() == [162]  # the oldest entry has left the window


def test_bid_ask_weighs_two():
    bench = Bench()
    client = bench.connect(1)
    spaced_history(bench, client, 30, what="BID_ASK")
    assert client.codes() == []

    client.history(2)

    assert client.codes() == [162]


def test_large_bars_are_only_slowed_down():
    """No hard limit for bars of a minute and more; many of them take longer and longer."""
    bench = Bench()
    client = bench.connect(1)
    spaced_history(bench, client, 70, step_s=0.05, size="1 min")

    assert len(client.of(17)) < 50
    bench.advance(22)
    assert client.codes() == [] and len(client.of(17)) == 70


def test_strict_mode_applies_the_trio_to_large_bars_too():
    bench = bench_with(strict_large_bars=True)
    client = bench.connect(1)
    client.history(1, size="1 min", duration="3600 S")

    client.history(2, size="1 min", duration="3600 S")

    assert client.codes() == [162]


def test_silent_mode_never_answers():
    bench = bench_with(history="silent")
    client = bench.connect(1)
    client.history(1)
    client.history(2)
    bench.advance(120)

    assert client.codes() == [] and [fields[1] for fields in client.of(17)] == ["1"]
    assert bench.violations() == ["historical_identical_15s"]


def test_slow_mode_answers_late():
    bench = bench_with(history="slow")
    client = bench.connect(1)
    client.history(1)
    client.history(2)
    bench.advance(4)
    assert len(client.of(17)) == 1

    bench.advance(4)

    assert len(client.of(17)) == 2


def test_head_time_stamps_share_the_budget():
    bench = Bench()
    client = bench.connect(1)
    spaced_history(bench, client, 60)

    client.send(87, 5, 0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "", 0, 1, "TRADES", 1)

    assert client.errors() == [(5, 162, PACING)]


# --- slots ---


def test_fifty_open_historical_requests_and_no_more():
    bench = Bench()
    client = bench.connect(1)
    for number in range(45):
        client.history(number, size="1 min", duration=f"{60 + number} S", live=True)
    bench.advance(2)
    for number in range(45, 50):
        client.history(number, size="1 min", duration=f"{60 + number} S", live=True)
    assert client.codes() == []

    client.history(50, size="1 min")

    text = "Error processing request.-'bS' : cause - Only 50 simultaneous API historical data requests allowed."
    assert client.errors() == [(50, 322, text)]
    client.send(25, 1, 0)
    client.take()
    client.history(51, size="1 min")
    assert client.codes() == []


def test_hundred_lines_and_error_101():
    """The same instrument twice needs one line; cancelling gives a line back."""
    bench = Bench(GatewaySettings())
    client = bench.connect(1)
    gateway = bench.gateway
    for number in range(99):
        gateway.lines.take(("other", number), number)
    client.quotes(1, "SPY")
    client.quotes(2, "SPY")
    assert client.codes() == []

    client.quotes(3, "QQQ")

    assert client.errors() == [(3, 101, "Max number of tickers has been reached")]
    client.send(2, 2, 1)
    client.send(2, 2, 2)
    client.take()
    client.quotes(4, "QQQ")
    assert client.codes() == []


def test_snapshots_100_a_second():
    bench = bench_with(lines=400)
    client = bench.connect(1)
    for number in range(100):
        client.quotes(number, "SPY", snapshot=True)
    assert client.codes() == []

    client.quotes(100, "SPY", snapshot=True)

    text = "Error validating request.-'bQ' : cause - Snapshot requests limitation exceeded:100 per 1 second(s)"
    assert client.errors() == [(100, 321, text)]


def test_real_time_bars_60_new_in_ten_minutes():
    bench = Bench()
    client = bench.connect(1)
    for number in range(60):
        client.send(50, 3, number, 0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "", 5, "TRADES", 1, "")
        client.send(51, 1, number)
        bench.advance(1)
    assert client.codes() == []

    client.send(50, 3, 99, 0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "", 5, "TRADES", 1, "")

    assert client.errors() == [(99, 420, "Invalid Real-time Query:Historical data request pacing violation")]


def tick_by_tick(client, number, symbol):
    client.send(97, number, 0, symbol, "STK", "", 0, "", "", "SMART", "", "USD", "", "", "BidAsk", 0, 0)


def test_five_tick_by_tick_streams_and_error_10190():
    bench = Bench()
    client = bench.connect(1)
    for number, symbol in enumerate(("SPY", "QQQ", "AAPL", "MSFT", "TSLA")):
        tick_by_tick(client, number, symbol)
    assert client.codes() == []

    tick_by_tick(client, 9, "NVDA")

    assert client.errors() == [(9, 10190, "Max number of tick-by-tick requests has been reached.")]


def test_the_same_instrument_tick_by_tick_again_within_15_s_is_charged():
    """IB documents the rate and no error: the stream begins all the same."""
    bench = Bench()
    client = bench.connect(1)
    tick_by_tick(client, 1, "SPY")
    client.send(98, 1)
    bench.advance(15.0)
    tick_by_tick(client, 2, "SPY")
    client.send(98, 2)
    assert bench.violations() == []
    bench.advance(14.9)

    tick_by_tick(client, 3, "SPY")

    assert bench.violations() == ["tick_by_tick_same_instrument_15s"] and client.codes() == []


def depth(client, number, symbol):
    client.send(10, 5, number, 0, symbol, "STK", "", 0, "", "", "SMART", "", "USD", "", "", 5, 1, "")


def test_three_depth_requests_and_error_309():
    bench = Bench()
    client = bench.connect(1)
    for number, symbol in enumerate(("SPY", "QQQ", "AAPL")):
        depth(client, number, symbol)
    assert client.codes() == []

    depth(client, 9, "MSFT")

    assert client.errors() == [(9, 309, "Max number (3) of market depth requests has been reached")]


def test_two_account_summaries_and_error_322():
    bench = Bench()
    client = bench.connect(1)
    client.send(62, 1, 1, "All", "NetLiquidation")
    client.send(62, 1, 2, "All", "NetLiquidation")
    assert client.codes() == []

    client.send(62, 1, 3, "All", "NetLiquidation")

    [(number, code, text)] = client.errors()
    assert (number, code) == (3, 322)
    assert text.endswith("Maximum number of account summary requests exceeded; desubscribe to previous request first")


def test_fifteen_orders_on_one_side_and_error_201():
    """15 per contract, side and account; the other side has its own count."""
    bench = Bench()
    client = bench.connect(1)
    for number in range(1, 16):
        client.order(number, kind="LMT", limit=500 + number)
    assert client.codes() == []

    client.order(16, kind="LMT", limit=530)

    [(number, code, text)] = client.errors()
    assert (number, code) == (16, 201)
    assert "minimum of 15 orders working on either the buy or sell side for this particular contract" in text
    client.take()
    client.order(17, "QQQ", kind="LMT", limit=300)
    assert client.codes() == []


def test_one_matching_symbols_request_a_second_and_the_next_comes_late():
    """IB documents the rate and no error: one over it is charged, and answered a second later."""
    bench = Bench()
    client = bench.connect(1)
    client.send(81, 1, "SP")
    bench.advance(1.0)
    client.send(81, 2, "SP")
    bench.advance(0.3)
    assert bench.violations() == [] and len(client.of(79)) == 2

    client.send(81, 3, "SP")
    bench.advance(0.9)

    assert bench.violations() == ["matching_symbols_1_per_s"]
    assert client.codes() == [] and len(client.of(79)) == 2
    bench.advance(0.2)
    assert [fields[1] for fields in client.of(79)] == ["1", "2", "3"]


def test_one_what_if_order_a_minute():
    """IB documents the rate and no error: one over it is charged and answered all the same."""
    bench = Bench()
    client = bench.connect(1)
    client.order(1, what_if=True)
    bench.advance(60.0)
    client.order(2, what_if=True)
    assert bench.violations() == []
    bench.advance(59.9)

    client.order(3, what_if=True)

    assert bench.violations() == ["what_if_1_per_min"]
    assert client.codes() == [] and len(client.of(5)) == 3


def scan(client, number, code="TOP_PERC_GAIN", rows=50, above=""):
    client.send(22, number, rows, "STK", "STK.US.MAJOR", code, above, "", "", *[""] * 16)


def test_ten_scanners_and_error_322():
    """All clients together; a cancelled one makes room."""
    bench = Bench()
    client, other = bench.connect(1), bench.connect(2)
    for number in range(9):
        scan(client, number)
    scan(other, 1)
    assert client.codes() == [] and other.codes() == []

    scan(client, 9)

    service = "Historical Market Data Service error message:"
    text = "Error processing request.-'bS' : cause - Only 10 simultaneous API scanner subscriptions are allowed."
    assert client.errors() == [(9, 322, text)]
    assert bench.violations() == ["scanner_10"]
    client.take()
    client.send(23, 1, 0)
    assert client.errors() == [(0, 162, f"{service}API scanner subscription cancelled: 0")]
    client.take()
    scan(client, 9)
    bench.advance(1)
    assert client.codes() == [] and len(client.of(20)) == 9


def test_thirty_two_clients_and_the_next_is_cut():
    bench = Bench()
    clients = [bench.connect(number) for number in range(1, 33)]
    assert not any(client.closed for client in clients)

    one_more = bench.connect(33)

    assert one_more.closed and not any(client.closed for client in clients)
    assert bench.violations() == ["api_clients"]


# --- duplicate ids ---


@pytest.mark.parametrize("again", ["history", "quotes"])
def test_ids_in_use_get_322(again):
    bench = Bench()
    client = bench.connect(1)
    for symbol in ("SPY", "QQQ"):
        client.history(7, symbol, live=True) if again == "history" else client.quotes(7, symbol)

    [(number, code, text)] = client.errors()
    assert (number, code) == (7, 322)
    assert "Duplicate ticker" in text


def test_order_ids_only_go_up():
    """103 for a used id and for one below the highest."""
    bench = Bench()
    client = bench.connect(1)
    client.order(10)
    bench.advance(2)
    client.take()

    client.order(5)
    client.order(11)
    bench.advance(2)
    client.cancel(11)
    client.order(11, quantity=5)

    assert (5, 103, "Duplicate order id") in client.errors()
    assert (11, 104, "Cannot modify a filled order.") in client.errors()


# --- the counter itself ---


def test_sliding_log_lets_no_burst_through_that_a_bucket_would():
    """A token bucket of 60 per 600 s passes about 119 in a window; the log never more than 60."""
    log = SlidingLog(HISTORY_BUDGET)
    admitted = []
    for tick in range(12_000):
        now = tick / 10
        if log.would_breach(now) is None:
            log.add(now)
            admitted.append(now)

    for start in admitted:
        assert sum(start <= at < start + 600 for at in admitted) <= 60


def test_room_at_is_the_first_moment_that_fits():
    log = SlidingLog(Rule("two per ten", 2, 10.0))
    log.add(0.0)
    log.add(4.0)

    assert log.room_at(5.0) == 10.0
    assert log.would_breach(9.99) is not None
    assert log.would_breach(10.0) is None


def test_settings_are_frozen():
    assert replace(LimitSettings(), lines=200).messages_per_s == 100
    assert LimitSettings(lines=500).depth_requests == 4
