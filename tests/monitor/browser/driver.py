"""A headless Chromium for tests: Node and playwright-core drive the browser of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def chromium() -> str | None:
    """Where the browser is: $CHROMIUM, or the first of the usual names on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def why_not() -> str:
    """Why the browser tests cannot run here; "" when they can."""
    if chromium() is None:
        return "no Chromium (apt install chromium)"
    if shutil.which("node") is None:
        return "no Node.js (apt install nodejs)"
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        return f"no playwright-core (npm install --no-package-lock --prefix {HERE.relative_to(Path.cwd())})"
    return ""


class Browser:
    """`browser("click", at="#diagnose")` performs one command of driver.mjs. Raises AssertionError when it fails."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(HERE / "driver.mjs"), str(chromium())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, command: str, **args: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **args}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"ok": false, "value": "the browser is gone"}')
        assert answer["ok"], f"{command} {args}: {answer['value']}"
        return answer["value"]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
