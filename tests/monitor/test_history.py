"""Rows over time: what a bad minute looks like, what is kept, what survives a restart."""

from __future__ import annotations

from html.parser import HTMLParser

from monitor.config import HistorySettings
from monitor.history import History, day_of
from monitor.report import render_day
from monitor.samples import ClassSample, Sample, Sampler
from monitor.series import Series
from monitor.view import Event, Light
from tests.monitor.messages import WALL_NS
from tests.monitor.test_histograms import encoded

SECOND = 1_000_000_000


def sample(second: int, light: Light = Light.GREEN, **more: object) -> Sample:
    return Sample(WALL_NS + second * SECOND, light, "ready" if light is Light.GREEN else "degraded", **more)  # type: ignore[arg-type]


def latency_body(values_us: list[int]) -> dict[str, object]:
    return {"classes": {"history": {"queue_ms": {"hdr": ""}, "gateway_ms": {"hdr": encoded(values_us)}}}}


def test_a_row_is_about_the_time_since_the_row_before(watched, bus):
    """After an hour of fast answers one slow one is the whole row, instead of vanishing in the average."""
    sampler = Sampler()
    fast = [1000] * 5000
    watched.hear(bus.gateway(), bus.health("latency", **latency_body(fast)))
    sampler.sample(watched.view)
    watched.hear(bus.health("latency", **latency_body([*fast, 9_000_000])))

    row = sampler.sample(watched.view).latency["history"]

    assert row.gateway_p50 is not None
    assert row.gateway_p50 > 8000


def test_first_row_does_not_hold_the_whole_life_of_the_proxy(watched, bus):
    watched.hear(bus.gateway(), bus.health("latency", **latency_body([1000] * 100)))

    assert Sampler().sample(watched.view).latency == {}


def test_coarse_rows_keep_the_worst_light_and_the_highest_figures():
    """One red second must not disappear in ten green ones."""
    series = Series(coarse_s=10)
    done = [series.add(sample(s, Light.RED if s == 4 else Light.GREEN, rtt_ms=float(s))) for s in range(11)]

    kept = [row for row in done if row is not None]

    assert [(row.light, row.state, row.rtt_ms) for row in kept] == [(Light.RED, "degraded", 9.0)]


def test_series_are_bounded():
    series = Series(coarse_s=10)
    for second in range(3000):
        series.add(sample(second))

    assert len(series.recent()) == 900
    assert len(series.day()) <= 8640


def test_history_survives_a_restart_and_a_broken_line(tmp_path):
    """What was written is read back, except a line that a crash cut."""
    row = sample(0, Light.AMBER, latency={"history": ClassSample(1.0, 2.0, 3.0, 4.0, 5)}, budgets={"x": (1.0, 2.0)})
    event = Event(1, WALL_NS, "farm", Light.RED, "usfarm", "farm up -> down", {"to": "down"})
    History(HistorySettings(), tmp_path).append(row, [event])
    day = day_of(WALL_NS)
    with (tmp_path / f"samples-{day}.jsonl").open("ab") as file:
        file.write(b'{"wall_ns": 17')

    again = History(HistorySettings(), tmp_path)

    assert again.samples(day) == [row]
    assert again.events(day) == [event]
    assert again.days() == [day]


def test_old_days_are_deleted_by_age_and_by_size(tmp_path):
    """Never more than the days and megabytes that were asked for; today is never deleted."""
    day_ns = 86_400 * SECOND
    history = History(HistorySettings(days=5, megabytes=1), tmp_path)
    for day in range(12):
        name = f"samples-{day_of(WALL_NS + day * day_ns)}.jsonl"
        (tmp_path / name).write_bytes(b"x" * 300_000)
    today = WALL_NS + 12 * day_ns

    history.append(Sample(today, Light.GREEN, "ready"), [])

    kept = history.days()
    assert kept[-1] == day_of(today)
    assert len(kept) == 4  # three old ones fit into the megabyte
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_300_000


def test_unwritable_history_is_told_once_and_costs_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    history = History(HistorySettings(), tmp_path / "file" / "below")

    for second in range(3):
        history.append(sample(second), [])

    assert [record.message for record in caplog.records] == ["history is not kept"]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_report_stands_alone_and_escapes_everything():
    """The file can be mailed: no script, no link; what others published stays text."""
    rows = [sample(s * 10, Light.RED if s == 3 else Light.GREEN, pnl=float(s)) for s in range(20)]
    evil = "<script>alert(1)</script>"
    events = [Event(1, WALL_NS, "verdict", Light.RED, evil, f"history_silent: {evil}", {})]

    html = render_day("2027-01-15", rows, events)

    tags = Tags()
    tags.feed(html)
    assert "script" not in tags.seen
    assert tags.links == []
    assert "history_silent" in html
    assert "red" in html


def test_report_of_a_whole_day_is_bounded():
    """8640 rows become one page of bounded size."""
    rows = [sample(s * 10, latency={"history": ClassSample(1.0, 2.0, 30.0, 40.0, 5)}) for s in range(8640)]

    html = render_day("2027-01-15", rows, [])

    assert len(html) < 3_000_000
