"""Every fault, as a raw client sees it."""

import pytest

from gateway_sim.faults import CATALOGUE, FaultRefused
from tests.gateway_sim.direct import CONTRACTS, Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect(1)


def inject(bench, name, lasts_s=None, **parameters):
    bench.gateway.faults.inject(name, lasts_s, parameters)
    bench.collect()


def working_order(bench, client, order_id=1, **more):
    client.order(order_id, kind="LMT", limit=500.0, **more)
    bench.advance(1.5)
    client.take()


# --- history ---


def test_hmds_silent_answers_nothing_and_heals(bench, client):
    inject(bench, "hmds_silent", 30)
    client.history(1)
    bench.advance(31)
    assert client.of(17) == [] and client.codes() == []

    client.history(2)
    bench.advance(1)

    assert [fields[1] for fields in client.of(17)] == ["2"]


def test_hmds_down_tells_2105_and_2106(bench, client):
    inject(bench, "hmds_down", 10)
    client.history(1)
    bench.advance(11)

    assert [fields[3] for fields in client.of(4)] == ["2105", "2106", "2106"]  # the first 2106 is the farm waking up
    assert client.of(17) == []


def test_hmds_slow_answers_late(bench, client):
    inject(bench, "hmds_slow", seconds=10)
    client.history(1)
    bench.advance(9)
    assert client.of(17) == []

    bench.advance(2)

    assert len(client.of(17)) == 1


def test_hmds_lockout_begins_after_some_requests(bench, client):
    inject(bench, "hmds_lockout", after=2)
    for number in range(4):
        client.history(number, duration=f"{60 + number} S")
    bench.advance(60)

    assert {fields[1] for fields in client.of(17)} == {"0", "1"}


def test_cancel_of_a_silent_request_echoes_162_and_of_an_unknown_one_366(bench, client):
    inject(bench, "hmds_silent")
    client.history(1)
    client.send(25, 1, 1)
    client.send(25, 1, 1)

    assert client.errors() == [
        (1, 162, "Historical Market Data Service error message:API historical data query cancelled: 1"),
        (1, 366, "No historical data query found for ticker id:1"),
    ]


def test_pacing_explicit_refuses_whatever_was_asked(bench, client):
    inject(bench, "pacing_explicit")
    client.history(1)

    assert client.errors()[0][1:] == (
        162, "Historical Market Data Service error message:Historical data request pacing violation"
    )  # fmt: skip


def test_pacing_silent_refuses_without_a_word(bench, client):
    inject(bench, "pacing_silent")
    client.history(1)
    bench.advance(30)

    assert client.codes() == [] and client.of(17) == []


def live_bars(bench, client):
    client.history(1, live=True)
    bench.advance(12)
    assert client.of(90)
    client.take()


def test_keepup_dead_ends_live_bars_with_10182(bench, client):
    live_bars(bench, client)
    inject(bench, "keepup_dead")
    bench.advance(30)

    assert client.errors() == [(1, 10182, "Failed to request live updates (disconnected).")]
    assert client.of(90) == []


def test_keepup_dead_can_be_silent(bench, client):
    live_bars(bench, client)
    inject(bench, "keepup_dead", silent=True)
    bench.advance(30)

    assert client.received == []


def test_bust_ends_live_bars_with_10225(bench, client):
    live_bars(bench, client)
    inject(bench, "bust")

    assert client.codes() == [10225]


# --- connectivity ---


def test_upstream_lost_repeats_1100_every_30_s_and_ends_with_1102(bench, client):
    client.quotes(1)
    bench.advance(2)
    client.take()
    inject(bench, "upstream_lost", 70)
    bench.advance(69)

    codes = [int(fields[3]) for fields in client.of(4)]
    assert codes == [1100, 2103, 2105, 2157, 1100, 1100]
    assert client.of(1) == [] and client.of(2) == []
    client.take()
    bench.advance(3)
    assert [int(fields[3]) for fields in client.of(4)] == [1102, 2104, 2106, 2158]
    assert client.of(2)  # ticks flow again


def test_data_lost_ends_with_1101_and_dead_streams(bench, client):
    client.quotes(1)
    bench.advance(2)
    inject(bench, "data_lost", 5)
    bench.advance(6)
    assert 1101 in client.codes()
    client.take()
    bench.advance(30)

    assert client.of(1) == [] and client.of(2) == []


