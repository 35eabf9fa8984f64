"""Request latency per class, our queue and the Gateway kept apart. Pure; HDR histograms that readers can merge."""

from __future__ import annotations

from typing import Any, Final

from hdrh.histogram import HdrHistogram

_LOWEST_US: Final = 1
_HIGHEST_US: Final = 3_600_000_000
_DIGITS: Final = 2


class LatencyBook:
    """Microsecond histograms, kept for one life of the proxy; about 20 KB per class and side."""

    def __init__(self) -> None:
        self._queue: dict[str, HdrHistogram] = {}
        self._gateway: dict[str, HdrHistogram] = {}
        self._max_us: dict[tuple[str, str], int] = {}

    def record(self, request_class: str, queued_ms: float, gateway_ms: float | None) -> None:
        """`gateway_ms` is None for a request that was never sent."""
        self._add("queue", self._queue, request_class, queued_ms)
        if gateway_ms is not None:
            self._add("gateway", self._gateway, request_class, gateway_ms)

    def _add(self, side: str, book: dict[str, HdrHistogram], request_class: str, value_ms: float) -> None:
        histogram = book.get(request_class)
        if histogram is None:
            histogram = book[request_class] = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
        value_us = max(_LOWEST_US, min(int(value_ms * 1_000), _HIGHEST_US))
        histogram.record_value(value_us)
        key = side, request_class
        self._max_us[key] = max(value_us, self._max_us.get(key, 0))

    def body(self) -> dict[str, Any]:
        """The body of `health/latency/`."""
        return {
            "classes": {
                name: {
                    "queue_ms": self._side("queue", self._queue, name),
                    "gateway_ms": self._side("gateway", self._gateway, name),
                }
                for name in sorted(self._queue)
            }
        }

    def _side(self, side: str, book: dict[str, HdrHistogram], name: str) -> dict[str, Any]:
        histogram = book.get(name)
        if histogram is None:
            return {"p50": None, "p99": None, "max": None, "count": 0, "hdr": ""}
        return {
            "p50": histogram.get_value_at_percentile(50) / 1_000,
            "p99": histogram.get_value_at_percentile(99) / 1_000,
            "max": self._max_us[side, name] / 1_000,
            "count": histogram.get_total_count(),
            "hdr": histogram.encode().decode(),
        }
