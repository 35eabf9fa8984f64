"""The engine's table, checked at the door: every fault in one sentence, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli import main
from engine.config import load
from engine.replay import tape
from gateway_proxy import ConfigError
from tests.engine.conftest import make_bar

GOOD = '[engines.alpha]\nstrategy = "scalp"\nsymbols = ["SPY", "QQQ"]\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "engine.toml"
    path.write_text(text)
    return path


def test_small_table_is_enough(tmp_path):
    """Strategy and symbols; everything else has a sensible value."""
    config = load(write(tmp_path, GOOD), None, {})

    assert (config.name, config.settings.symbols, config.settings.bar) == ("alpha", ("SPY", "QQQ"), "1min")
    assert config.core_rules.guards.daily_loss == 0.02


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [engines.<name>]"),
        (
            GOOD + "[engines.beta]\nstrategy = 'scalp'\nsymbols = ['SPY']\n",
            "which engine? say --name with one of alpha, beta",
        ),
        (GOOD + "windw = 3\n", 'has no key "windw"; did you mean "window"?'),
        (GOOD + "[engines.alpha.parameters]\nrsi_perod = 7\n", 'did you mean "rsi_period"?'),
        (GOOD + "[engines.alpha.parameters]\nema_fast = 30\n", "ema_fast (30) must be shorter than ema_slow (21)"),
        (GOOD + "[engines.alpha.guards]\nmax_open = 0\n", "max_open: want an integer of at least 1, got 0"),
        (GOOD + "[engines.alpha.sizing]\nrisk = 'much'\n", "risk"),
        (GOOD.replace("scalp", "sclap"), "there is no engine/strategies/sclap.py"),
        (GOOD.replace('"SPY"', '"spy"'), "'spy' is no symbol"),
        (GOOD.replace('"QQQ"', '"SPY"'), "one stands there twice"),
        ('[engines.alpha]\nsymbols = ["SPY"]\n', 'lacks the key "strategy"'),
    ],
)
def test_fault_is_named_with_what_would_be_right(tmp_path, text, said):
    """What, where, and the cure."""
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text), None, {})

    assert said in str(raised.value)


def test_all_faults_are_named_at_once(tmp_path):
    """A wrong guard must not hide a misspelt parameter."""
    text = GOOD + "[engines.alpha.guards]\nmax_open = 0\n[engines.alpha.parameters]\nrsi_perod = 7\n"

    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text), None, {})

    assert len(str(raised.value).splitlines()) == 2


def test_environment_lies_over_the_file(tmp_path):
    """As everywhere in the project."""
    environ = {"GATEWAY_PROXY__ENGINES__ALPHA__PARAMETERS__RSI_PERIOD": "5"}

    config = load(write(tmp_path, GOOD), "alpha", environ)

    assert config.settings.parameters == {"rsi_period": 5}


def test_command_ends_with_2_and_one_line_for_a_wrong_file(tmp_path, capsys):
    """Scripts and supervisors read the exit code."""
    code = main(["--config", str(tmp_path / "none.toml")])

    assert code == 2
    assert "no such file" in capsys.readouterr().err


def test_replay_is_a_command_and_a_flag(tmp_path, capsys):
    """Both print the same summary."""
    config, bars = write(tmp_path, GOOD), tmp_path / "bars.jsonl"
    tape.write(bars, [tape.TapeBar("SPY", make_bar(minute)) for minute in range(60)])

    codes = [
        main(["replay", "--config", str(config), str(bars)]),
        main(["--config", str(config), "--replay", str(bars)]),
    ]

    first, second = capsys.readouterr().out.splitlines()
    assert (codes, first) == ([0, 0], second)
    assert '"decisions":60' in first


@pytest.mark.parametrize("name", ["local", "paper", "live"])
def test_shipped_configurations_are_good(name):
    """Every engine of every file that we ship."""
    path = Path(__file__).parents[2] / "configs" / f"{name}.toml"
    import tomllib

    for engine in tomllib.loads(path.read_text())["engines"]:
        assert load(path, engine, {}).name == engine
