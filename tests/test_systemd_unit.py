"""The systemd units: hardened, and in step with what the commands do."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from traderd.cli import ExitCode, execute

FOLDER = Path(__file__).parents[1] / "systemd"
UNIT = FOLDER / "traderd.service"
SERVICES = sorted(FOLDER.glob("*.service"))
TIMERS = sorted(FOLDER.glob("*.timer"))


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


def _section(name: str, unit: Path = UNIT) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser[name])


def _service() -> dict[str, str]:
    return _section("Service")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_hardened_to_a_score_of_one_and_a_half_or_better(analyze: str, unit: Path) -> None:
    """systemd's own measure, 0 to 10, less is better; offline it judges the file alone."""
    command = [analyze, "security", "--offline=true", "--no-pager", str(unit)]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    score = re.search(r"Overall exposure level for traderd\S*\.service: ([0-9.]+)", seen)
    assert score is not None, seen
    assert float(score[1]) <= 1.5, seen


def test_systemd_finds_no_fault_in_the_units(analyze: str, tmp_path: Path) -> None:
    """No unknown key, no value that systemd would ignore. The program itself is put where this machine has one."""
    for unit in (*SERVICES, *TIMERS):
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    copies = [str(tmp_path / unit.name) for unit in (*SERVICES, *TIMERS)]
    done = subprocess.run([analyze, "verify", "--man=no", *copies], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_of_several_is_run_as_the_one_that_is_alone() -> None:
    """Under another user, on other folders and another configuration, and with nothing else different."""
    alone, several = (
        [line for line in (FOLDER / name).read_text().splitlines() if line and not line.startswith("#")]
        for name in ("traderd.service", "traderd@.service")
    )
    named = {
        line.replace("daemon", "daemon %i")
        .replace("/config.yaml", "/%i.yaml")
        .replace("/lib/traderd", "/lib/traderd-%i")
        .replace("StateDirectory=traderd", "StateDirectory=traderd-%i")
        for line in alone
    }
    assert set(several) == named


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


def test_a_backup_is_taken_at_two_and_maintenance_is_done_hourly() -> None:
    """Each timer has its service, spreads its start, and makes up for what was missed."""
    timers = {unit.stem: _section("Timer", unit) for unit in TIMERS}
    assert {name: timer["OnCalendar"] for name, timer in timers.items()} == {
        "traderd-backup": "*-*-* 02:00:00 UTC",
        "traderd-maintenance": "*-*-* *:20:00 UTC",
    }
    for name, timer in timers.items():
        assert (FOLDER / f"{name}.service").exists()
        assert timer["Persistent"] == "yes"
        assert "RandomizedDelaySec" in timer
        assert _section("Install", FOLDER / f"{name}.timer")["WantedBy"] == "timers.target"
        assert _section("Service", FOLDER / f"{name}.service")["Type"] == "oneshot"


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_runs_a_command_that_there_is(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the installed configuration, whose credentials it is passed."""
    program, *words = _section("Service", unit)["ExecStart"].split()
    assert program == "/opt/traderd/bin/traderd"
    assert words.pop() == ("/etc/traderd/%i.yaml" if unit.stem.endswith("@") else "/etc/traderd/config.yaml")
    assert execute([*words, "--help"]) == 0
    assert "[CONFIG]" in capsys.readouterr().out
    assert re.findall(r"^LoadCredential=(\w+):", unit.read_text(), flags=re.MULTILINE) == ["database", "redis"]


def test_the_backups_are_out_of_the_daemons_reach() -> None:
    """Another user, another folder, another login."""
    backup = _section("Service", FOLDER / "traderd-backup.service")
    assert backup["User"] == backup["StateDirectory"] == "traderd-backup"
    assert "LoadCredential=database:/etc/traderd/backup.dsn" in (FOLDER / "traderd-backup.service").read_text()
    assert _service()["StateDirectory"] == "traderd"
