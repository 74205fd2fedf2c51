"""The `traderd` command: its groups and commands, and how each of them ends.

Each module of this package exports commands or a group of them; they are put in their places here, by name.
A fault that has a name is one line on stderr and an exit code; a mistake of our own is a traceback.
"""

import sys

import click

from traderd import __version__
from traderd.cli.audit import audit
from traderd.cli.backup import archive, backup, restore, unarchive
from traderd.cli.catalogue import index_usage, size, slow_queries
from traderd.cli.codes import MEANING, ExitCode, exit_code, leaves, lines
from traderd.cli.commands import check, doctor, replay, run, sim, status
from traderd.cli.db import current, db, downgrade, history, migrate
from traderd.cli.gaps import gaps
from traderd.cli.journal import journal
from traderd.cli.maintain import maintain
from traderd.cli.options import Duration
from traderd.cli.users import users
from traderd.core.errors import TraderdError

__all__ = ["Duration", "ExitCode", "execute", "exit_code", "main"]

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in MEANING.items())


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def traderd() -> None:
    """A real-time streaming trading daemon.

    CONFIG is the configuration file; without it ./config.yaml is taken, and without that the installed default.
    """


for command in (run, sim, migrate, check, doctor, status, replay, gaps, journal, db, users, audit):
    traderd.add_command(command)
db.add_command(migrate, "upgrade")
for command in (downgrade, current, history, size, index_usage, slow_queries, maintain):
    db.add_command(command)
for command in (backup, restore, archive, unarchive):
    db.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return int(traderd.main(args=arguments, prog_name="traderd", standalone_mode=False) or 0)
    except click.ClickException as fault:
        fault.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except (TraderdError, ExceptionGroup) as fault:
        faults = list(leaves(fault))
        named = [leaf for leaf in faults if isinstance(leaf, TraderdError)]
        if len(named) < len(faults):
            raise
        for line in dict.fromkeys(line for leaf in named for line in lines(leaf)):
            click.echo(line, err=True)
        return exit_code(named[0])
