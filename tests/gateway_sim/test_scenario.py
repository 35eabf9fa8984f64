"""Scenario files and the control port."""

import socket
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest

from gateway_sim.calendar import Calendar
from gateway_sim.effects import Record
from gateway_sim.replay import ReplayRefused, read_day
from gateway_sim.scenario import ScenarioRefused, build, load, seconds_of
from tests.gateway_sim.processes import ROOT, simulator

SCENARIO = """
[market]
seed = 7
start = "2026-11-27 09:30"
cash = 50000
holidays = [2026-12-01]

[[symbol]]
symbol = "ACME"
level = 42.0
options = "weekly"

[limits]
messages = "pace"
lines = 200

[[fault]]
name = "farm_flap"
at = "00:01:00"
for = "3s"

[[fault]]
name = "notice"
on = "placeOrder"
nth = 2
code = 10311
"""


def written(tmp_path, text):
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


def test_a_scenario_is_a_market_limits_and_faults(tmp_path):
    scenario = load(written(tmp_path, SCENARIO))
    gateway = build(scenario)
    floor = gateway.floor

    assert floor.calendar.current(floor.market_s).is_half_day
    assert floor.judge.settings.messages_per_s == 100
    assert floor.book.underlying("ACME") is not None and floor.book.expiries("ACME", floor.market_s)
    gateway.effects()
    gateway.handle_timer(61.0)
    assert floor.faults.is_on("farm_flap", 61.0)
    lines = [effect.line for effect in gateway.effects() if isinstance(effect, Record)]
    assert any('"name":"farm_flap"' in line and '"t":60.0' in line for line in lines)


@pytest.mark.parametrize(("text", "hint"), [
    ("[markt]\n", 'has no key "markt"; did you mean "market"?'),
    ("[market]\nsed = 3\n", 'has no key "sed"; did you mean "seed"?'),
    ("[market]\nseed = 'x'\n", "is not of type int"),
    ("[market]\nstart = 'noon'\n", "is not 'YYYY-MM-DD HH:MM'"),
    ("[market]\ncash = -1\n", "must be positive"),
    ("[market]\nholidays = ['2026-01-01']\n", "dates without quotes"),
    ("[limits]\nmessages = 'rejct'\n", 'did you mean "reject"?'),
    ("[limits]\nlines = 0\n", "not a whole number"),
    ("[limits]\nline = 3\n", 'did you mean "lines"?'),
    ("[[symbol]]\nsymbol = 'acme'\n", "upper-case"),
    ("[[symbol]]\nsymbol = 'ACME'\nlevel = -4\n", "level = -4 is not in 0.5"),
    ("[[symbol]]\nsymbol = 'ACME'\noptions = 'dayly'\n", 'did you mean "daily"?'),
    ("[[fault]]\nname = 'farm_flop'\nat = 3\n", 'did you mean "farm_flap"?'),
    ("[[fault]]\nat = 3\n", 'needs a "name"'),
    ("[[fault]]\nname = 'mute'\n", "exactly one of at, market_time and on"),
    ("[[fault]]\nname = 'mute'\nat = 'soon'\n", "cannot read its time"),
    ("[[fault]]\nname = 'mute'\nat = 1\nfor = -2\n", "is negative"),
    ("[[fault]]\nname = 'mute'\non = 'placeOder'\n", 'did you mean "placeOrder"?'),
    ("[[fault]]\nname = 'hmds_slow'\nat = 1\nsecond = 2\n", 'did you mean "seconds"?'),
    ("[[replay]]\nsymbol = 'SPI'\ndate = 2026-06-15\nfile = 'x.csv'\n", 'did you mean "SPY"?'),
    ("fault = 3\n", "list of tables"),
    ("market = [\n", "Invalid"),
])  # fmt: skip
def test_broken_scenarios_are_refused_with_file_key_and_nearest_name(tmp_path, text, hint):
    path = written(tmp_path, text)

    with pytest.raises(ScenarioRefused) as refusal:
        load(path)

    assert str(path) in str(refusal.value)
    if hint != "Invalid":
        assert hint in str(refusal.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ScenarioRefused, match="No such file"):
        load(tmp_path / "none.toml")


