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
from numba.core.errors import NumbaError
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

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


def warm(*kernels: Any) -> float:
    """Compile the given kernels, or load them from the cache; all known ones when none is given. Returns seconds.

    The first process compiles and the others wait for its cache, at most a minute; then they compile for themselves,
    which is slower and just as right. A damaged cache is removed once and built again.
    """
    started = time.perf_counter()
    wanted = [entry for entry in _KERNELS.values() if not kernels or entry[0] in kernels]
    with _one_process_at_a_time():
        for compiled, signature in wanted:
            if compiled.signatures:
                continue
            try:
                compiled.compile(signature)
            except NumbaError:
                raise
            except Exception:  # unpickling damaged bytes may raise anything
                if not _remove_cache_of(compiled):
                    raise
                compiled.compile(signature)
            compiled.disable_compile()
    return time.perf_counter() - started


def _remove_cache_of(compiled: Any) -> bool:
    folder = Path(compiled.stats.cache_path or "")
    removed = False
    for path in folder.glob(f"*.{compiled.py_func.__name__}-*.nb?") if folder.name else ():
        path.unlink(missing_ok=True)
        removed = True
    return removed


@contextlib.contextmanager
def _one_process_at_a_time() -> Iterator[None]:
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
