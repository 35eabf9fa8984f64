"""Python environments of their own for what is no dependency of ours: peers of the benchmarks, other clients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def environment(requirement: str, base: Path) -> Path:
    """The Python of an environment below `base` with exactly this requirement ("name==version"), made if needed.

    Raises CalledProcessError when it cannot be installed; nothing half-made is taken for ready later.
    """
    home = base / requirement.replace("==", "-")
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"making {home}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, requirement], check=True)
        (home / "ready").touch()
    return python
