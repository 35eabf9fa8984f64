"""`python -m tests.conformance [CLIENT …]`: every client in its own environment against a fresh simulator each.

Environments are made once, in `.cache/conformance` of the checkout (two of the clients overwrite each other's files, so
they cannot share one). Exit code 0 if all conversations passed, 1 if one failed, 2 if an environment could not be made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.environments import environment

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "conformance"
CLIENTS = {
    "ib_async": ("ib_async==2.1.0", ["with_ib.py", "ib_async"]),
    "ib_insync": ("ib_insync==0.9.86", ["with_ib.py", "ib_insync"]),
    "ibapi": ("ibapi==9.81.1.post1", ["with_ibapi.py"]),
}


def converse(python: Path, script: list[str]) -> bool:
    """Run one conversation against a fresh simulator; whether it passed."""
    command = [sys.executable, "-m", "gateway_sim", "--port", "0", "--speed", "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            port = simulator.stdout.readline().split("listening on ")[1].split()[0].split(":")[1]
            name, *arguments = script
            talk = [str(python), str(Path(__file__).with_name(name)), *arguments, port]
            return subprocess.run(talk, timeout=180, cwd=ROOT).returncode == 0
        except subprocess.TimeoutExpired:
            print("FAIL the conversation did not end within 180 s")
            return False
        finally:
            simulator.terminate()


def main() -> int:
    options = argparse.ArgumentParser(prog="tests.conformance", description=__doc__)
    options.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)} (default: all)")
    options.add_argument("--environments", type=Path, default=CACHE, help=f"where to keep them (default {CACHE})")
    arguments = options.parse_args()
    unknown = [client for client in arguments.clients if client not in CLIENTS]
    if unknown:
        options.error(f"no client {', '.join(unknown)}; known: {', '.join(CLIENTS)}")
    results = {}
    for client in arguments.clients or CLIENTS:
        requirement, script = CLIENTS[client]
        print(f"== {requirement}", flush=True)
        try:
            python = environment(requirement, arguments.environments)
        except subprocess.CalledProcessError as error:
            print(f"{client}: no environment, {error.cmd[-1]} could not be installed", file=sys.stderr)
            return 2
        results[client] = converse(python, script)
    for client, good in results.items():
        print(f"{'passed' if good else 'FAILED'} {client}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
