"""What a settings dataclass allows, in the reader's words: the kind of a value, the known keys, the nearest spelling.

Pure. The bounds come from `annotated_types` in the annotations; pydantic checks them, this file only tells them.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types as at

_NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path"}


def keys(kind: Any, place: Sequence[str | int]) -> list[str]:
    """The keys that the table at `place` may have; empty when it may have any."""
    inner, _ = _bare(kind_at(kind, place))
    return [field.name for field in dataclasses.fields(inner)] if dataclasses.is_dataclass(inner) else []


def kind_at(kind: Any, place: Sequence[str | int]) -> Any:
    """The annotation of the value at `place`, None when there is none."""
    for step in place:
        inner, _ = _bare(kind)
        if dataclasses.is_dataclass(inner):
            kind = typing.get_type_hints(inner, include_extras=True).get(str(step))
        elif typing.get_origin(inner) is dict:
            kind = typing.get_args(inner)[1]
        elif typing.get_origin(inner) in (list, tuple):
            kind = typing.get_args(inner)[0]
        else:
            return None
    return kind


def describe(kind: Any) -> str:
    """ "an integer from 1 to 65535", "one of "dry-run", "paper", "live"", …; "" for a kind without words."""
    inner, marks = _bare(kind)
    origin = typing.get_origin(inner)
    if origin is Literal:
        return "one of " + ", ".join(toml(choice) for choice in typing.get_args(inner))
    if origin in (list, tuple):
        item = describe(typing.get_args(inner)[0])
        return f"a list{_length(marks)}, each {item}" if item else "a list"
    if origin is dict or dataclasses.is_dataclass(inner):
        return "a table"
    noun = _NOUNS.get(inner, "")
    return noun and noun + (_length(marks) if inner is str else _range(marks))


def _bare(kind: Any) -> tuple[Any, list[Any]]:
    """The kind without Annotated and "| None", and the marks that Annotated carried."""
    marks: list[Any] = []
    while True:
        if typing.get_origin(kind) is Annotated:
            kind, *more = typing.get_args(kind)
            marks += more
        elif typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(arm for arm in typing.get_args(kind) if arm is not type(None))
        else:
            return kind, marks


def _bounds(marks: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mark in marks:
        for name in ("gt", "ge", "lt", "le", "min_length", "max_length"):
            bound = getattr(mark, name, None)
            if bound is not None:
                found[name] = bound
    return found


def _range(marks: Iterable[Any]) -> str:
    bounds = _bounds(marks)
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
    told = [f"{word} {bounds[name]}" for name, word in words.items() if name in bounds]
    return " " + " and ".join(told) if told else ""


def _length(marks: Iterable[Any]) -> str:
    bounds = _bounds(mark for mark in marks if isinstance(mark, at.MinLen | at.MaxLen | at.Len))
    words = {"min_length": "at least", "max_length": "at most"}
    told = [f"{word} {bounds[name]}" for name, word in words.items() if bounds.get(name)]
    return f" of {' and '.join(told)}" if told else ""


def did_you_mean(word: str, known: Iterable[str], form: str = '"{}"') -> str:
    """ "; did you mean …?" with the nearest known word, else "; choose one of …" while that is a short list."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {form.format(near[0])}?"
    return f"; choose one of {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""


def dotted(place: Sequence[str | int]) -> str:
    """engines.scalp.symbols[2]"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def spell(section: str, place: Sequence[str | int]) -> str:
    """The table as the file writes it, "[engines.scalp]"; "" for the whole file."""
    path = ".".join(part for part in (section, dotted(place)) if part)
    return f"[{path}]" if path else ""


def toml(value: Any) -> str:
    """A value as it would stand in the file, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"')[:80] + '"'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value[:4])}{', …' if len(value) > 4 else ''}]"
    return str(value)[:80]
