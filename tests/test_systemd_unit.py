"""The systemd unit: hardened, and in step with what the daemon does."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from traderd.cli import ExitCode

UNIT = Path(__file__).parents[1] / "systemd" / "traderd.service"


@pytest.fixture(scope="module")
def analyze() -> str:
    """systemd-analyze; installed where CI runs as root on Debian and it is missing."""
    program = shutil.which("systemd-analyze")
    if program is None and os.environ.get("CI") == "true" and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "systemd"], check=True, env=environment
        )
        program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return program


def _service() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser["Service"])


def test_the_unit_is_hardened_to_a_score_of_one_and_a_half_or_better(analyze: str) -> None:
    """systemd's own measure, 0 to 10, less is better; offline it judges the file alone."""
    command = [analyze, "security", "--offline=true", "--no-pager", str(UNIT)]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    score = re.search(r"Overall exposure level for traderd\.service: ([0-9.]+)", seen)
    assert score is not None, seen
    assert float(score[1]) <= 1.5, seen


def test_systemd_finds_no_fault_in_the_unit(analyze: str, tmp_path: Path) -> None:
    """No unknown key, no value that systemd would ignore. The program itself is put where this machine has one."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    done = subprocess.run([analyze, "verify", "--man=no", str(copy)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_waits_for_ready_and_is_watched() -> None:
    """READY and WATCHDOG come from the daemon itself; a stop has longer than the 20 s that draining may take."""
    service = _service()
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert int(service["WatchdogSec"]) >= 10
    assert int(service["TimeoutStopSec"]) > 20


def test_an_unusable_configuration_is_not_started_again() -> None:
    """Everything else that fails is; the exit codes are those of the command."""
    service = _service()
    assert service["Restart"] == "on-failure"
    assert set(service["RestartPreventExitStatus"].split()) == {str(int(ExitCode.USAGE)), str(int(ExitCode.REFUSED))}


def test_secrets_come_as_credentials_and_not_in_the_environment() -> None:
    """`credential:database` and `credential:redis` in the configuration name these."""
    text = UNIT.read_text()
    assert re.findall(r"^LoadCredential=(\w+):", text, flags=re.MULTILINE) == ["database", "redis"]
    assert not re.search(r"^Environment=.*(?:DSN|PASSWORD|DATABASE|REDIS)", text, flags=re.MULTILINE)
