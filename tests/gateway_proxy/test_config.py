"""The configuration is checked at the door: every fault at once, each with place and remedy, nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_proxy import config
from gateway_proxy.errors import ConfigError
from gateway_proxy.settings import Settings

NO_ENVIRONMENT: dict[str, str] = {}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes text to `local.toml` in the current directory and gives its name, so that messages are short."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("local.toml").write_text(text)
        return "local.toml"

    return write


def faults_of(path: str, environ: dict[str, str] = NO_ENVIRONMENT) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ)
    return str(caught.value).splitlines()


def test_empty_file_is_the_defaults(file):
    """Every key has a default, and the default never trades."""
    settings = config.load(file(""), NO_ENVIRONMENT)

    assert settings == Settings()
    assert settings.trading.mode == "dry-run"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[gateway]\nclient_idd = 1", 'local.toml: [gateway] has no key "client_idd"; did you mean "client_id"?'),
        ("[gatway]\nport = 1", "local.toml: no section [gatway]; did you mean [gateway]?"),
        ('[gateway]\nport = "abc"', 'local.toml: [gateway] port: want an integer from 1 to 65535, got "abc"'),
        ('[gateway]\nport = "4002"', 'local.toml: [gateway] port: want an integer from 1 to 65535, got "4002"'),
        ("[gateway]\nport = 70000", "local.toml: [gateway] port: want an integer from 1 to 65535, got 70000"),
        ("[gateway]\nport = true", "local.toml: [gateway] port: want an integer from 1 to 65535, got true"),
        ("[gateway]\nretry_s = 0", "local.toml: [gateway] retry_s: want a number above 0, got 0"),
        ("[gateway]\nretry_s = nan", "local.toml: [gateway] retry_s: want a number above 0, got nan"),
        ("[gateway]\nretry_s = inf", "local.toml: [gateway] retry_s: want a number above 0, got inf"),
        ("gateway = 3", "local.toml: [gateway]: want a table, got 3"),
        ('[trading]\nmode = "lve"', 'local.toml: [trading] mode: want one of "dry-run", "paper", "live", got "lve"'),
        ("[trading]\naccount = 5", "local.toml: [trading] account: want text, got 5"),
        ("[launcher]\nengines = [1]", "local.toml: [launcher] engines[0]: want text, got 1"),
        ("[engines]\nscalp = 3", "local.toml: [engines] scalp: want a table, got 3"),
        (
            '[launcher]\nengines = ["spx"]\n[engines.spy]',
            'local.toml: [launcher] engines: no [engines.spx]; did you mean "spy"?',
        ),
    ],
)
def test_fault_is_one_line_with_place_and_remedy(file, text, fault):
    """What, where, and what would be right; a number in quotes and a truth value are no integers."""
    assert faults_of(file(text)) == [fault]


def test_all_faults_come_at_once(file):
    """A reader corrects the file once, not once per fault."""
    path = file('[clock]\nsped = 2\n[gateway]\nport = 0\n[logs]\nlevel = "loud"\n[nonsense]\n')

    assert len(faults_of(path)) == 4


def test_missing_file_names_its_neighbours(file):
    """The usual cause is a wrong name, so the message lists the right ones."""
    file("")

    assert faults_of("locl.toml") == ["locl.toml: no such file; there are local.toml"]


def test_text_that_is_no_toml_names_the_line(file):
    path = file("[clock]\nspeed = = 2\n")

    (fault,) = faults_of(path)

    assert fault.startswith("local.toml: not TOML: ")
    assert "line 2" in fault


def test_directory_instead_of_a_file_is_refused(file, tmp_path):
    (fault,) = faults_of(str(tmp_path))

    assert "cannot be read" in fault


def test_environment_overrides_a_key(file):
    """The type of the key decides: an account of digits stays text, an integer will do for a number."""
    environ = {
        "GATEWAY_PROXY__CLOCK__SPEED": "30",
        "GATEWAY_PROXY__TRADING__ACCOUNT": "12345",
        "GATEWAY_PROXY__SIMULATOR__ENABLED": "true",
        "GATEWAY_PROXY__LAUNCHER__ENGINES": '["Spy-Scalp"]',
        "GATEWAY_PROXY__ENGINES__SPY_SCALP__RISK__PERCENT": "1.5",
        "GATEWAY_PROXY_RUNTIME": "not a key",
    }

    settings = config.load(file("[clock]\nspeed = 2\n[engines.Spy-Scalp]\n"), environ)

    assert settings.clock.speed == 30.0
    assert settings.trading.account == "12345"
    assert settings.simulator.enabled is True
    assert settings.launcher.engines == ("Spy-Scalp",)
    assert config.apply_environment({"engines": {"Spy-Scalp": {}}}, environ)["engines"]["Spy-Scalp"] == {
        "risk": {"percent": "1.5"}
    }


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("CLOCK__SPED", "2", 'GATEWAY_PROXY__CLOCK__SPED: [clock] has no key "sped"; did you mean "speed"?'),
        ("CLOK__SPEED", "2", "GATEWAY_PROXY__CLOK__SPEED: no section [clok]; did you mean [clock]?"),
        ("GATEWAY__RETRY_S", "x", 'GATEWAY_PROXY__GATEWAY__RETRY_S: [gateway] retry_s: want a number above 0, got "x"'),
        ("CLOCK__SPEED__X", "2", "GATEWAY_PROXY__CLOCK__SPEED__X: speed is no section of local.toml"),
        ("CLOCK", "2", "GATEWAY_PROXY__CLOCK: want GATEWAY_PROXY__SECTION__KEY=value"),
        ("ENGINES__SP__A", "2", 'GATEWAY_PROXY__ENGINES__SP__A: local.toml has no [engines.sp]; did you mean "spy"?'),
    ],
)  # fmt: skip
def test_misspelt_variable_is_an_error(file, variable, value, fault):
    """A variable that changes nothing would be believed to have changed something."""
    path = file("[clock]\nspeed = 1\n[engines.spy]\n")

    assert faults_of(path, {f"GATEWAY_PROXY__{variable}": value}) == [fault]


def test_table_of_an_engine_is_checked_with_the_same_words(file):
    """Engines and monitor own their tables and use the public steps."""
    table = config.read_toml(file("[engines.spy]\nport = 0\n"))

    with pytest.raises(ConfigError) as caught:
        config.validate(
            table["engines"]["spy"],
            type(Settings().gateway),
            where="local.toml",
            section="engines.spy",
        )

    assert str(caught.value) == "local.toml: [engines.spy] port: want an integer from 1 to 65535, got 0"


LIVE = '[trading]\nmode = "live"\naccount = "U7654321"\n'


def test_live_needs_an_account_and_no_simulator(file):
    path = file('[trading]\nmode = "live"\n[simulator]\nenabled = true\n[clock]\nspeed = 2.0\n')

    assert len(faults_of(path)) == 3


@pytest.mark.parametrize(("live", "account"), [(False, "U7654321"), (True, None), (True, "U7654322"), (False, None)])
def test_live_with_a_key_missing_is_refused(file, live, account):
    """Three keys, turned separately; the message never shows the account."""
    settings = config.load(file(LIVE), NO_ENVIRONMENT)

    with pytest.raises(ConfigError, match="live trading refused") as caught:
        config.require_live_keys(settings, live=live, account=account)

    assert "U765" not in str(caught.value)


def test_live_with_all_keys_goes(file):
    settings = config.load(file(LIVE), NO_ENVIRONMENT)

    config.require_live_keys(settings, live=True, account="U7654321")

    assert settings.trading.mode == "live"


def test_live_flag_without_live_mode_is_refused(file):
    """Who types --live believes to trade; a proxy that then only pretends would deceive them."""
    settings = config.load(file(""), NO_ENVIRONMENT)

    with pytest.raises(ConfigError, match="mode"):
        config.require_live_keys(settings, live=True, account="")


def test_dry_run_needs_no_keys(file):
    settings = config.load(file(""), NO_ENVIRONMENT)

    assert config.require_live_keys(settings, live=False, account=None) is None  # type: ignore[func-returns-value]


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_good(path):
    """They load as they are, and none that meets a real Gateway sends an order before somebody edits it."""
    settings = config.load(path, NO_ENVIRONMENT)

    assert settings.simulator.enabled or settings.trading.mode == "dry-run"
    assert settings.engines
