"""How soon trouble is noticed and over, on a real simulator and a real proxy: one JSON line per kind of trouble.

Detection is from the blow to the first message on `health/gateway/` that is not ready; recovery from the end of the
trouble to the first that is ready again. Times are in milliseconds, over `ROUNDS` injections each.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.support.ear import Ear
from tests.support.pair import Pair

ROUNDS = 12
TROUBLE = ("degraded", "disconnected", "connecting", "synchronizing")
#: The session settles before the next blow, and its back-off starts afresh.
QUIET_S = 1.5


def stop_and_go(pair: Pair) -> float:
    """SIGSTOP for four seconds; returns when it could go on."""
    assert pair.simulator is not None
    os.kill(pair.simulator.pid, signal.SIGSTOP)
    time.sleep(4.0)
    os.kill(pair.simulator.pid, signal.SIGCONT)
    return time.monotonic()


def kill_and_restart(pair: Pair) -> float:
    """SIGKILL, half a second later a new one; returns when it listens."""
    pair.kill_simulator()
    time.sleep(0.5)
    return pair.start_simulator()


def injected(name: str, lasts_s: float) -> Callable[[Pair], float]:
    """A fault of the simulator; over when its time is."""

    def blow(pair: Pair) -> float:
        pair.inject(name, f"{lasts_s:g}" if lasts_s else None)
        over = time.monotonic() + lasts_s
        time.sleep(lasts_s)
        return over

    return blow


BLOWS: dict[str, Callable[[Pair], float]] = {
    "stopped gateway": stop_and_go,
    "killed gateway": kill_and_restart,
    "closed socket": injected("socket_cut", 0.0),
    "link lost, kept": injected("upstream_lost", 2.0),
    "link lost, data lost": injected("data_lost", 2.0),
    "farm flap": injected("farm_flap", 2.0),
    "gateway restart": injected("restart", 2.0),
}


def measure(pair: Pair, ear: Ear, blow: Callable[[Pair], float]) -> tuple[float, float]:
    """(detection, recovery) of one blow in seconds."""
    began = time.monotonic()
    over = blow(pair)
    pair.wait_until(lambda: ear.state_since(began, *TROUBLE), "trouble is noticed")
    noticed = ear.state_since(began, *TROUBLE) or began
    # A short trouble may be over, as we see it, before the blow says that it is.
    since = max(noticed, min(over, time.monotonic()))
    pair.wait_until(lambda: ear.state_since(noticed, "ready"), "ready again")
    ready = next(
        (at for at, _, body in list(ear.heard) if at >= since and body.get("state") == "ready"), time.monotonic()
    )
    return noticed - began, max(0.0, ready - over)


def figures(values_s: list[float]) -> dict[str, float]:
    ordered = sorted(values_s)
    p99 = ordered[round(0.99 * (len(ordered) - 1))]
    return {
        "min": round(ordered[0] * 1e3, 1), "median": round(median(ordered) * 1e3, 1), "p99": round(p99 * 1e3, 1),
    }  # fmt: skip


def main() -> None:
    rounds = int(os.environ.get("RECOVERY_ROUNDS", ROUNDS))
    with tempfile.TemporaryDirectory(prefix="gp-bench-", dir="/tmp") as directory:
        pair = Pair(Path(directory))
        try:
            pair.start()
            with Ear(pair.runtime, "health/gateway/") as ear:
                pair.wait_until(lambda: ear.state_since(0.0, "ready"), "ready")
                for name, blow in BLOWS.items():
                    taken = []
                    for _ in range(rounds):
                        time.sleep(QUIET_S)
                        taken.append(measure(pair, ear, blow))
                    detection, recovery = (figures([pair_[side] for pair_ in taken]) for side in (0, 1))
                    line = {"figure": name, "n": rounds, "unit": "ms", "detection": detection, "recovery": recovery}
                    print(json.dumps(line), flush=True)
        finally:
            pair.close()


if __name__ == "__main__":
    main()
