"""What IB still counts survives the process that asked."""

import pytest

from gateway_proxy.core.scheduler import Job, Keys, Lane, PacingSettings, RequestClass, Scheduler
from gateway_proxy.pacing_memory import PacingMemory


def bars(job_id: int) -> Job:
    return Job(
        job_id, Lane.INTERACTIVE, "engine", RequestClass.HISTORY_SMALL, keys=Keys(identical="SPY 5s", series="SPY")
    )


def test_a_new_life_does_not_repeat_what_the_last_one_asked(tmp_path):
    """Asked, killed, started again 3 s later: the identical request waits for the rest of its 15 s and the margin."""
    first = Scheduler(PacingSettings())
    first.push(bars(1), 100.0)
    first.due(100.0)
    PacingMemory(tmp_path / "pacing.json").write(first.remembered(101.0))

    earlier = PacingMemory(tmp_path / "pacing.json").read()

    assert earlier is not None
    remembered, _ = earlier
    second = Scheduler(PacingSettings())
    second.recall(remembered, 2.0, 50.0)
    second.push(bars(1), 50.0)
    assert second.due(50.0) == []
    assert second.due(62.9) == []
    assert [grant.job.job_id for grant in second.due(63.1)] == [1]


def test_no_file_is_no_memory(tmp_path):
    """The first start of all."""
    assert PacingMemory(tmp_path / "pacing.json").read() is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"written_s": "x"}', b'{"written_s": 1, "remembered": {"a": [[1]]}}']
)
def test_a_damaged_file_costs_the_memory_and_nothing_else(tmp_path, content, caplog):
    """The proxy starts; the log says why it forgot."""
    (tmp_path / "pacing.json").write_bytes(content)

    assert PacingMemory(tmp_path / "pacing.json").read() is None
    assert "unreadable" in caplog.text


def test_nothing_to_remember_writes_nothing(tmp_path):
    """A quiet proxy leaves no file."""
    PacingMemory(tmp_path / "pacing.json").write({"history_window": []})

    assert list(tmp_path.iterdir()) == []