def test_orders_sent_while_the_link_is_down_work_once_it_is_back(bench, client):
    inject(bench, "upstream_lost", 20)
    client.order(1)
    bench.advance(19)
    assert client.of(11) == []

    bench.advance(3)

    assert client.statuses(1)[-1] == "Filled"


def test_nightly_reset_tells_false_200(bench, client):
    inject(bench, "nightly_reset", 5)
    client.send(9, 8, 1, *CONTRACTS["SPY"], 0, "", "", "")
    bench.advance(1)
    assert (1, 200, "No security definition has been found for the request") in client.errors()
    bench.advance(5)
    client.take()

    client.send(9, 8, 2, *CONTRACTS["SPY"], 0, "", "", "")
    bench.advance(1)

    assert client.ids() == [10, 52]


def test_storm_sends_hundreds_of_1100(bench, client):
    inject(bench, "storm_1100", count=300)

    assert client.codes() == [1100, 1102] * 300


def test_farm_flap_stops_ticks_for_its_time(bench, client):
    client.quotes(1)
    bench.advance(2)
    client.take()
    inject(bench, "farm_flap", 3)
    bench.advance(2.9)
    assert [fields[3] for fields in client.of(4)] == ["2103", "2105"] and client.of(2) == []

    bench.advance(1)

    assert [fields[3] for fields in client.of(4)][2:] == ["2104", "2106"] and client.of(2)


def test_secdef_down_hangs_look_ups(bench, client):
    inject(bench, "secdef_down", 5)
    client.send(9, 8, 1, *CONTRACTS["SPY"], 0, "", "", "")
    bench.advance(6)

    assert [fields[3] for fields in client.of(4)] == ["2157", "2158"] and client.of(10) == []


def test_frozen_feed_says_nothing(bench, client):
    client.quotes(1)
    bench.advance(2)
    client.take()
    inject(bench, "freeze_feed", 10)
    bench.advance(9)

    assert client.received == []


def test_competing_session_tells_10197_and_162(bench, client):
    client.quotes(1)
    inject(bench, "competing_session")
    client.history(2)
    bench.advance(1)

    assert (1, 10197, "No market data during competing live session") in client.errors()
    text = "Historical Market Data Service error message:Trading TWS session is connected from a different IP address"
    assert (2, 162, text) in client.errors()


def test_delayed_only_refuses_live_and_serves_delayed(bench, client):
    inject(bench, "delayed_only")
    client.quotes(1)
    assert client.codes() == [10089]

    client.send(59, 1, 3)
    client.quotes(2)
    bench.advance(1)

    assert client.codes() == [10089, 10167]
    assert client.of(58)[-1][2:] == ["2", "3"]
    assert {fields[3] for fields in client.of(1)} >= {"66", "67", "68"}


def test_delayed_history_ends_fifteen_minutes_early(bench, client):
    """3600 S of 1-minute bars give 61 rows that end a quarter of an hour ago (rule book 3.3)."""
    inject(bench, "delayed_only")
    client.history(1, size="1 min", duration="3600 S")
    bench.advance(1)

    [answer] = client.of(17)
    last_start = int(answer[-8])
    assert 900 <= bench.gateway.floor.market_s - last_start < 965


def test_clock_skew_shows_in_current_time(bench, client):
    client.send(49, 1)
    inject(bench, "clock_skew", seconds=-120)
    client.send(49, 1)

    first, second = [int(fields[2]) for fields in client.of(49)]
    assert second == first - 120


# --- lines, look-ups, account ---


def test_lines_full(bench, client):
    inject(bench, "lines_full", 5)
    client.quotes(1)
    assert client.codes() == [101]
    bench.advance(6)

    client.quotes(2)

    assert client.codes() == [101]


def test_secdef_slow(bench, client):
    inject(bench, "secdef_slow", factor=50)
    client.send(9, 8, 1, *CONTRACTS["SPY"], 0, "", "", "")
    bench.advance(2)
    assert client.of(10) == []

    bench.advance(20)

    assert client.of(10)


def test_chain_hang_answers_exact_look_ups_only(bench, client):
    inject(bench, "chain_hang")
    client.send(9, 8, 1, 0, "SPY", "OPT", "", 0, "", "", "SMART", "", "USD", "", "", 0, "", "", "")
    client.send(9, 8, 2, *CONTRACTS["SPY"], 0, "", "", "")
    bench.advance(50)

    assert {fields[2] for fields in client.of(52)} == {"2"}


