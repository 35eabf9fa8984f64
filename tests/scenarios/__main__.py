"""Plays every scenario, prints what was named, and writes docs/verdicts.md: `python -m tests.scenarios`."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway_proxy.core.diagnosis import TABLE
from gateway_proxy.core.verdict import ADVICE, Verdict
from tests.scenarios.cases import CASES, Case, Named, run

DOCUMENT = Path(__file__).parents[2] / "docs" / "verdicts.md"

HEAD = """# Verdicts: why did I get no data?

Every request and every stream that does not end well gets one verdict out of a closed list, with the evidence and what
to do about it: on the topic `verdicts/`, in the error of the request, in `gateway-proxy doctor` and in the `diagnose`
op. Nothing is guessed from a time-out alone: the decision table looks at the socket, the loop, the round trip, a fresh
client, the kinds of request that still work, and the codes that IB sent.

This page is written by `python -m tests.scenarios`.
"""
CONFUSION = """
## Cause injected, verdict named

Each row is a scenario of `configs/scenarios/` against the simulated Gateway; play one yourself with
`python -m gateway_sim --scenario configs/scenarios/NAME.toml`. `{right} of {total}` causes were named. The last two
rows need real processes: `tests/processes/test_causes.py` plays them and fails when they are named otherwise.

| scenario | what happens | verdict named | by | right |
|---|---|---|---|---|
"""
PROCESS_ROWS = """| `examples/old_bot.py` | A new event loop in every cycle; nobody reads the socket. | \
`loop_mismatch` | doctor | by its test |
| SIGSTOP of the proxy | The proxy's own loop does not run for some seconds. | `proxy_stalled` | health/gateway/ | \
by its test |
"""


def signs() -> dict[Verdict, str]:
    """What each verdict is recognised by; several rows of the table may lead to the same one."""
    found: dict[Verdict, list[str]] = {}
    for row in TABLE:
        found.setdefault(row.verdict, []).append(row.sign)
    return {verdict: "; or ".join(dict.fromkeys(texts)) for verdict, texts in found.items()}


def verdict_table() -> str:
    """One row per verdict of the closed list."""
    known = signs()
    lines = ["## The list", "", "| verdict | recognised by | what to do |", "|---|---|---|"]
    for verdict in Verdict:
        sign = known.get(verdict, "told by the request or stream that ended with it")
        lines.append(f"| `{verdict.value}` | {sign} | {ADVICE[verdict]} |")
    return "\n".join(lines) + "\n"


def confusion(results: list[tuple[Case, Named]]) -> str:
    """The table of causes and names."""
    right = sum(named.verdict == case.expected.value for case, named in results)
    text = CONFUSION.format(right=right, total=len(results))
    for case, named in results:
        mark = "yes" if named.verdict == case.expected.value else f"no, expected `{case.expected.value}`"
        text += f"| `{case.name}` | {case.cause} | `{named.verdict}` | {case.by} | {mark} |\n"
    return text + PROCESS_ROWS


def main() -> int:
    """Returns 1 if a cause was not named."""
    results = []
    for case in CASES:
        named = run(case)
        results.append((case, named))
        print(f"{case.name:20} {named.verdict:20} {named.sign}", flush=True)
    DOCUMENT.write_text(HEAD + confusion(results) + "\n" + verdict_table())
    wrong = [case.name for case, named in results if named.verdict != case.expected.value]
    print(f"{len(results) - len(wrong)} of {len(results)} causes named" + (f"; wrong: {wrong}" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
