"""The desk of absent services: what a Gateway without these subscriptions answers, so that no client waits for ever.
Pure.

Fundamentals, news articles and corporate events are not subscribed, options cannot be exercised
by API, financial advisor and display group requests go unanswered on an individual account.
"""

from __future__ import annotations

from gateway_sim.floor import Floor, Handler
from gateway_sim.requests import ById, Plain
from gateway_sim.session import Session

REFUSALS = {
    "reqFundamentalData": (430, "We are sorry, but fundamentals data for the security specified is not available."),
    "reqNewsArticle": (10172, "Failed to request news article: news provider is not subscribed"),
    "reqWshMetaData": (10276, "News feed is not allowed."),
    "reqWshEventData": (10276, "News feed is not allowed."),
    "exerciseOptions": (322, "Error processing request.-'bR' : cause - Exercise is not available in this simulation"),
}
SILENT = (
    "cancelFundamentalData", "cancelWshMetaData", "cancelWshEventData", "requestFA",
    "replaceFA", "verifyRequest", "verifyMessage", "queryDisplayGroups", "subscribeToGroupEvents", "updateDisplayGroup",
    "unsubscribeFromGroupEvents", "verifyAndAuthRequest", "verifyAndAuthMessage",
)  # fmt: skip


class AbsentDesk:
    """Refuses politely."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.handlers: dict[str, Handler] = {}
        for kind in REFUSALS:
            self.handlers[kind] = self._refuser(kind)
        for kind in SILENT:
            self.handlers[kind] = self._nothing

    def _refuser(self, kind: str) -> Handler:
        code, text = REFUSALS[kind]

        def refuse(session: Session, request: ById) -> None:
            self._floor.error(session, request.req_id, code, text, kind)

        return refuse

    def _nothing(self, session: Session, request: Plain) -> None:
        """Accepted, never answered."""
