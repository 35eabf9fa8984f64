"""A small JSON file of advice beside the journal: what the next life is glad to know and can do without.

Unlike the journal it promises nothing: missing, damaged or unwritable, the proxy goes on and says so once in its log.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson

log = logging.getLogger(__name__)
T = TypeVar("T")


def read_advice(path: Path, kind: type[T], what: str) -> T | None:
    """The stored value, or None when there is none or it is not in order. `what` names it in the log."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s unreadable", what, extra={"path": str(path), "error": str(error)})
        return None


def write_advice(path: Path, value: Any, what: str) -> bool:
    """Replace the file, so that a reader never sees half of it; False when that failed."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_bytes(orjson.dumps(value))
        os.replace(draft, path)
    except OSError as error:
        log.warning("%s not written", what, extra={"path": str(path), "error": str(error)})
        return False
    return True
