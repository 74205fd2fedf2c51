"""A server program of ours that outlives us if it must: in a session of its own, found again, stopped by signals.

The terminal's Ctrl-C doesn't reach it, so it is still there while we drain. When we are root it runs as `nobody`. Where
`nobody` may not pass the folders that lead to its files (a home of root's, `mktemp -d`), it is given the two
capabilities that let it, instead of our changing the rights of folders that aren't ours.
Refuses to take a process for ours that doesn't name our folder on its command line.
"""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from traderd.core.errors import TraderdError

_LOG_BYTES_MAX = 10 * 1024 * 1024
_SOCKET_PATH_BYTES_MAX = 107 - len("/.s.PGSQL.5432")
_POLL_S = 0.02


class EmbeddedServerError(TraderdError):
    """An embedded server can't be started, or the state folder is another daemon's."""


class StateInUseError(EmbeddedServerError):
    """The state folder is another daemon's."""


class Account:
    """Whom the servers run as: ourselves, or `nobody` when we are root."""

    def __init__(self) -> None:
        self.is_root = os.geteuid() == 0
        try:
            entry = pwd.getpwnam("nobody") if self.is_root else None
        except KeyError:
            raise EmbeddedServerError(
                "as root the embedded servers run as the user nobody, which is missing: run traderd as an ordinary user"
            ) from None
        self.uid = entry.pw_uid if entry else os.geteuid()
        self.gid = entry.pw_gid if entry else os.getegid()

    def make_folder(self, path: Path) -> Path:
        """A folder that belongs to the account and is closed to everybody else."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.is_root:
            os.chown(path, self.uid, self.gid)
        path.chmod(0o700)
        return path

    def prefix(self, paths: Iterable[Path]) -> list[str]:
        """What goes before a command so that it runs as the account and reaches `paths`. Raises EmbeddedServerError."""
        if not self.is_root:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise EmbeddedServerError("setpriv (package util-linux) is needed to run the embedded servers as nobody")
        command = [setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--no-new-privs"]
        closed = next((folder for path in paths for folder in self._closed(path)), None)
        if closed is None:
            return [*command, "--inh-caps=-all", "--"]
        passing = "-all,+dac_override,+dac_read_search"
        # access(2), with which initdb looks for its fellow programs, leaves capabilities aside for anybody but root,
        # unless this bit is set.
        command += [f"--inh-caps={passing}", f"--ambient-caps={passing}", "--securebits=+no_setuid_fixup", "--"]
        if subprocess.run([*command, "/bin/true"], check=False, capture_output=True).returncode:  # noqa: S603 - ours
            raise EmbeddedServerError(f"the user nobody can't pass {closed}: choose a state_dir that others may enter")
        return command

    def _closed(self, path: Path) -> list[Path]:
        """What of `path` and the folders above it the account may not enter or run."""
        steps = [step for step in (path, *path.resolve().parents) if step.exists()]
        return [step for step in steps if not self._may_pass(step.stat())]

    def _may_pass(self, status: os.stat_result) -> bool:
        return bool(status.st_mode & (stat.S_IXUSR if status.st_uid == self.uid else stat.S_IXOTH))


def socket_folder(state_dir: Path, account: Account) -> Path:
    """A private folder for sockets: `run` in the state folder, or one in /tmp where that path is too long for a socket.

    The one in /tmp is remembered in the state folder's `run.path`, so that running servers are found again.
    """
    folder = state_dir / "run"
    if len(os.fsencode(folder)) <= _SOCKET_PATH_BYTES_MAX and not set(str(folder)) & set(" ,'\"\\\n\t"):
        return account.make_folder(folder)
    note = state_dir / "run.path"
    remembered = Path(note.read_text()) if note.exists() else None
    if remembered is None or not _is_private(remembered, account.uid):
        remembered = Path(tempfile.mkdtemp(prefix="traderd-", dir="/tmp"))
        note.write_text(str(remembered))
    return account.make_folder(remembered)


def find(pid: int, argument: str) -> psutil.Process | None:
    """The living process with this number, if `argument` stands on its command line."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE and argument in process.cmdline():
            return process
    except psutil.Error:
        pass
    return None


def spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own; what it prints goes to `log`, the log before it to `log`.1 when large."""
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - a program of our own, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=clean_environment(),
        )


def clean_environment() -> dict[str, str]:
    """Nothing of the user's: a stray PGDATA or PGPORT would lead a server astray."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def is_alive(process: psutil.Process | subprocess.Popen[bytes]) -> bool:
    """Whether it runs; a child that ended is buried by the question."""
    if isinstance(process, subprocess.Popen):
        return process.poll() is None
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


async def wait_gone(process: psutil.Process | subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for its end; False when it didn't come in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while is_alive(process):  # noqa: ASYNC110 - nobody tells of the end of a process that isn't a child
                await asyncio.sleep(_POLL_S)
    return not is_alive(process)


async def stop(
    process: psutil.Process | subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]
) -> None:
    """Send each signal in turn and wait so many seconds after it, until the process is gone; at the end SIGKILL."""
    for signal_number, timeout_s in (*steps, (signal.SIGKILL, 5.0)):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            process.send_signal(signal_number)
        if await wait_gone(process, timeout_s):
            return
    raise EmbeddedServerError(f"process {process.pid} does not end")


def last_words(log: Path) -> str:
    """What a server said before it died: its last complaint, or else its last line."""
    lines = (
        [line for line in log.read_text(errors="replace").splitlines()[-20:] if line.strip()] if log.exists() else []
    )
    complaints = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (complaints or lines or ["it said nothing"])[-1]


def _is_private(folder: Path, uid: int) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, uid) and not stat.S_IMODE(status.st_mode) & 0o077
