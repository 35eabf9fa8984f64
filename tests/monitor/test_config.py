"""Settings: what the documentation promises is what the code has."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

from gateway_proxy import validate
from monitor.config import MonitorSettings, load

DOCS = Path(__file__).parents[2] / "docs" / "monitor.md"


def toml_blocks() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_documented_defaults_are_the_real_ones():
    """The block of all settings in docs/monitor.md, read as configuration, changes nothing."""
    table = tomllib.loads(toml_blocks()[-1])["monitor"]

    assert validate(table, MonitorSettings, where="docs", section="monitor") == MonitorSettings()


def test_every_setting_is_documented():
    table = tomllib.loads(toml_blocks()[-1])["monitor"]
    settings = MonitorSettings()

    for field in dataclasses.fields(settings):
        part = getattr(settings, field.name)
        names = {inner.name for inner in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()
        assert field.name in table
        assert names - set(table[field.name] if names else ()) - {"rules", "channels"} == set(), field.name


def test_documented_alert_rules_are_accepted(tmp_path):
    """The example of the documentation works as it stands (its channels aside, which need apprise)."""
    path = tmp_path / "monitor.toml"
    path.write_text(toml_blocks()[0])

    settings, _ = load(path)

    assert [rule.name for rule in settings.alerts.rules] == ["loss", "gateway"]


def test_environment_overrides_a_key(tmp_path, monkeypatch):
    path = tmp_path / "monitor.toml"
    path.write_text("[monitor.web]\nport = 9000\n")
    monkeypatch.setenv("GATEWAY_PROXY__MONITOR__WEB__PORT", "9001")

    assert load(path)[0].web.port == 9001


def test_runtime_directory_of_the_environment_wins(tmp_path, monkeypatch):
    path = tmp_path / "monitor.toml"
    path.write_text('[bus]\nruntime_dir = "/tmp/from-file"\n')
    monkeypatch.delenv("GATEWAY_PROXY_RUNTIME", raising=False)
    from_file = load(path)[1].runtime_dir
    monkeypatch.setenv("GATEWAY_PROXY_RUNTIME", "/tmp/from-environment")

    assert (from_file, load(path)[1].runtime_dir) == (Path("/tmp/from-file"), None)
