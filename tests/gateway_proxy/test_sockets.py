"""Looking at other processes from outside, while they come, go and change."""

from __future__ import annotations

from gateway_proxy import sockets


def test_a_descriptor_that_closes_while_we_look_hides_none_of_the_others(tmp_path, monkeypatch):
    """A busy client opens and closes files all the time; its connection to the Gateway must still be found."""
    directory = tmp_path / "4711" / "fd"
    directory.mkdir(parents=True)
    for name, target in (("3", "socket:[100]"), ("4", "/dev/null"), ("7", "socket:[200]")):
        (directory / name).symlink_to(target)
    (directory / "5").write_text("gone when it is read: no link any more")
    monkeypatch.setattr(sockets, "PROC", tmp_path)

    assert sockets._owners({"100", "200", "300"}) == {"100": 4711, "200": 4711}


def test_processes_we_may_not_look_into_are_passed_over(tmp_path, monkeypatch):
    """Another user's, or one that has ended."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "fd").write_text("no directory")
    monkeypatch.setattr(sockets, "PROC", tmp_path)

    assert sockets._owners({"100"}) == {}
