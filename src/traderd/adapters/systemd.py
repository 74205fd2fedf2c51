"""What systemd wants to hear: READY, WATCHDOG, STOPPING and a line of status, as datagrams on NOTIFY_SOCKET.

Protocol: sd_notify(3). Says nothing when the process wasn't started by systemd, and never raises or waits: a daemon
doesn't fall because its supervisor didn't listen.
"""

import contextlib
import os
import socket
from collections.abc import Mapping


class Systemd:
    """The supervisor's ear. `watchdog_interval_s` is how long it waits for a sign of life; None: it asks for none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self.watchdog_interval_s = _watchdog_interval_s(environment) if self._socket else None

    def ready(self, status: str = "") -> None:
        """The start is complete."""
        self._say("READY=1", status)

    def stopping(self, status: str = "") -> None:
        """The stop has begun."""
        self._say("STOPPING=1", status)

    def watchdog(self) -> None:
        """A sign of life; cheap enough for every beat of the pipeline."""
        if self.watchdog_interval_s is not None:
            self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say("", text)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, state: str, status: str = "") -> None:
        if self._socket is None:
            return
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)


def _address(text: str) -> bytes:
    """A path, or an abstract name, which systemd writes with a leading `@` and the kernel wants with a leading NUL."""
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return os.fsencode(text) if text.startswith("/") else b""


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    """sd_watchdog_enabled(3): WATCHDOG_PID, where it is set, says for whom the rest is meant."""
    meant_for, microseconds = environment.get("WATCHDOG_PID", ""), environment.get("WATCHDOG_USEC", "")
    if meant_for and meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) > 0 else None
