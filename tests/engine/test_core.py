"""The joined engine: from bars to bracket orders, with a proxy in memory and a manual clock."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from engine.effects import Ask, Log, Question
from gateway_proxy import Gap, Restarted
from tests.engine.conftest import chain_body, lost, make_bar, update_of


def test_fresh_engine_subscribes_and_asks_what_is_already_true(make_world):
    """Start-up and recovery are one path: open orders, executions, positions and account come from the proxy."""
    world = make_world(symbols=("SPY", "QQQ")).start()

    assert {"bars/SPY/1min/", "bars/QQQ/1min/", "orders/alpha/", "fills/", "account/"} <= set(world.topics())
    assert len(world.asked("bars")) == 2
    assert all(world.asked(op) for op in ("orders.open", "executions", "positions", "account"))
    assert world.core.state == "ready"


def test_signal_becomes_one_bracket_around_the_busiest_option_at_the_money(make_world):
    """Bar, signal, chain, option, size, bracket: one order with its exits, and nothing twice."""
    world = make_world({1: "BUY"}).start()

    world.bar(0)
    world.bar(1)
    world.bar(2)

    (order,) = world.asked("order.bracket")
    assert order["contract"]["strike"] == 600.0
    assert order["contract"]["right"] == "C"
    assert (order["limit_price"], order["take_profit"], order["stop_loss"]) == (2.1, 2.52, 1.89)
    # 1 % of 100,000 at 0.21 x 100 a contract would be 47; the rule of at most 10 contracts is tighter.
    assert order["quantity"] == 10


def test_falling_signal_buys_a_put(make_world):
    """SELL means the underlying is expected to fall; the engine only ever buys options."""
    world = make_world({1: "SELL"}).start()

    world.bar(1)

    (order,) = world.asked("order.bracket")
    assert (order["contract"]["right"], order["action"]) == ("P", "BUY")


def test_every_bar_leaves_a_record_with_values_and_reason(make_world):
    """Also "no" is recorded, once per completed bar, and forming bars are not decided on."""
    world = make_world({1: "BUY"}).start()

    world.bar(0)
    world.bar(1, complete=False)
    world.bar(1)

    first, second, third = world.records()
    assert [record["side"] for record in (first, second, third)] == [None, None, "BUY"]
    assert second["reason"] == "nothing planned"
    assert third["values"] == {"close": 600.0}
    assert third["guard"] == ""


def test_second_signal_waits_while_a_trade_may_be_alive(make_world):
    """One trade per symbol; the record says what stood against the second."""
    world = make_world({1: "BUY", 2: "BUY"}).start()

    world.bar(1)
    world.bar(2)

    assert len(world.asked("order.bracket")) == 1
    assert world.records()[-1]["guard"] == "busy"


def test_order_without_answer_is_asked_about_and_never_sent_under_another_id(make_world):
    """A time-out is unknown: same id, order.status until told, no other entry on that symbol."""
    world = make_world({1: "BUY", 2: "BUY"}).start()
    world.answers["order.bracket"] = lambda ask: lost()
    world.answers["order.status"] = lambda ask: world.reply(ask, "unknown")

    world.bar(1)
    world.pass_time(1.5)
    world.bar(2)
    world.pass_time(1.5)

    (order,) = world.asked("order.bracket")
    assert {ask["client_order_id"] for ask in world.asked("order.status")} == {order["client_order_id"]}
    assert len(world.asked("order.status")) == 2
    assert world.core.desk.trades[0].phase.value == "unknown"


def test_order_the_proxy_never_saw_goes_again_identically_while_the_signal_is_fresh(make_world):
    """Not found is definitive: the identical order, with the same id, may be submitted again."""
    world = make_world({1: "BUY"}).start()
    answers = iter([lost(), {"client_order_id": "x", "state": "accepted", "order_ids": []}])
    world.answers["order.bracket"] = lambda ask: next(answers)

    world.bar(1)
    world.pass_time(1.5)

    first, second = world.asked("order.bracket")
    assert first == second


def test_order_the_proxy_never_saw_is_dropped_when_the_signal_is_old(make_world):
    """Bars went by: the engine may decide again, but it does not send yesterday's decision."""
    world = make_world({1: "BUY"}).start()
    world.answers["order.bracket"] = lambda ask: lost()

    world.bar(1)
    for minute in (2, 3, 4):
        world.bar(minute)
    world.pass_time(1.5)

    assert len(world.asked("order.bracket")) == 1
    assert world.core.desk.trades == []
    assert world.logs("signal dropped")