def test_model_greeks_missing(bench, client):
    inject(bench, "model_greeks_missing")
    expiry = bench.gateway.floor.book.expiries("SPY", bench.gateway.floor.market_s)[0].text
    option = (0, "SPY", "OPT", expiry, 600.0, "C", "100", "SMART", "", "USD", "", "")
    client.quotes(1, contract=option)
    bench.advance(1)

    model = next(fields for fields in client.of(21) if fields[2] == "13")
    assert model[4:] == ["-1", "-2", "-1", "-1", "-2", "-2", "-2", "-1"]
    assert any(fields[2] == "10" and float(fields[5]) > 0 for fields in client.of(21))


def test_account_not_ready(bench, client):
    inject(bench, "account_not_ready", 5)
    client.send(6, 2, 1, "")

    assert ["6", "2", "AccountReady", "false", "", "DU1234567"] in client.of(6)


# --- the program and its sockets ---


def test_mute_gateway_answers_everything_when_it_comes_back(bench, client):
    inject(bench, "mute", 10)
    client.send(49, 1)
    bench.advance(9.9)
    assert client.received == []

    bench.advance(1)

    assert len(client.of(49)) == 1


def test_mute_gateway_does_not_finish_a_handshake(bench, client):
    inject(bench, "mute", 10)
    late = bench.connect(None)
    assert late.received == []

    bench.advance(11)

    assert late.take()[0][0] == "178"


def test_api_hang_requests(bench, client):
    inject(bench, "api_hang_requests", 5)
    client.send(49, 1)
    bench.advance(6)
    assert client.received == []

    client.send(49, 1)

    assert len(client.of(49)) == 1


def test_api_hang_handshake_leaves_old_connections_alone(bench, client):
    inject(bench, "api_hang_handshake")
    late = bench.connect(None)
    client.send(49, 1)

    assert late.received == [] and client.of(49)


def test_read_stall_keeps_ticks_flowing(bench, client):
    client.quotes(1)
    bench.advance(1)
    client.take()
    inject(bench, "read_stall", 5)
    client.send(49, 1)
    bench.advance(4)
    assert client.of(2) and not client.of(49)

    bench.advance(2)

    assert client.of(49)


def test_write_stall_ends_in_one_burst(bench, client):
    client.quotes(1)
    bench.advance(1)
    client.take()
    inject(bench, "write_stall", 5)
    bench.advance(4.9)
    assert client.received == []

    bench.advance(0.2)

    assert len(client.received) > 15


def test_half_open_connection_is_dead_without_a_sign(bench, client):
    inject(bench, "half_open")
    client.send(49, 1)
    bench.advance(60)

    assert client.received == [] and not client.closed
    assert bench.connect(2) is not None


def test_slow_line_throttles_bytes(bench, client):
    inject(bench, "slow_line", 10, bytes_per_s=100)
    before = len(client.raw)
    client.history(1, size="5 secs", duration="600 S")
    bench.advance(5)

    assert 300 <= len(client.raw) - before <= 600
    bench.advance(10)
    assert len(client.of(17)) == 1


def test_socket_cut_is_a_reset(bench, client):
    inject(bench, "socket_cut")

    assert client.closed and client.aborted


@pytest.mark.parametrize("k", [1, 3, 4, 5, 17])
def test_socket_cut_after_byte_k(bench, client, k):
    before = len(client.raw)
    inject(bench, "socket_cut", after_sent=k)
    client.send(49, 1)

    assert len(client.raw) - before == k and client.closed


def test_order_cut_before_its_last_byte_is_never_placed(bench, client):
    inject(bench, "socket_cut", after_received=100)
    client.order(1)

    assert client.closed
    assert bench.events("order") == []


def test_garbage_frame_reaches_the_client(bench, client):
    with pytest.raises(Exception, match="frame length"):
        inject(bench, "garbage")


def test_unreadable_message_reaches_the_client_in_a_whole_frame(bench, client):
    """An error message with words where numbers belong; the connection and the other messages live on."""
    inject(bench, "garbage", frame=False)

    assert client.received[-1] == ["4", "x", "y"]
    client.send(49, 1)
    assert not client.closed and client.received[-1][0] == "49"


def test_zombie_client_id(bench, client):
    inject(bench, "client_id_zombie", 30)
    bench.disconnect(client)
    again = bench.connect(1)
    assert again.closed
    bench.advance(31)

    assert not bench.connect(1).closed


def test_restart_cuts_everybody_and_refuses_for_a_while(bench, client):
    inject(bench, "restart", 10)
    assert client.closed
    assert bench.connect(1).closed
    bench.advance(11)

    assert not bench.connect(1).closed


