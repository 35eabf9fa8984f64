"""Long historical requests are answered in slices: nobody else waits for them."""

from tests.gateway_sim.direct import Bench


def come_to_work(bench: Bench) -> None:
    """Let time pass until there is work left for the next turn."""
    gateway = bench.gateway
    while (due := gateway.next_timer()) is not None and due != gateway.floor.now:
        bench.now = due
        gateway.handle_timer(due)
        bench.collect()


def test_others_are_served_while_a_year_of_bars_is_made():
    """The gateway comes back many times before the year is ready; a question in between is answered at once."""
    bench = Bench()
    patient, quick = bench.connect(1), bench.connect(2)
    patient.history(1, size="1 day", duration="1 Y")
    come_to_work(bench)

    turns = 0
    while not patient.of(17):
        turns += 1
        if turns % 10 == 0:
            quick.send(49, 1)
            assert len(quick.of(49)) == turns // 10
        bench.gateway.handle_timer(bench.now)
        bench.collect()

    assert turns > 40


def test_a_short_request_is_answered_in_its_own_turn():
    bench = Bench()
    client = bench.connect(1)
    client.history(1, size="1 min", duration="1 D")

    bench.advance(0.5)

    assert len(client.of(17)) == 1 and bench.gateway.next_timer() != bench.gateway.floor.now


def test_cancelling_ends_the_work():
    bench = Bench()
    client = bench.connect(1)
    client.history(1, size="1 day", duration="1 Y")
    come_to_work(bench)

    client.send(25, 1, 1)
    bench.advance(30)

    assert client.codes() == [162] and not client.of(17)


def test_sliced_bars_are_the_same_bars():
    """The whole answer does not depend on how often the caller came back."""

    def answer(often: bool) -> bytes:
        bench = Bench()
        client = bench.connect(1)
        client.history(1, size="1 day", duration="6 M")
        while not client.of(17):
            if often:
                client.bench.gateway.receive_bytes(client.number, b"", bench.now)
                bench.collect()
            bench.advance(0.001)
        return bytes(client.raw[client.raw.index(b"17\0001") :])

    assert answer(often=True) == answer(often=False)
