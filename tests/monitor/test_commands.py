"""The commands beside watching, as a user types them; and who of several monitors is on duty."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.config import HistorySettings
from monitor.duty import Duty
from monitor.history import History, day_of
from monitor.samples import Sample
from monitor.view import Light
from tests.monitor.test_web import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "monitor.toml"
    path.write_text(f'[monitor.web]\nport = {free_port()}\n[monitor.history]\ndirectory = "{tmp_path}/state/monitor"\n')
    return path


def test_report_of_a_day_without_rows_names_the_days_there_are(config, tmp_path, capsys):
    History(HistorySettings(), tmp_path / "state" / "monitor").append(Sample(time.time_ns(), Light.GREEN, "ready"), [])

    code = main(["report", "--config", str(config), "--day", "2001-01-01"])

    assert code == 1
    assert day_of(time.time_ns()) in capsys.readouterr().err


def test_report_is_written_where_it_was_asked_for(config, tmp_path, capsys):
    History(HistorySettings(), tmp_path / "state" / "monitor").append(Sample(time.time_ns(), Light.GREEN, "ready"), [])
    output = tmp_path / "day.html"

    code = main(["report", "--config", str(config), "--output", str(output)])

    assert code == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert output.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "--day", "yesterday"], "--day yesterday: want YYYY-MM-DD"),
        (["alerts", "test"], "no channel to test"),
    ],
)
def test_command_that_cannot_work_says_what_would_be_right(config, capsys, arguments, said):
    code = main([*arguments, "--config", str(config)])

    assert code == 64
    assert said in capsys.readouterr().err


def test_alert_rules_are_listed_in_words(config, capsys):
    code = main(["alerts", "list", "--config", str(config)])

    assert code == 0
    assert "no proxy: state is unreachable for 10 s -> the event log only" in capsys.readouterr().out


def test_alert_test_tells_each_channel_and_fails_if_one_fails(config, capsys):
    """Whoever sets up alerts sees at once which channel works; the address stays secret."""
    address = f"http://127.0.0.1:{free_port()}/secret"
    config.write_text(
        config.read_text() + f'[monitor.alerts]\ntries_max = 1\n[monitor.alerts.channels]\nme = "{address}"\n'
    )

    code = main(["alerts", "test", "--config", str(config)])

    out = capsys.readouterr().out
    assert code == 1
    assert "me: the webhook cannot be reached" in out
    assert "secret" not in out


def test_dash_prints_the_address_of_the_dashboard_that_runs(config, tmp_path, capsys):
    from monitor.config import load

    settings, _ = load(config)
    with socket.create_server(("127.0.0.1", settings.web.port)):
        code = main(["dash", "--config", str(config)])

    token = (tmp_path / "state" / "dashboard-token").read_text().strip()
    assert code == 0
    assert capsys.readouterr().out.strip() == f"http://127.0.0.1:{settings.web.port}/?token={token}"


def test_dashboard_that_was_asked_for_and_cannot_come_ends_with_64(config, capsys):
    from monitor.config import load

    settings, _ = load(config)
    with socket.create_server(("127.0.0.1", settings.web.port)):
        code = main(["--config", str(config), "--web", "--lines"])

    assert code == 64
    assert "is another monitor running?" in capsys.readouterr().err


def test_one_of_several_monitors_is_on_duty_and_the_next_takes_over(tmp_path):
    """History is written once and alerts are sent once, whoever else is watching."""
    first, second = Duty(tmp_path), Duty(tmp_path)
    before = first.is_mine(), second.is_mine(), first.is_mine()
    first.release()

    assert before == (True, False, True)
    assert second.is_mine()
    second.release()


def test_duty_without_a_usable_directory_is_ours(tmp_path):
    """A broken disk must not silence the alerts."""
    (tmp_path / "file").write_text("")

    assert Duty(tmp_path / "file" / "below").is_mine()