# --- orders ---


def test_restart_loses_orders_and_rolls_the_next_id_back(bench, client):
    for order_id in (1, 2, 3):
        working_order(bench, client, order_id)
    inject(bench, "restart_lost_orders", 1, lose=2)
    bench.advance(2)
    again = bench.connect(None)
    again.send(71, 2, 1, "")

    assert again.of(9)[0][2] == "2"
    again.send(16, 1)
    assert [fields[1] for fields in again.of(5)] == ["1"]


def test_dropped_order_is_never_heard_of(bench, client):
    inject(bench, "order_dropped")
    client.order(1)
    client.order(2)
    bench.advance(2)

    assert client.statuses(1) == [] and client.statuses(2)[-1] == "Filled"


def test_late_acknowledgement(bench, client):
    inject(bench, "late_ack", seconds=8)
    client.order(1)
    bench.advance(7.9)
    assert client.received == []

    bench.advance(2)

    assert client.statuses(1)[-1] == "Filled"


def test_order_held_until_reconnect(bench, client):
    """Not in open orders, and yet it comes to life after the next connect."""
    inject(bench, "hold_until_reconnect")
    client.order(1)
    client.send(16, 1)
    assert client.ids() == [53]
    bench.gateway.faults.clear("hold_until_reconnect")
    bench.disconnect(client)
    again = bench.connect(1)
    bench.advance(4)

    assert again.statuses(1)[-1] == "Filled"


def test_rejected_orders(bench, client):
    inject(bench, "order_rejected", code=460, text="No trading permissions", count=2)
    for order_id in (1, 2, 3):
        client.order(order_id)

    assert client.errors() == [(1, 460, "No trading permissions"), (2, 460, "No trading permissions")]


def test_rejected_child_leaves_a_live_parent(bench, client):
    inject(bench, "child_rejected")
    client.order(1, kind="LMT", limit=500, transmit=False)
    client.order(2, action="SELL", kind="LMT", limit=650, parent=1, transmit=False)
    client.order(3, action="SELL", kind="STP", aux=450, parent=1)

    assert client.codes() == [201]
    assert client.statuses(1) and client.statuses(2) == []


def test_103_for_an_order_that_was_accepted(bench, client):
    inject(bench, "order_103")
    client.order(1)
    bench.advance(2)

    assert client.codes() == [103] and client.statuses(1)[-1] == "Filled"


def test_read_only_gateway(bench, client):
    inject(bench, "reject_as_321")
    client.order(1)

    [(_, code, text)] = client.errors()
    assert code == 321 and "Read-Only" in text


@pytest.mark.parametrize("code", [10349, 399, 2109, 404, 10311, 99999])
def test_notice_on_a_live_order_changes_nothing(bench, client, code):
    working_order(bench, client)
    inject(bench, "notice", code=code, text="something")
    client.send(5, 1)

    assert client.errors() == [(1, code, "something")]
    assert client.statuses(1) == ["Submitted"]


def test_forked_modify_leaves_two_live_orders(bench, client):
    working_order(bench, client, ref="mine")
    inject(bench, "fork_on_modify")
    client.order(1, kind="LMT", limit=505, ref="mine")
    client.take()
    client.send(16, 1)

    perm_ids = {fields[25] for fields in client.of(5)}
    assert len(client.of(5)) == 2 and len(perm_ids) == 2


def test_cancel_not_found_leaves_the_order_alive(bench, client):
    working_order(bench, client)
    inject(bench, "cancel_not_found")
    client.cancel(1)
    assert client.codes() == [10147]

    client.send(5, 1)

    assert client.statuses(1) == ["Submitted"]


def test_fill_after_a_confirmed_cancel(bench, client):
    working_order(bench, client)
    inject(bench, "fill_after_cancel", seconds=1)
    client.cancel(1)
    assert client.statuses(1) == ["Cancelled"] and client.codes() == [202]
    bench.advance(2)

    assert len(client.of(11)) == 1 and len(client.of(59)) == 1
    assert client.statuses(1) == ["Cancelled"]
    client.send(61, 1)
    assert client.of(61)[0][-2] == "1"


def test_fill_without_status(bench, client):
    inject(bench, "fill_without_status")
    client.order(1)
    bench.advance(2)

    assert "Filled" not in client.statuses(1) and len(client.of(11)) == 1


