"""The decision log: every decision of an engine as one line of JSON, appended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import orjson


class DecisionLog:
    """An open file. Lines are written out by `flush`, once per heartbeat; a full disk stops the engine loudly."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self.path.open("ab")

    def write(self, record: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