def test_recorded_day_replaces_the_seeded_one(tmp_path):
    (tmp_path / "day.csv").write_text(
        "time,close,volume\n09:30,100.00,60000\n09:31,101.00,60000\n12:00:30,99.50,1000\n"
    )
    text = '[market]\nstart = "2026-06-15 11:00"\n[[replay]]\nsymbol = "SPY"\ndate = 2026-06-15\nfile = "day.csv"\n'
    floor = build(load(written(tmp_path, text))).floor
    spy = floor.book.underlying("SPY")

    assert spy is not None
    opened = floor.calendar.current(floor.market_s).open

    quotes = [floor.market.quote(spy, opened + second) for second in (0, 59, 60, 9031)]

    assert [round(quote.mark) for quote in quotes] == [100, 100, 101, 100]
    bars = floor.history.bars(spy, "TRADES", 60, quotes[0].last_time, quotes[0].last_time + 60, floor.market_s, True)
    assert bars.volume[0] == 60_000


@pytest.mark.parametrize(("rows", "hint"), [
    ("when,close\n09:30,1\n", "needs columns"), ("time,close\n09:30,zero\n", "row 1"),
    ("time,close\n09:30,1\n9h,1\n", "row 2"),
    ("time,close\n09:30,-1\n", "positive"), ("time,close\n09:30,inf\n", "positive"),
    ("time,close\n09:31,1\n09:30,1\n", "ascending"), ("time,close\n04:30,1\n", "no row lies"),
])  # fmt: skip
def test_broken_recordings_are_refused(tmp_path, rows, hint):
    (tmp_path / "day.csv").write_text(rows)
    text = '[[replay]]\nsymbol = "SPY"\ndate = 2026-06-15\nfile = "day.csv"\n'

    with pytest.raises(ScenarioRefused, match=hint):
        build(load(written(tmp_path, text)))


def test_a_day_recorded_as_parquet_is_the_same_day(tmp_path):
    """Times as text, as epoch seconds and as timestamps in any zone; as from CSV."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "day.csv").write_text("time,close,volume\n09:30,100,60000\n09:31,101,60000\n")
    day = Calendar().on_or_before(date(2026, 6, 15))
    wanted = read_day(tmp_path / "day.csv", day)
    moments = [datetime.fromtimestamp(day.open + second, UTC) for second in (0, 60)]

    for number, times in enumerate((["09:30", "09:31"], [day.open, day.open + 60], moments)):
        path = tmp_path / f"day{number}.parquet"
        parquet.write_table(pyarrow.table({"time": times, "close": [100.0, 101.0], "volume": [60000, 60000]}), path)
        price, volume = read_day(path, day)
        assert (price == wanted[0]).all() and (volume == wanted[1]).all()

    parquet.write_table(pyarrow.table({"when": [1]}), tmp_path / "wrong.parquet")
    with pytest.raises(ReplayRefused, match="needs columns"):
        read_day(tmp_path / "wrong.parquet", day)
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ReplayRefused, match=r"text\.parquet"):
        read_day(tmp_path / "text.parquet", day)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(ReplayRefused, match=r"gateway-proxy\[record\]"):
        read_day(tmp_path / "day.parquet", Calendar().on_or_before(date(2026, 6, 15)))


@pytest.mark.parametrize(("text", "seconds"), [(3, 3.0), ("3s", 3.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0),
                                               ("01:30", 90.0), ("01:00:05", 3605.0), ("7", 7.0)])  # fmt: skip
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.process
def test_faults_can_be_injected_into_a_running_simulator(tmp_path):
    """`gateway-sim inject farm_flap --for 3s`, from another process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        control = probe.getsockname()[1]

    def inject(*words):
        command = [sys.executable, "-m", "gateway_sim", "inject", *words, "--control", str(control)]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)

    with simulator("--control", str(control)):
        done = inject("farm_flap", "--for", "20000s")
        assert done.returncode == 0 and done.stdout.startswith("farm_flap from")
        assert '"farm_flap"' in inject("status").stdout
        wrong = inject("farm_flop")
        assert wrong.returncode == 1 and 'did you mean "farm_flap"?' in wrong.stderr
        assert inject("notice", "--set", "text=two words", "--set", "code=399").returncode == 0
        assert inject("farm_flap", "--clear").returncode == 0
    assert inject("status").returncode == 2


@pytest.mark.process
def test_broken_scenario_stops_the_process_at_start(tmp_path):
    path = written(tmp_path, "[[fault]]\nname = 'mutte'\nat = 1\n")
    command = [sys.executable, "-m", "gateway_sim", "--scenario", str(path)]

    result = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and 'did you mean "mute"?' in result.stderr