def test_restarted_engine_asks_about_the_order_it_would_send_before_sending_it(make_world):
    """The signal bar came with history: an earlier life may have acted, so order.status goes first, same id."""
    sent = make_world({1: "BUY"}).start()
    sent.bar(1)
    again = make_world({1: "BUY"})
    again.answers["bars"] = lambda ask: {"bars": [asdict(make_bar(minute)) for minute in range(-5, 2)]}
    again.answers["order.status"] = lambda ask: world_reply(ask, "working")

    again.start()

    (order,) = sent.asked("order.bracket")
    assert again.asked("order.status") == [{"client_order_id": order["client_order_id"]}]
    assert again.asked("order.bracket") == []
    assert again.core.desk.trades[0].phase.value == "working"


def world_reply(ask: Ask, state: str) -> dict[str, object]:
    return {"client_order_id": ask.args["client_order_id"], "state": state, "order_ids": [1, 2, 3], "reason": ""}


def test_restarted_engine_adopts_the_open_trade_and_opens_nothing_else(make_world):
    """Positions and open orders come from the proxy, never from memory."""
    first = make_world({1: "BUY"}).start()
    first.bar(1)
    (order,) = first.asked("order.bracket")
    held = asdict(update_of(order, "filled", filled=10.0))
    again = make_world({2: "BUY"})
    again.answers["orders.open"] = lambda ask: {"orders": [held]}

    again.start()
    again.bar(1)
    again.bar(2)

    assert again.asked("order.bracket") == []
    assert again.records()[-1]["guard"] == "busy"
    assert again.core.desk.trades[0].phase.value == "open"


def test_take_profit_ends_the_trade_and_starts_the_cool_down(make_world):
    """Entry filled, take-profit filled, flat; the next signal is too early, a later one is not."""
    world = make_world({1: "BUY", 4: "BUY", 9: "BUY"}).start()
    world.bar(1)
    (order,) = world.asked("order.bracket")

    world.order(update_of(order, "filled", filled=10.0))
    world.bar(3)
    world.order(update_of(order, "filled", filled=10.0, take_profit=("filled", 10.0), stop_loss=("cancelled", 0.0)))
    world.bar(4)
    world.bar(9)

    assert [record["guard"] for record in world.records() if record["side"]] == ["", "cool_down", ""]
    assert world.logs("entry filled") and world.logs("take profit filled") and world.logs("trade ended")
    assert len(world.asked("order.bracket")) == 2


def test_refused_order_ends_the_trade_with_the_reason(make_world):
    """A refusal is definitive: nothing was sent, so the symbol is free again."""
    world = make_world({1: "BUY"}).start()
    world.answers["order.bracket"] = lambda ask: lost("refused", certain=True)

    world.bar(1)

    assert world.core.desk.trades == []
    assert world.logs("order refused")[0]["code"] == "refused"


def test_chain_that_cannot_be_traded_is_a_recorded_no(make_world):
    """A strike list of one without a quote: no order, no exception, a reason."""
    world = make_world({1: "BUY"}).start()
    row = {"strike": 600.0, "right": "C", "con_id": 1, "bid": None, "ask": None}
    world.answers["chain"] = lambda ask: chain_body(rows=[row])

    world.bar(1)

    assert world.asked("order.bracket") == []
    assert "no quote" in world.logs("signal dropped")[0]["why"]
    signal, dropped = (one for one in world.records() if one["bar_start_ns"] == make_bar(1).start_ns)
    assert (signal["side"], dropped["side"], dropped["rule"]) == ("BUY", None, "dropped")
    assert dropped["reason"] == world.logs("signal dropped")[0]["why"]
    assert dropped.keys() == signal.keys(), "one form for every line"


def test_chain_that_comes_after_the_signal_is_old_is_not_used(make_world):
    """A price from the past is not traded on."""
    world = make_world({1: "BUY"}).start()
    world.answers["chain"] = lambda ask: None
    world.bar(1)
    question = next(effect.question for effect in world.seen if isinstance(effect, Ask) and effect.op == "chain")
    for minute in (2, 3):
        world.bar(minute)

    from engine.effects import Answer

    world.core.receive_reply(Answer(question, chain_body()), world.now)
    world.run()

    assert world.asked("order.bracket") == []
    assert "too late" in world.logs("signal dropped")[0]["why"]


