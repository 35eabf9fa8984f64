"""`gateway-proxy record`: from a configuration to a running recorder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway_proxy import BadMessage, Client, ConfigError, ProxyUnreachable, Stop, notify, topics
from gateway_proxy.recorder.core import LISTENING, History, RecorderCore, RecordRules
from gateway_proxy.recorder.files import Files
from gateway_proxy.recorder.service import Service

log = logging.getLogger("recorder")
RETRY_S = 0.5


def rules(
    topics_wanted: tuple[str, ...], engines: Mapping[str, Mapping[str, Any]], every_s: float, rows_max: int
) -> RecordRules:
    """What to record. No `topics_wanted`: bars and chain of every symbol of `engines`, tables of the configuration.

    Raises ConfigError for a topic that cannot exist, and when there is nothing to record.
    """
    history: dict[str, History] = {}
    for table in engines.values():
        for symbol in table.get("symbols", ()):
            topic = topics.bars(str(symbol), str(table.get("bar", "1min")))
            known = history.get(topic, History(count=0)).count
            history[topic] = History(max(known, int(table.get("window", 480))), bool(table.get("rth", True)))
    symbols = dict.fromkeys(topic.split("/")[1] for topic in history)
    wanted = topics_wanted or (*history, *(topics.chain(symbol) for symbol in symbols))
    if not wanted:
        raise ConfigError("nothing to record: no [engines.<name>] with symbols, and no --topics")
    for topic in wanted:
        _check(topic)
    streams = tuple(topic for topic in wanted if topics.is_topic(topic))
    prefixes = tuple(topic for topic in wanted if not topics.is_topic(topic))
    return RecordRules(streams, (*LISTENING, *prefixes), history, every_s, rows_max)


def _check(topic: str) -> None:
    families = {pattern.partition("/")[0] for pattern in topics.PATTERNS}
    try:
        is_prefix = topic.endswith("/") and topic.partition("/")[0] in families and topics.stream_of(topic) is None
    except BadMessage as error:
        raise ConfigError(str(error)) from error
    if not (is_prefix or topics.is_topic(topic)):
        raise ConfigError(f'--topics {topic!r}: want a topic such as "bars/SPY/1min/" or a prefix such as "health/"')


def record(what: RecordRules, directory: Path, runtime_dir: Path | None) -> None:
    """Record until SIGTERM or Ctrl-C. Raises ConfigError, RecordingFailed and what the bus raises."""
    stop, core, files = Stop().on_signals(), RecorderCore(what), Files(directory)
    try:
        client = wait_for_proxy(runtime_dir, stop)
        if client is None:
            return
        with client:
            log.info("recording begins", extra={"directory": str(directory), "streams": " ".join(what.streams)})
            Service(core, client, files, stop, on_ready=notify.ready, on_beat=notify.alive).run()
        notify.stopping()
        log.info("recording ends", extra={"messages": core.heard, "rows": core.written, "gaps": core.gaps})
    finally:
        files.close()


def wait_for_proxy(runtime_dir: Path | None, stop: Stop) -> Client | None:
    """A connected client, however long it takes; None when the stop came first. Says once that it waits."""
    told = False
    while not stop.requested:
        try:
            return Client.connect(runtime_dir, name="recorder", timeout_s=RETRY_S)
        except ProxyUnreachable as error:
            if not told:
                log.warning("no proxy yet; waiting for it", extra={"why": str(error)})
            told = True
    return None
