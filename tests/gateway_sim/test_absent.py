"""Services that this Gateway does not have are refused, never left hanging."""

import pytest

from tests.gateway_sim.direct import CONTRACTS, Bench


@pytest.mark.parametrize(("message", "code"), [
    ((52, 2, 7, *CONTRACTS["SPY"]), 430),
    ((84, 7, "BRFG", "x", ""), 10172),
    ((100, 7), 10276), ((102, 7, 1), 10276), ((21, 2, 7), 322),
])  # fmt: skip
def test_absent_service_answers_with_its_request_id(message, code):
    client = Bench().connect(1)

    client.send(*message)

    assert [(number, seen) for number, seen, _ in client.errors()] == [(7, code)]
