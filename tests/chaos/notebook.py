"""The trader's own small log: what it wanted, before it asked, and what it was told. One JSON object a line.

A line is written before the question leaves, so a trader that was killed finds the same question, with the same
prices, when it starts again. A line cut short by the kill is the last one and was never acted upon.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

#: Answers after which a signal may be tried again under a new id: nothing lives and nothing will.
DEFINITE_NO: Final = frozenset({"refused", "rejected", "expired", "not_placed"})
#: The argument that is the price of each leg; a stop's is its trigger.
PRICES: Final = {"entry": "limit_price", "take_profit": "take_profit", "stop_loss": "stop_loss"}
#: Answers that leave the question open.
OPEN_ANSWERS: Final = frozenset({"", "unknown", "lost"})


@dataclass(slots=True)
class Move:
    """One price the trader wanted a leg moved to, and the answer; "" when none came."""

    leg: str
    price: float
    answer: str = ""


@dataclass(slots=True)
class Wish:
    """One order the trader wanted. `answers`: everything it was told about it, in order; `moves`: of all its legs."""

    ref: str
    signal: int
    attempt: int
    op: str
    args: dict[str, Any]
    answers: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    ended: str = ""

    @property
    def answer(self) -> str:
        """The last thing it was told, "" if nothing yet."""
        return self.answers[-1] if self.answers else ""

    @property
    def is_open(self) -> bool:
        """It must be asked again: nobody knows yet."""
        return self.answer in OPEN_ANSWERS

    @property
    def legs(self) -> tuple[str, ...]:
        return tuple(leg for leg, price in PRICES.items() if price in self.args)

    def may_stand_at(self, leg: str) -> set[float]:
        """Every price at which this leg may be found: a move without a clear answer happened or did not."""
        prices = {self.args[PRICES[leg]]}
        for move in self.moves:
            if move.leg != leg:
                continue
            if move.answer == "accepted":
                prices = {move.price}
            elif move.answer not in DEFINITE_NO:
                prices.add(move.price)
        return prices

    @property
    def was_accepted(self) -> bool:
        return "accepted" in self.answers


def read(path: Path) -> list[Wish]:
    """Everything in the notebook, oldest first."""
    wishes: dict[str, Wish] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        match row["event"]:
            case "wish":
                wishes[row["ref"]] = Wish(row["ref"], row["signal"], row["attempt"], row["op"], row["args"])
            case "answer":
                wishes[row["ref"]].answers.append(row["state"])
            case "move":
                wishes[row["ref"]].moves.append(Move(row["leg"], row["price"]))
            case "moved":
                wishes[row["ref"]].moves[-1].answer = row["state"]
            case "ended":
                wishes[row["ref"]].ended = row["state"]
    return list(wishes.values())


class Notebook:
    """Appends. A write that returned survives the trader's death."""

    def __init__(self, path: Path) -> None:
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("ab", buffering=0)
        if torn:
            self._file.write(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def wish(self, wish: Wish) -> None:
        self._write(event="wish", ref=wish.ref, signal=wish.signal, attempt=wish.attempt, op=wish.op, args=wish.args)

    def answer(self, wish: Wish, state: str, reason: str = "") -> None:
        """The same answer twice in a row is written once."""
        if wish.answer == state:
            return
        wish.answers.append(state)
        self._write(event="answer", ref=wish.ref, state=state, reason=reason)

    def move(self, wish: Wish, leg: str, price: float) -> None:
        wish.moves.append(Move(leg, price))
        self._write(event="move", ref=wish.ref, leg=leg, price=price)

    def moved(self, wish: Wish, state: str, reason: str = "") -> None:
        """The answer to its latest move."""
        wish.moves[-1].answer = state
        self._write(event="moved", ref=wish.ref, state=state, reason=reason)

    def ended(self, wish: Wish, state: str) -> None:
        wish.ended = state
        self._write(event="ended", ref=wish.ref, state=state)

    def _write(self, **row: Any) -> None:
        self._file.write(json.dumps(row).encode() + b"\n")
