"""Every error this package raises, drawn as one tree.

ProxyError
├── ConfigError               a configuration file, key or flag is wrong; says where and what would be right
├── AlreadyRunning            another proxy owns this runtime directory or journal
├── JournalUnavailable        the order journal cannot be read or made durable
├── BadMessage                bytes or fields that the bus contract does not allow
│   ├── UnknownOperation      the "op" does not exist on this socket
│   ├── UnsupportedVersion    another major version of the protocol
│   └── TooLarge              one frame is longer than the limit
├── ProxyUnreachable          no proxy answers at these endpoints
├── GatewayUnavailable        the proxy runs, but its Gateway session cannot serve this now
├── GatewayTimeout            the Gateway did not answer in time; the verdict says why
├── PacingDelayed             a pacing rule would hold the request longer than the caller waits
├── BreakerOpen               the circuit breaker of this request class is open
├── QueueFull                 a bounded queue refused one more request
├── ContractUnknown           IB knows no such contract (error 200)
├── NoData                    IB answered: there is no data (not an outage)
├── Refused                   we did not do it, and nothing was sent; the reason says why
│   ├── Conflict              this client_order_id exists with another payload
│   └── Expired               the deadline passed while it waited; it was never sent
├── Rejected                  IB refused it
└── UnknownOutcome            it may or may not have happened: ask by reference, never resend blindly
"""

from __future__ import annotations

from typing import Any, ClassVar


class ProxyError(Exception):
    """Root of the tree. `code` is the stable word on the bus; `retry_in_s` is None when retrying is useless."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_in_s: float | None = None, verdict: str | None = None) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s
        self.verdict = verdict


class ConfigError(ProxyError):
    code = "config"


class AlreadyRunning(ProxyError):
    code = "already_running"


class JournalUnavailable(ProxyError):
    code = "journal_unavailable"


class BadMessage(ProxyError):
    """`request_id`: the id of the refused request, None when not even that could be read."""

    code = "bad_message"

    def __init__(self, message: str, *, request_id: str | int | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.request_id = request_id


class UnknownOperation(BadMessage):
    code = "unknown_op"


class UnsupportedVersion(BadMessage):
    code = "unsupported_version"


class TooLarge(BadMessage):
    code = "too_large"


class ProxyUnreachable(ProxyError):
    code = "proxy_unreachable"


class GatewayUnavailable(ProxyError):
    code = "gateway_unavailable"


class GatewayTimeout(ProxyError):
    code = "gateway_timeout"


class PacingDelayed(ProxyError):
    """`eta_s`: seconds until the rule would let the request go."""

    code = "pacing_delayed"

    @property
    def eta_s(self) -> float:
        return self.retry_in_s or 0.0


class BreakerOpen(ProxyError):
    """`retry_in_s`: seconds until the breaker admits a probe."""

    code = "breaker_open"


class QueueFull(ProxyError):
    code = "queue_full"


class ContractUnknown(ProxyError):
    code = "contract_unknown"


class NoData(ProxyError):
    code = "no_data"


class Refused(ProxyError):
    """`reason` is a sentence a trader understands; nothing was sent."""

    code = "refused"

    @property
    def reason(self) -> str:
        return str(self)


class Conflict(Refused):
    code = "conflict"


class Expired(Refused):
    code = "expired"


class Rejected(ProxyError):
    code = "rejected"


class UnknownOutcome(ProxyError):
    """`ref`: the client_order_id to ask `order.status` with."""

    code = "unknown_outcome"

    def __init__(self, message: str, *, ref: str = "", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.ref = ref


def _tree(root: type[ProxyError]) -> list[type[ProxyError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_CODE: dict[str, type[ProxyError]] = {error.code: error for error in _tree(ProxyError)}


def from_reply(error: dict[str, Any]) -> ProxyError:
    """The exception for an `error` object of a reply. An unknown code becomes a plain ProxyError with its text."""
    kind = BY_CODE.get(str(error.get("code")), ProxyError)
    return kind(
        str(error.get("message") or error.get("code") or "no message"),
        retry_in_s=error.get("retry_in_s"),
        verdict=error.get("verdict"),
    )
