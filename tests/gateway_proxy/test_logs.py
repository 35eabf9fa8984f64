"""Log records of every library come out in one form, at once or never, and without account numbers."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest

from gateway_proxy import logs
from gateway_proxy.logs import LogSettings

log = logging.getLogger("gateway_proxy.test")


@pytest.fixture
def out():
    """The stream the records are written to; the root logger is as before afterwards."""
    level = logging.getLogger().level
    yield io.StringIO()
    logs.stop_logs()
    logging.captureWarnings(False)
    logging.getLogger().setLevel(level)


def test_record_becomes_one_json_object_with_its_fields(out):
    """Fields stay fields, so that a log can be searched; the process that spoke is named."""
    logs.start_logs("proxy", LogSettings(format="json"), out)

    log.info("order submitted", extra={"symbol": "SPY", "quantity": 2})
    logs.stop_logs()

    line = json.loads(out.getvalue())
    assert {key: line[key] for key in ("process", "event", "level", "symbol", "quantity")} == {
        "process": "proxy",
        "event": "order submitted",
        "level": "info",
        "symbol": "SPY",
        "quantity": 2,
    }


@pytest.mark.parametrize("form", ["json", "lines"])
def test_account_numbers_never_leave_the_process(out, form):
    """In the text, in a field and in an exception alike."""
    logs.start_logs("proxy", LogSettings(format=form), out)

    try:
        raise RuntimeError("account DF7777777 refused")
    except RuntimeError:
        log.exception("order of %s refused", "DU1234567", extra={"account": "U7654321"})
    logs.stop_logs()

    text = out.getvalue()
    assert "DU***" in text
    assert all(number not in text for number in ("1234567", "7654321", "7777777"))


def test_words_that_only_look_like_accounts_stay(out):
    assert logs.mask_accounts("SPY.20260618.C.600 UTC2026 DU12") == "SPY.20260618.C.600 UTC2026 DU12"


def test_line_for_people_has_no_braces(out):
    """On a terminal the event comes first and the fields follow as key=value."""
    logs.start_logs("proxy", LogSettings(format="lines"), out)

    log.warning("state changed", extra={"to": "ready"})
    logs.stop_logs()

    assert "[warning  ] state changed" in out.getvalue()
    assert "to=ready" in out.getvalue()


def test_records_below_the_level_are_not_written(out):
    logs.start_logs("proxy", LogSettings(level="warning"), out)

    log.info("each message")
    logs.stop_logs()

    assert out.getvalue() == ""


def test_reader_that_stopped_reading_does_not_stop_the_process(monkeypatch, capsys):
    """The queue is bounded: what does not fit is dropped and counted, the caller goes on."""
    unblock = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            unblock.wait(10)
            return super().write(text)

    monkeypatch.setattr(logs, "QUEUED_LINES_MAX", 5)
    logs.start_logs("proxy", LogSettings(format="json"), Stuck())

    for number in range(100):
        log.info("line", extra={"number": number})
    unblock.set()
    logs.stop_logs()

    assert "log lines dropped" in capsys.readouterr().err
