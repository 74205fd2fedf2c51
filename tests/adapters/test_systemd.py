"""What systemd hears, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from traderd.adapters.systemd import Systemd


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The other end: systemd's, on a path."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(path)
        ear.settimeout(2.0)
        yield ear, path


def _heard(ear: socket.socket) -> list[str]:
    return ear.recv(4096).decode().split("\n")


def test_ready_stopping_and_status_arrive_as_systemd_spells_them(supervisor: tuple[socket.socket, str]) -> None:
    """One datagram each; a status of several lines becomes one line, or systemd would read the rest as fields."""
    ear, path = supervisor
    systemd = Systemd({"NOTIFY_SOCKET": path})
    systemd.ready("10 streams")
    systemd.status("two\nMAINPID=1 lines")
    systemd.stopping()
    assert _heard(ear) == ["READY=1", "STATUS=10 streams"]
    assert _heard(ear) == ["STATUS=two MAINPID=1 lines"]
    assert _heard(ear) == ["STOPPING=1"]
    systemd.close()


def test_an_abstract_socket_is_reached() -> None:
    """systemd writes its leading NUL as `@`."""
    name = f"traderd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}")
        ear.settimeout(2.0)
        systemd = Systemd({"NOTIFY_SOCKET": f"@{name}"})
        systemd.ready()
        assert _heard(ear) == ["READY=1"]
        systemd.close()


def test_the_watchdog_is_fed_only_where_it_is_asked_for(supervisor: tuple[socket.socket, str]) -> None:
    """WATCHDOG_USEC asks, WATCHDOG_PID says whom."""
    ear, path = supervisor
    asked = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())})
    assert asked.watchdog_interval_s == 20.0
    asked.watchdog()
    assert _heard(ear) == ["WATCHDOG=1"]
    for environment in (
        {"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid() + 1)},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {},
    ):
        other = Systemd({"NOTIFY_SOCKET": path, **environment})
        assert other.watchdog_interval_s is None
        other.watchdog()
        other.close()
    ear.setblocking(False)
    with pytest.raises(BlockingIOError):
        ear.recv(4096)
    asked.close()


def test_without_systemd_nothing_happens() -> None:
    """No socket, no watchdog, no fault."""
    systemd = Systemd({"WATCHDOG_USEC": "20000000"})
    systemd.ready()
    systemd.watchdog()
    systemd.stopping()
    assert systemd.watchdog_interval_s is None


def test_a_supervisor_that_is_gone_or_does_not_read_hinders_nobody(supervisor: tuple[socket.socket, str]) -> None:
    """A full socket buffer or a missing socket is no reason to fall, or to wait."""
    _, path = supervisor
    systemd = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    for _ in range(2_000):  # net.unix.max_dgram_qlen is far below
        systemd.watchdog()
    Path(path).unlink()
    systemd.stopping()
    systemd.close()
