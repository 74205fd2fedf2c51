"""`traderd users`: people's accounts. A password comes from a prompt or from stdin, never from the command line."""

import asyncio
import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.operator import operated
from traderd.cli.options import config_argument, json_option, print_json, print_table
from traderd.core.errors import TraderdError

_ROLES = ("admin", "trader", "viewer")
_name = click.argument("username", metavar="NAME")
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")


@click.group()
def users() -> None:
    """Look after people's accounts and what is known about them."""


@users.command()
@_name
@config_argument
@click.option("--email", required=True, help="Two accounts can't share one.")
@click.option("--role", type=click.Choice(_ROLES), default="viewer", show_default=True, help="What the account may do.")
@_stdin
def add(username: str, config_path: Path | None, email: str, role: Any, password_stdin: bool) -> int:
    """Make an account; the first one must be an admin."""
    password = _password(password_stdin)

    async def added() -> None:
        from traderd.adapters.users import add_user, check_password  # noqa: PLC0415 - slow to load

        check_password(password)
        async with operated(config_path, "users add") as connection:
            await add_user(connection, username, email, role, password)

    asyncio.run(added())
    click.echo(f"added {username}, {role}")
    return ExitCode.OK


@users.command("list")
@config_argument
@json_option
def list_(config_path: Path | None, as_json: bool) -> int:
    """Show every account."""

    async def listed() -> list[Any]:
        from traderd.adapters.users import list_users  # noqa: PLC0415

        async with operated(config_path, "users list") as connection:
            return await list_users(connection)

    accounts = asyncio.run(listed())
    if as_json:
        print_json({"users": [structs.asdict(user) for user in accounts]})
    else:
        print_table(
            ["name", "e-mail", "role", "state", "made", "last log-in"],
            [
                [
                    user.username,
                    user.email,
                    user.role,
                    _state(user),
                    _moment(user.created_at),
                    _moment(user.last_login_at),
                ]
                for user in accounts
            ],
        )
    return ExitCode.OK


@users.command("set")
@_name
@config_argument
@click.option("--role", type=click.Choice(_ROLES), help="What the account may do from now on.")
@click.option("--active/--inactive", default=None, help="Whether the account may be used.")
@_stdin
def set_(username: str, config_path: Path | None, role: Any, active: bool | None, password_stdin: bool) -> int:
    """Change an account; a new password, or --active, also ends a lock-out."""
    if role is None and active is None and not password_stdin:
        raise click.UsageError("say what to change: --role, --active, --inactive or --password-stdin")
    password = _password(True) if password_stdin else None

    async def changed() -> None:
        from traderd.adapters.users import change_user  # noqa: PLC0415

        async with operated(config_path, "users set") as connection:
            await change_user(connection, username, role=role, active=active, password=password)

    asyncio.run(changed())
    click.echo(f"changed {username}")
    return ExitCode.OK


@users.command()
@_name
@config_argument
@click.option("--to", "target", type=click.Path(dir_okay=False, path_type=Path), help="A new file; default: stdout.")
def export(username: str, config_path: Path | None, target: Path | None) -> int:
    """Write everything that is known about a user as one JSON document."""

    try:
        asyncio.run(_exported(config_path, username, target))
    except OSError as fault:
        raise TraderdError(f"{target or 'stdout'} can't be written: {fault.strerror or fault}") from fault
    return ExitCode.OK


@users.command()
@_name
@config_argument
@click.option("--yes", is_flag=True, help="Needed: it can't be undone.")
@json_option
def erase(username: str, config_path: Path | None, yes: bool, as_json: bool) -> int:
    """Erase a user, but for what the law says to keep, which stays without the person's name."""
    if not yes:
        raise click.UsageError("this can't be undone: export what is known about the user, then say --yes")

    async def erased() -> dict[str, Any]:
        from traderd.adapters.users import erase_user  # noqa: PLC0415

        async with operated(config_path, "users erase", timeout_s=0) as connection:
            return await erase_user(connection, username)

    report = asyncio.run(erased())
    if as_json:
        print_json(report)
    else:
        rows = [[name, told["rule"], str(told["rows"]), told["why"]] for name, told in report["tables"].items()]
        print_table(["table", "what became of it", "rows", "why"], [row for row in rows if row[2] != "0"])
    return ExitCode.OK


async def _exported(config_path: Path | None, username: str, target: Path | None) -> None:
    """A file is there whole, or not at all, and for nobody else to read."""
    from traderd.adapters.users import export_user  # noqa: PLC0415
    from traderd.adapters.whole_files import Unfinished  # noqa: PLC0415

    with Unfinished(target) if target else nullcontext() as file:
        async with operated(config_path, "users export", timeout_s=0) as connection:
            async for piece in export_user(connection, username):
                (file or sys.stdout.buffer).write(piece)
        if file:
            file.sealed()
            file.finish()


def _password(from_stdin: bool) -> str:
    """Asked for twice where a person types it."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _state(user: Any) -> str:
    if user.erased_at is not None:
        return "erased"
    if not user.is_active:
        return "inactive"
    return f"locked until {_moment(user.locked_until)}" if user.locked_until else "active"


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else ""