def test_doubled_and_stale_order_messages(bench, client):
    inject(bench, "doubled_order_messages")
    client.order(1)
    bench.advance(2)

    statuses = client.statuses(1)
    assert statuses.count("PreSubmitted") == 2
    assert statuses[-2:] == ["Submitted", "Filled"] and statuses.count("Filled") == 2
    assert len(client.of(11)) == 2 and len({fields[14] for fields in client.of(11)}) == 1


def test_small_fills_split_an_order(bench, client):
    inject(bench, "small_fills", quantity=3)
    client.order(1, quantity=8)
    bench.advance(5)

    assert [fields[19] for fields in client.of(11)] == ["3", "3", "2"]
    assert [fields[24] for fields in client.of(11)] == ["3", "6", "8"]
    assert client.statuses(1)[-1] == "Filled"


def test_execution_correction_changes_only_the_last_digits(bench, client):
    client.order(1)
    bench.advance(2)
    [first] = client.of(11)
    inject(bench, "execution_correction", price_change=0.05)
    second = client.of(11)[1]

    assert first[14].rpartition(".")[0] == second[14].rpartition(".")[0] and first[14] != second[14]
    assert float(second[20]) == pytest.approx(float(first[20]) + 0.05)


def test_forgotten_executions(bench, client):
    client.order(1)
    bench.advance(2)
    inject(bench, "executions_forgotten")
    client.take()
    client.send(7, 3, 5, 0, "", "", "", "", "", "")

    assert client.ids() == [55]


def test_foreign_order_has_a_negative_id(bench, client):
    inject(bench, "foreign_order", symbol="QQQ")
    client.send(16, 1)

    [order] = client.of(5)
    assert int(order[1]) < 0 and order[24] == "0" and order[3] == "QQQ"


def test_foreign_position(bench, client):
    client.send(61, 1)
    client.take()
    inject(bench, "foreign_position", quantity=50)

    assert client.of(61)[0][-2] == "50"


# --- market ---


def test_jump_moves_quotes_bars_and_options_alike(bench, client):
    floor = bench.gateway.floor
    spy = floor.book.underlying("SPY")
    before = floor.market.quote(spy, floor.market_s).last
    inject(bench, "jump", symbol="SPY", percent=-5)
    bench.advance(3)
    after = floor.market.quote(spy, floor.market_s).last

    assert after == pytest.approx(before * 0.95, rel=0.003)
    client.history(1, duration="30 S")
    bench.advance(1)
    closes = [float(value) for value in client.of(17)[0][9::8]]
    assert min(closes) < before * 0.96 and max(closes) > before * 0.99


def test_halt_stops_quotes_and_fills(bench, client):
    inject(bench, "halt", 60, symbol="SPY")
    client.quotes(1)
    client.order(1)
    bench.advance(30)
    assert client.of(11) == []
    assert next(fields for fields in client.of(45) if fields[3] == "49")[4] == "1.0"

    bench.advance(40)

    assert client.of(11)


# --- the catalogue ---


def test_every_fault_can_be_begun_and_ended(bench, client):
    """On a running conversation; nothing raises, and the bench goes on."""
    client.quotes(1)
    client.history(2, live=True)
    working_order(bench, client)
    for name in sorted(set(CATALOGUE) - {"garbage"}):
        inject(bench, name, 1.0)
        bench.advance(2)
        bench.gateway.faults.clear(name)
    survivor = bench.connect(50)
    survivor.send(49, 1)

    assert survivor.of(49)
    assert {line["name"] for line in bench.events("fault")} == set(CATALOGUE) - {"garbage"}


@pytest.mark.parametrize(("name", "parameters", "hint"), [
    ("farm_flpa", {}, 'did you mean "farm_flap"?'),
    ("hmds_slow", {"second": 3}, 'did you mean "seconds"?'),
    ("hmds_slow", {"seconds": "soon"}, "not of type float"),
    ("small_fills", {"quantity": "x"}, "not of type int"),
])  # fmt: skip
def test_wrong_fault_is_refused_with_the_nearest_name(bench, name, parameters, hint):
    with pytest.raises(FaultRefused, match=hint.replace("?", r"\?")):
        bench.gateway.faults.inject(name, 1.0, parameters)


def test_faults_fire_on_the_nth_message(bench, client):
    bench.gateway.faults.on_message("reqCurrentTime", 3, "socket_cut", None, {})
    client.send(49, 1)
    client.send(49, 1)
    assert not client.closed

    client.send(49, 1)

    assert client.closed
