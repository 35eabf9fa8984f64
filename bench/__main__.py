"""Runs the benchmarks, one process after another, and prints one JSON line per figure: `python -m bench [NAME …]`.

A benchmark is a module of this folder with a `main()`; files that end in `_peers` are their other sides. Each line gets
the name of its benchmark, and all lines of a run are kept in bench/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: A benchmark that takes longer hangs; it is stopped and counts as failed.
TIMEOUT_S = 900.0


def names() -> list[str]:
    """The benchmarks there are, by file name."""
    found = (path for path in HERE.glob("*.py") if "\ndef main(" in path.read_text())
    return sorted(path.stem for path in found if path.stem != "__main__" and not path.stem.endswith("_peers"))


def figures_of(name: str) -> Iterator[dict[str, Any]]:
    """Runs one benchmark and gives its figures as they come. Raises CalledProcessError if it fails or hangs."""
    command = [sys.executable, "-m", f"bench.{name}"]
    deadline = time.monotonic() + TIMEOUT_S
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield {"bench": name, **json.loads(line)}
            if time.monotonic() > deadline:
                process.kill()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)


def main() -> int:
    """Returns 1 if a benchmark failed; the others are run all the same."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="One JSON line per figure.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all of {', '.join(names())} when left out")
    chosen = parser.parse_args().names or names()
    unknown = [name for name in chosen if name not in names()]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(names())}")
    results = HERE / "results" / time.strftime("%Y%m%d-%H%M%S.jsonl")
    results.parent.mkdir(exist_ok=True)
    failed = []
    with results.open("w") as kept:
        for name in chosen:
            try:
                for figure in figures_of(name):
                    line = json.dumps(figure)
                    print(line, flush=True)
                    kept.write(line + "\n")
            except subprocess.CalledProcessError as error:
                failed.append(name)
                print(f"bench: {name} failed with exit code {error.returncode}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
