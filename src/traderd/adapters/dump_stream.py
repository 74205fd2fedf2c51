"""The programs behind a backup, joined by pipes: what one of them complains about ends them all.

            ┌─ pg_restore (decompresses every byte: what it can't read is no backup)
    pg_dump ┤
            └─ age or gpg, where asked for ─ file
Nothing that is to be encrypted touches the disk in clear. Refuses to call a stream complete of which any program didn't
end well.
"""

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from traderd.adapters.whole_files import BackupError

_CHUNK: Final = 1 << 20
_TABLE: Final = re.compile(r'pg_dump: dumping contents of table "(.+)"')
_FAULT: Final = re.compile(r"\b(?:error|fatal):\s+(.+)", re.IGNORECASE)
_WARNING: Final = re.compile(r"pg_dump: warning: (.+)")
# A hint for dumps of the data alone: a whole one restores constraints after the data. TimescaleDB's catalogue has some.
_HARMLESS: Final = "there are circular foreign-key constraints"
_LINES_KEPT: Final = 20

Progress = Callable[[int, int], None]
"""Takes the bytes done and the bytes in all."""


class Sink(Protocol):
    """Where the stream ends."""

    def write(self, chunk: bytes) -> int:
        """Take it all."""


class DumpTold:
    """What pg_dump --verbose says as it goes: progress, in bytes of the tables whose content is done, and warnings."""

    def __init__(self, sizes: Mapping[str, int], progress: Progress | None) -> None:
        self._sizes = sizes
        self._progress = progress
        self._total = sum(sizes.values())
        self._done = 0
        self._at = ""
        self.warnings: list[str] = []

    def line(self, line: str) -> None:
        """Take one line of its stderr."""
        if (table := _TABLE.match(line)) is not None:
            self._done += self._sizes.get(self._at, 0)
            self._at = table[1]
            if self._progress is not None:
                self._progress(self._done, self._total)
        elif (warning := _WARNING.match(line)) is not None and not warning[1].startswith(_HARMLESS):
            self.warnings.append(warning[1])


async def dump_into(
    sink: Sink,
    dump: Sequence[str],
    check: Sequence[str],
    encrypt: Sequence[str],
    told: DumpTold,
    env: Mapping[str, str],
) -> None:
    """Run them to their end; `encrypt` may be empty. Raises BackupError."""
    async with AsyncExitStack() as stack:
        dumper = await stack.enter_async_context(_running(dump, env, DEVNULL, PIPE, told.line))
        checker = await stack.enter_async_context(_running(check, env, PIPE, DEVNULL))
        cipher = await stack.enter_async_context(_running(encrypt, env, PIPE, PIPE)) if encrypt else None
        draining = asyncio.create_task(_drain(cipher, sink)) if cipher else None
        try:
            await _pump(dumper, sink, checker, cipher)
        except (BrokenPipeError, ConnectionResetError):
            dumper.process.kill()  # one of the others has ended, and says why below
        except BaseException:
            if draining is not None:
                draining.cancel()
            raise
        if draining is not None:
            await draining
        programs = [program for program in (dumper, cipher, checker) if program is not None]
        faults = [fault for program in programs if (fault := await program.fault()) is not None]
        if faults:  # the first one's own; what we killed, and what then found its input cut short, isn't the cause
            raise BackupError(next((words for words, own in faults if own), faults[0][0]))


async def restore_from(file: Path, decrypt: Sequence[str], restore: Sequence[str], env: Mapping[str, str]) -> None:
    """`restore` reads the file, through `decrypt` unless that is empty. Raises BackupError."""
    async with AsyncExitStack() as stack:
        with file.open("rb") as source:
            if not decrypt:
                only = await stack.enter_async_context(_running(restore, env, source.fileno(), DEVNULL))
                if (fault := await only.fault()) is not None:
                    raise BackupError(fault[0])
                return
            reading, writing = os.pipe()
            try:
                first = await stack.enter_async_context(_running(decrypt, env, source.fileno(), writing))
                second = await stack.enter_async_context(_running(restore, env, reading, DEVNULL))
            finally:
                os.close(reading)
                os.close(writing)
        faults = [fault for program in (first, second) if (fault := await program.fault()) is not None]
        if faults:
            raise BackupError(next((words for words, own in faults if own), faults[0][0]))


class _Program:
    """A child, and the last of what it said on stderr."""

    def __init__(self, command: Sequence[str], process: Process, hear: Callable[[str], None] | None) -> None:
        self._name = Path(command[0]).name
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._fault = ""
        self.process = process
        self._listening = asyncio.create_task(self._listen(hear))

    async def fault(self) -> tuple[str, bool] | None:
        """Wait for it; when it failed, why, and whether that was its own fault: not a signal, not a lost reader."""
        await self._listening
        code = await self.process.wait()
        if not code:
            return None
        words = self._fault or "; ".join(list(self._said)[-3:]) or f"it ended with {code}"
        return f"{self._name} failed: {words}", code > 0 and not any("roken pipe" in line for line in self._said)

    async def gone(self) -> None:
        """End it, if it hasn't ended."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        self._listening.cancel()

    async def _listen(self, hear: Callable[[str], None] | None) -> None:
        assert self.process.stderr is not None
        while raw := await self.process.stderr.readline():
            line = raw.decode(errors="replace").strip()
            if hear is not None:
                hear(line)
            if line:
                self._said.append(line)
            if not self._fault and not _TABLE.match(line) and (fault := _FAULT.search(line)) is not None:
                self._fault = fault[1]


@asynccontextmanager
async def _running(
    command: Sequence[str],
    env: Mapping[str, str],
    stdin: int,
    stdout: int,
    hear: Callable[[str], None] | None = None,
) -> AsyncIterator[_Program]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=stdout, stderr=PIPE, env=env, limit=_CHUNK
    )
    program = _Program(command, process, hear)
    try:
        yield program
    finally:
        await program.gone()


async def _pump(source: _Program, sink: Sink, checker: _Program, cipher: _Program | None) -> None:
    assert source.process.stdout is not None
    inputs = [program.process.stdin for program in (checker, cipher) if program is not None and program.process.stdin]
    try:
        while chunk := await source.process.stdout.read(_CHUNK):
            if cipher is None:
                sink.write(chunk)
            for stdin in inputs:
                stdin.write(chunk)
                await stdin.drain()
    finally:
        for stdin in inputs:
            stdin.close()


async def _drain(cipher: _Program, sink: Sink) -> None:
    assert cipher.process.stdout is not None
    while chunk := await cipher.process.stdout.read(_CHUNK):
        sink.write(chunk)