def test_position_held_by_anybody_blocks_entries_on_that_symbol(make_world):
    """What the broker holds and no trade of ours explains is not added to."""
    world = make_world({1: "BUY"})
    held = {
        "account": "DU1",
        "contract": {"symbol": "SPY", "sec_type": "STK"},
        "quantity": 100.0,
        "average_cost": 600.0,
    }
    world.answers["positions"] = lambda ask: {"positions": [held]}
    world.start()

    world.bar(1)

    assert world.records()[-1]["guard"] == "position"


def test_time_stop_cancels_the_exits_and_sells_what_is_held(make_world):
    """After max_bars the bracket is cancelled and a closing order at the bid ends the trade."""
    world = make_world({1: "BUY"}).start()
    world.bar(1)
    (order,) = world.asked("order.bracket")
    world.order(update_of(order, "filled", filled=10.0))

    world.bar(31)
    gone = update_of(order, "filled", filled=10.0, take_profit=("cancelled", 0.0), stop_loss=("cancelled", 0.0))
    world.order(gone)

    assert world.asked("order.cancel") == [{"client_order_id": order["client_order_id"], "exits": True}]
    (closing,) = world.asked("order.place")
    assert (closing["action"], closing["quantity"], closing["limit_price"]) == ("SELL", 10, 2.0)
    assert closing["client_order_id"] == f"{order['client_order_id']}-x1"


def test_restarted_engine_adopts_a_closing_order_and_closes_again_when_it_dies(make_world):
    """The bracket is over and not among the open orders; the closing order alone tells what is still held."""
    first = make_world({1: "BUY"}).start()
    first.bar(1)
    (order,) = first.asked("order.bracket")
    closing = {**order, "client_order_id": f"{order['client_order_id']}-x1"}
    alive = replace(update_of(closing, "working"), legs=(), action="SELL")
    again = make_world({2: "BUY"})
    again.answers["orders.open"] = lambda ask: {"orders": [asdict(alive)]}

    again.start()
    again.bar(2)
    again.order(replace(alive, state="cancelled", filled=4.0))

    (second,) = again.asked("order.place")
    assert (second["client_order_id"], second["quantity"]) == (f"{order['client_order_id']}-x2", 6)
    again.order(replace(alive, client_order_id=second["client_order_id"], state="filled", filled=6.0))
    assert again.core.desk.trades == []


def test_unexplained_option_position_is_told_at_start_up(make_world):
    """Nobody else will look after it."""
    world = make_world({})
    contract = {"symbol": "SPY", "sec_type": "OPT", "last_trade_date": "20260618", "strike": 600.0, "right": "C"}
    held = {"account": "DU1", "contract": contract, "quantity": 2.0, "average_cost": 200.0}
    world.answers["positions"] = lambda ask: {"positions": [held]}

    world.start()

    assert world.logs("position without a trade of this engine")[0]["position"] == "SPY.20260618.C.600"


def test_unfilled_entry_is_cancelled_after_its_bars(make_world):
    """An entry that nobody took is not left lying in the market."""
    world = make_world({1: "BUY"}).start()
    world.bar(1)
    (order,) = world.asked("order.bracket")
    world.order(update_of(order, "working"))

    world.bar(2)
    world.bar(3)
    world.order(update_of(order, "cancelled", take_profit=("cancelled", 0.0), stop_loss=("cancelled", 0.0)))

    assert world.asked("order.cancel") == [{"client_order_id": order["client_order_id"], "exits": False}]
    assert world.core.desk.trades == []


def test_engine_waits_for_history_before_it_decides(make_world):
    """A window without its past gives wrong indicators: no decision until the answer or its failure is there."""
    world = make_world({1: "BUY"})
    world.answers["bars"] = lambda ask: None
    world.start()

    world.bar(1)

    assert world.records() == []


def test_failed_history_is_asked_again_and_told(make_world):
    """The engine goes on with what it has and tries again; it does not stay blind."""
    world = make_world({})
    world.answers["bars"] = lambda ask: lost("gateway_timeout")
    world.start()

    world.bar(0)
    world.bar(1)
    world.pass_time(6.0)

    assert len(world.asked("bars")) >= 2
    told = [effect.level for effect in world.seen if isinstance(effect, Log) and effect.event == "no history"]
    assert told[:2] == ["warning", "debug"]


