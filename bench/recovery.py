"""How soon trouble is noticed and over, on a real simulator and a real proxy: `python -m bench.recovery --rounds 60`.

Each kind of trouble strikes at random moments of the probe cycle. Noticed is from the blow to the first message that
tells of it; ready is from the end of the trouble to the first that says that all is well again. Times are those of an
ordinary subscriber. Each blow is judged alone: the pause that a session owes after its third trouble within a minute
(`[health] calm_s`) is left out. Everything is imported before the first blow, and one unmeasured blow warms it all up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.recovery_figures import Promise, Sample, line, pauses
from gateway_proxy.core.health import HealthSettings
from tests.support.ear import Ear
from tests.support.pair import Pair

#: Of the short form, `python -m bench recovery`.
ROUNDS: Final = 6
SEED: Final = 1
SESSION: Final = "health/gateway/"
#: A stream may be asked for again at once only if the same was not asked for in the last 15 s, so blows take turns.
STREAMS: Final = tuple(f"bars/{symbol}/1min/" for symbol in ("SPY", "QQQ", "AAPL", "MSFT", "NVDA", "TSLA"))
TROUBLE: Final = ("degraded", "disconnected", "connecting", "synchronizing")
#: A killed Gateway is started again after at most so long, at random: it then listens anywhere between two dials, which
#: are 2 s apart in the end (`retry_max_s` of `Pair`).
AWAY_MAX_S: Final = 4.0
#: A window in which no session is ever troubled three times, so that none counts as flapping.
ALONE: Final = "[health]\nflap_window_s = 0.1"

Strike = Callable[[Pair], object]
End = Callable[[Pair, float, random.Random], float]
Told = Callable[[Ear, float], float | None]


def told_of_trouble(ear: Ear, since: float) -> float | None:
    return ear.state_since(since, *TROUBLE)


def told_ready(ear: Ear, since: float) -> float | None:
    return ear.state_since(since, "ready")


def told_of_a_dead_stream(ear: Ear, since: float) -> float | None:
    return _first_with("verdict", ear, since)


def told_a_bar(ear: Ear, since: float) -> float | None:
    return _first_with("start_ns", ear, since)


def _first_with(field: str, ear: Ear, since: float) -> float | None:
    return next((at for at, _, body in list(ear.heard) if at >= since and field in body), None)


@dataclass(frozen=True)
class Kind:
    """One kind of trouble.

    strike: the blow.    end: called once the blow was noticed, with its moment; ends the trouble and returns when.
    topics: what is listened to, in turn; the session when there are none.
    """

    strike: Strike
    end: End
    promise: Promise = Promise()
    topics: tuple[str, ...] = ()
    noticed: Told = told_of_trouble
    ready: Told = told_ready


def stop(pair: Pair) -> None:
    assert pair.simulator is not None
    os.kill(pair.simulator.pid, signal.SIGSTOP)


def go_on(pair: Pair, _struck: float, _chance: random.Random) -> float:
    assert pair.simulator is not None
    os.kill(pair.simulator.pid, signal.SIGCONT)
    return time.monotonic()


def start_again(pair: Pair, _struck: float, chance: random.Random) -> float:
    """Returns when the new one listens."""
    time.sleep(chance.uniform(0.0, AWAY_MAX_S))
    return pair.start_simulator()


def injected(name: str, lasts_s: float) -> tuple[Strike, End]:
    """A fault of the simulator, over by itself when its time is."""
    lasts = f"{lasts_s:g}" if lasts_s else None
    return lambda pair: pair.inject(name, lasts), lambda _pair, struck, _chance: struck + lasts_s


CLOSED: Final = Promise(noticed_s=0.2)
KINDS: Final[dict[str, Kind]] = {
    "stopped gateway": Kind(stop, go_on, Promise(noticed_s=3.0)),
    "killed gateway": Kind(Pair.kill_simulator, start_again, Promise(noticed_s=0.2, ready_s=5.0)),
    "closed socket": Kind(*injected("socket_cut", 0.0), CLOSED),
    "gateway restart": Kind(*injected("restart", 2.0), CLOSED),
    "link lost, kept": Kind(*injected("upstream_lost", 2.0)),
    "link lost, data lost": Kind(*injected("data_lost", 2.0)),
    "farm flap": Kind(*injected("farm_flap", 3.0)),
    "ended stream": Kind(
        *injected("keepup_dead", 0.0), topics=STREAMS, noticed=told_of_a_dead_stream, ready=told_a_bar
    ),
}  # fmt: skip


def measure(pair: Pair, session: Ear, ear: Ear, kind: Kind, chance: random.Random) -> Sample:
    """One blow. Raises AssertionError if it is not noticed, or not over, within the patience of `Pair`."""
    pair.wait_until(lambda: session.newest_state() == "ready", "ready before the blow")
    struck = time.monotonic()
    kind.strike(pair)
    pair.wait_until(lambda: kind.noticed(ear, struck), "trouble is noticed")
    noticed = kind.noticed(ear, struck)
    assert noticed is not None
    over = kind.end(pair, struck, chance)
    pair.wait_until(lambda: kind.ready(ear, noticed), "all is well again")
    ready = kind.ready(ear, noticed)
    assert ready is not None
    # A short trouble may be over, as we see it, before the blow says that it is.
    return Sample(noticed - struck, max(0.0, ready - over))


def samples(pair: Pair, session: Ear, kind: Kind, rounds: int, chance: random.Random) -> list[Sample]:
    """The first blow is not measured: it finds code that has never run."""
    taken: list[Sample] = []
    for number, pause_s in enumerate(pauses(rounds + 1, HealthSettings().probe_interval_s, chance.uniform)):
        with ExitStack() as stack:
            ear = session
            if kind.topics:
                ear = stack.enter_context(Ear(pair.runtime, kind.topics[number % len(kind.topics)]))
            pair.wait_until(partial(kind.ready, ear, 0.0), "well before the blow")
            time.sleep(pause_s)
            taken.append(measure(pair, session, ear, kind, chance))
    return taken[1:]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=str(__doc__).partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all of {', '.join(KINDS)} when left out")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"blows of each kind ({ROUNDS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the moments ({SEED})")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.kinds if name not in KINDS]
    if unknown or chosen.rounds < 1:
        parser.error(
            f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}" if unknown else "--rounds must be positive"
        )
    with tempfile.TemporaryDirectory(prefix="gp-bench-", dir="/tmp") as directory:
        pair = Pair(Path(directory), more=ALONE)
        try:
            pair.start()
            with Ear(pair.runtime, SESSION) as session:
                for name in chosen.kinds or KINDS:
                    # Of its own for each kind, so that a kind alone meets the same moments.
                    chance = random.Random(f"{chosen.seed} {name}")
                    taken = samples(pair, session, KINDS[name], chosen.rounds, chance)
                    print(json.dumps(line(name, chosen.seed, taken, KINDS[name].promise)), flush=True)
        finally:
            pair.close()


if __name__ == "__main__":
    main()
