"""The farm map: every text IB sends about its farms, and the link to IB itself."""

from __future__ import annotations

import pytest

from gateway_proxy.core.farms import FarmMap


def states(farms: FarmMap) -> dict[str, tuple[str, str]]:
    return {name: (row["type"], row["state"]) for name, row in farms.rows(lambda at: at).items()}


@pytest.mark.parametrize(
    ("code", "text", "name", "expected"),
    [
        (2103, "Market data farm connection is broken:usfarm", "usfarm", ("market", "down")),
        (2104, "Market data farm connection is OK:usfarm.nj", "usfarm.nj", ("market", "up")),
        (2105, "HMDS data farm connection is broken:ushmds", "ushmds", ("history", "down")),
        (2106, "HMDS data farm connection is OK:ushmds", "ushmds", ("history", "up")),
        (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds", "ushmds",
         ("history", "idle")),
        (2108, "Market data farm connection is inactive but should be available upon demand.usfarm.nj", "usfarm.nj",
         ("market", "idle")),
        (2119, "Market data farm is connecting:usopt", "usopt", ("market", "connecting")),
        (2157, "Sec-def data farm connection is broken:secdefnj", "secdefnj", ("secdef", "down")),
        (2158, "Sec-def data farm connection is OK:secdefnj", "secdefnj", ("secdef", "up")),
    ],
)  # fmt: skip
def test_text_names_the_farm_and_code_says_how_it_is(code: int, text: str, name: str, expected: tuple[str, str]):
    """The texts of the rule book, section 6, dotted names and dormant notices with them."""
    farms = FarmMap()

    assert farms.receive(code, text, 1.0)

    assert states(farms) == {name: expected}


def test_dotted_names_of_two_farms_stay_apart():
    """usfarm.nj and usopt.nj share their last part, not their fate."""
    farms = FarmMap()

    farms.receive(2103, "Market data farm connection is broken:usfarm.nj", 1.0)
    farms.receive(2104, "Market data farm connection is OK:usopt.nj", 2.0)

    assert farms.down() == ["usfarm.nj"]


def test_repeated_state_is_no_change_and_keeps_its_since():
    """A farm that is OK again and again is one fact."""
    farms = FarmMap()
    farms.receive(2104, "Market data farm connection is OK:usfarm", 1.0)

    assert not farms.receive(2104, "Market data farm connection is OK:usfarm", 9.0)
    assert farms.rows(lambda at: at)["usfarm"]["since_ns"] == 1.0


def test_dormant_farm_is_healthy():
    """It wakes on demand (rule book 0, rule 9)."""
    farms = FarmMap()
    farms.receive(2105, "HMDS data farm connection is broken:ushmds", 1.0)

    farms.receive(2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds", 2.0)

    assert farms.down() == []


def test_down_is_asked_by_type():
    """A broken option farm says nothing about history."""
    farms = FarmMap()
    farms.receive(2103, "Market data farm connection is broken:usopt", 1.0)

    assert (farms.down("market"), farms.down("history")) == (["usopt"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Connectivity between IB and Trader Workstation has been restored - data maintained. All data farms are "
         "connected: usfarm; ushmds; secdefnj.",
         {"usfarm": ("market", "up"), "ushmds": ("history", "up"), "secdefnj": ("secdef", "up")}),
        ("Connectivity between IB and TWS has been restored - data maintained. The following farms are connected: "
         "usfarm.nj; secdefnj. The following farms are not connected: ushmds.",
         {"usfarm.nj": ("market", "up"), "secdefnj": ("secdef", "up"), "ushmds": ("history", "down")}),
        ("Connectivity between IB and Trader Workstation has been restored - data maintained.", {}),
    ],
)  # fmt: skip
def test_1102_ends_the_loss_of_the_link_and_its_list_is_read(text: str, expected: dict[str, tuple[str, str]]):
    """The list names farms that are connected and farms that are not."""
    farms = FarmMap()
    farms.receive(1100, "Connectivity between IB and Trader Workstation has been lost.", 1.0)

    assert farms.receive(1102, text, 2.0)

    assert farms.link_lost_at is None
    assert states(farms) == expected


def test_storm_of_1100_is_one_change():
    """IB repeats it every 30 s; the first one counts."""
    farms = FarmMap()

    changes = [farms.receive(1100, "Connectivity lost", float(second)) for second in range(10)]

    assert changes == [True] + [False] * 9
    assert farms.link_lost_at == 0.0


def test_other_codes_are_not_about_farms():
    """They change nothing."""
    farms = FarmMap()

    assert not farms.receive(2137, "cross side warning", 1.0)
    assert states(farms) == {}


def test_new_session_knows_no_farms():
    """What an old session said is not true of the next."""
    farms = FarmMap()
    farms.receive(2103, "Market data farm connection is broken:usfarm", 1.0)
    farms.receive(1100, "lost", 1.0)

    farms.session_opened()

    assert (farms.down(), farms.link_lost_at) == ([], None)


def test_a_farm_that_1102_finds_connected_again_was_down_until_then():
    """What was asked while it was broken is told so, by whichever message its return was heard of."""
    farms = FarmMap()
    farms.receive(2105, "HMDS data farm connection is broken:ushmds", 10.0)
    farms.receive(1102, "restored - data maintained. All data farms are connected: usfarm; ushmds.", 20.0)

    assert farms.down("history") == []
    assert [farms.was_down("history", since) for since in (15.0, 20.0, 20.1)] == [True, True, False]