def test_lost_bars_are_fetched_before_the_next_decision(make_world):
    """A gap notice asks for the past again; the missing bars take their place."""
    world = make_world({}).start()
    world.bar(0)
    world.answers["bars"] = lambda ask: {"bars": [asdict(make_bar(minute)) for minute in range(0, 5)]}

    world.core.receive_message(Gap("bars/SPY/1min/", 2, 4), world.now)
    world.run()

    assert len(world.core.feed.window("SPY")) == 10


def test_restarted_proxy_is_asked_again_what_is_open(make_world):
    """A new epoch: orders and positions are learned again, and an order it does not name is asked about."""
    world = make_world({1: "BUY"}).start()
    world.bar(1)

    world.core.receive_message(Restarted("a", "b"), world.now)
    world.run()
    world.pass_time(0.1)

    assert len(world.asked("orders.open")) == 2
    assert len(world.asked("order.status")) == 1
    assert world.core.state == "ready"


def test_daily_loss_stops_entries_until_the_next_session(make_world):
    """The account's day reached the limit: signals are recorded and held back."""
    world = make_world({1: "BUY", 24 * 60: "BUY"}).start()

    world.hear("account/", "account", {"account": "DU1", "net_liquidation": 97_000.0, "daily_pnl": -2500.0})
    world.bar(1)
    world.bar(24 * 60)

    assert [record["guard"] for record in world.records() if record["side"]] == ["daily_loss", ""]
    assert world.records()[1]["guard_reason"].startswith("daily loss 2,500.00 reached the limit 2,000.00")


def test_gateway_that_is_not_ready_stops_entries_only(make_world):
    """Exits stand at the broker; an entry without a healthy Gateway is not tried."""
    world = make_world({1: "BUY"}).start()

    world.hear("health/gateway/", "health", {"state": "degraded"})
    world.bar(1)

    assert world.records()[-1]["guard"] == "gateway"


def test_body_that_is_not_what_the_contract_says_is_told_and_left_out(make_world):
    """A bad message must not stop the engine."""
    world = make_world({1: "BUY"}).start()

    world.hear("orders/alpha/", "order", {"engine": 7})
    world.hear("bars/SPY/1min/", "bar", {"start_ns": "soon"})
    world.bar(1)

    assert world.logs("message not understood")
    assert world.logs("bar refused")
    assert len(world.asked("order.bracket")) == 1


def test_values_of_a_record_are_plain_numbers(make_world):
    """Strategies compute with numpy; records are written as JSON."""
    world = make_world({}).start()
    world.core.strategy.measure = lambda window: {"close": window.close[-1], "rsi": np.float64("nan")}

    world.bar(0)

    values = world.records()[-1]["values"]
    assert (type(values["close"]), values["rsi"]) == (float, None)


def test_strategy_that_fails_is_a_no_with_its_error(make_world):
    """A guest's fault costs one decision, not the engine."""
    world = make_world({}).start()
    world.core.strategy.signals = None

    world.bar(0)

    assert world.records()[-1]["rule"] == "error"
    assert world.logs("strategy failed")


def test_heartbeat_names_what_a_trader_looks_for(make_world):
    """State, last bars, decisions, orders, open trades, profit and guards."""
    world = make_world({1: "BUY"}).start()
    world.bar(1)

    view = world.core.view()

    assert view["state"] == "ready"
    assert view["signals"] == view["orders"] == 1
    assert view["last_bar_ns"] == {"SPY": make_bar(1).start_ns}
    assert view["trades"][0]["phase"] == "working"
    assert view["guards"]["daily_loss"] == "ok"


def test_same_decision_gives_the_same_id_and_another_one_does_not():
    """Engine, strategy, version, symbol, bar, side and attempt make the id."""
    from engine.trades import client_order_id

    base = ("alpha", "scalp", 1, "SPY", make_bar(61).start_ns, "BUY", 1)
    others = [("beta", *base[1:]), (*base[:2], 2, *base[3:]), (*base[:3], "QQQ", *base[4:]), (*base[:6], 2)]

    assert client_order_id(*base) == client_order_id(*base)  # type: ignore[arg-type]
    assert client_order_id(*base).startswith("SPY-20260618-1031-B-")  # type: ignore[arg-type]
    assert len({client_order_id(*one) for one in (base, *others)}) == 5  # type: ignore[arg-type]
    assert Question("a") == Question("a")
