"""The citation: how an order names the messages it was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class Citation:
    """One published message: where it was told, its number there, and in which life of the proxy."""

    topic: Annotated[str, Meta(pattern=r"^[!-~][ -~]{0,126}/$")]
    seq: Annotated[int, Meta(ge=1, lt=2**53)]
    epoch: Annotated[str, Meta(pattern=r"^[!-~]{1,64}$")]


Citations = Annotated[tuple[Citation, ...], Meta(max_length=8)]
