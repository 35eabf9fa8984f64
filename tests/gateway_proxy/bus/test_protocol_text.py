"""PROTOCOL.md is the contract; these tests hold text and code together."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from gateway_proxy import errors
from gateway_proxy.bus import codec, messages, publisher, topics
from gateway_proxy.bus.server import POLITE_FACTOR, BusSettings

TEXT = Path(messages.__file__).with_name("PROTOCOL.md").read_text()
WORD = re.compile(r"`([^`]+)`")


def section(title: str) -> str:
    """The text from this heading to the next one of any level."""
    return re.split(r"^#+ ", TEXT.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def rows(title: str) -> dict[str, list[str]]:
    """The table of a section: the word in the first column (without ticks), then the other cells."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section(title).splitlines()
        if line.startswith("| ") and not line.startswith("|--")
    ]
    return {row[0].strip("`| "): row[1:] for row in cells[1:]}


def test_version_is_the_one_that_is_spoken():
    """The first line of the text, the constant, and the major number in frames."""
    assert f"Version **{messages.PROTOCOL_VERSION}**" in TEXT
    assert messages.PROTOCOL_VERSION.split(".")[0] == str(codec.VERSION)


def test_kinds_are_exactly_those_in_the_code():
    """No kind without a line, no line without a kind."""
    assert tuple(rows("## 3. Kinds")) == messages.KINDS


def test_topics_and_their_kinds_are_exactly_those_in_the_code():
    """The table of section 4 is the table of topics.py."""
    told = {topic: WORD.findall(cells[0])[0] for topic, cells in rows("## 4. Subscribing, gaps, restarts").items()}

    assert told == topics.PATTERNS


@pytest.mark.parametrize(
    ("title", "ops"), [("### Request socket", messages.REQUEST_ARGS), ("### Trade socket", messages.TRADE_ARGS)]
)
def test_operations_and_their_args_are_exactly_those_in_the_code(title, ops):
    """Every op, every arg, in order."""
    told = {op: WORD.findall(cells[0]) for op, cells in rows(title).items()}

    assert told == {op: [field.name for field in fields(args)] for op, args in ops.items()}


def test_bodies_have_exactly_the_fields_of_the_dataclasses():
    """Every field of every body."""
    told = {body: WORD.findall(cells[0]) for body, cells in rows("## 5. Bodies").items()}

    assert told == {body: [field.name for field in fields(getattr(messages, body))] for body in told}


def test_error_codes_are_exactly_those_in_the_code():
    """In the order of the tree."""
    assert list(rows("## 10. Error codes")) == [error.code for error in errors.BY_CODE.values()]


def test_bar_sizes_are_exactly_those_in_the_code():
    """In the text, in topics and in the type."""
    told = section("### Request socket").split("* `size` is one of")[1].split(", default")[0]

    assert WORD.findall(told) == list(topics.BAR_SIZES)
    assert set(topics.BAR_SIZES) == set(get_args(messages.BarSize)) == set(topics.BAR_SECONDS)


def test_limits_are_the_ones_in_the_code():
    """Sizes, depths and times."""
    assert codec.FRAME_BYTES_MAX == BusSettings().max_frame_bytes == 1 << 20 and POLITE_FACTOR == 4
    assert "longer than 1 MiB" in TEXT and "longer than 4 MiB" in TEXT
    assert f"deeper than {codec.DEPTH_MAX} levels" in TEXT.replace("\n  ", " ")
    assert f"1 to {codec.ID_LENGTH_MAX} printable" in TEXT and f"1 to {codec.EXPIRES_MS_MAX}" in TEXT
    assert f"every {BusSettings().heartbeat_s * 1000:g} ms" in TEXT
    assert f"once in {publisher.WELCOME_SPACING_S * 1000:g} ms" in TEXT
    assert f"at most {publisher.PREFIX_BYTES_MAX} printable" in TEXT
