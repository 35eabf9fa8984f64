"""Compiling the kernels: one signature each, kept on disk, safe when several engines start together.

A kernel is a plain loop over arrays. It is compiled when it is first needed, never at import, and always for the one
signature written above it, so that two processes with one cold cache write the same bytes and no wrong dtype compiles
a second version unseen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Written out, because a wrong one is silent: "contract" allows fused multiply-add and keeps NaN and infinity as they
#: are; the Python error model would test every division for zero and stop the loops from using vector instructions.
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_LOCK_WAIT_S = 60.0

_Function = TypeVar("_Function", bound=Callable[..., Any])
_KERNELS: dict[str, tuple[Any, str]] = {}


def kernel(signature: str) -> Callable[[_Function], _Function]:
    """A compiled loop with exactly this numba signature. Nothing is compiled until `warm` or the first call."""

    def register(function: _Function) -> _Function:
        compiled = numba.njit(**_OPTIONS)(function)
        _KERNELS[f"{function.__module__}.{function.__name__}"] = (compiled, signature)
        return cast(_Function, compiled)

    return register


def step(function: _Function) -> _Function:
    """A small function that is copied into the kernels that call it."""
    return cast(_Function, numba.njit(inline="always", error_model="numpy", fastmath={"contract"})(function))


def warm(*kernels: Any) -> None:
    """Compile the given kernels, or load them from the cache; all known ones when none is given."""
    with compiling():
        for compiled, signature in list(_KERNELS.values()):
            if (not kernels or compiled in kernels) and not compiled.signatures:
                compiled.compile(signature)
                compiled.disable_compile()


def forget_caches() -> bool:
    """Remove what is kept on disk of every kernel, because it may be damaged. True if there was something."""
    removed = False
    for compiled, _ in _KERNELS.values():
        folder = Path(compiled.stats.cache_path or "")
        for path in folder.glob(f"*.{compiled.py_func.__name__}-*.nb?") if folder.name else ():
            path.unlink(missing_ok=True)
            removed = True
    return removed


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Inside, kernels may compile. One process does, the others wait for its cache.

    They wait at most a minute; then they compile for themselves, which is slower and just as right.
    """
    folder = next((Path(kernel.stats.cache_path) for kernel, _ in _KERNELS.values() if kernel.stats.cache_path), None)
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "compile.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield  # a read-only installation: nothing to share, so nothing to guard
        return
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
