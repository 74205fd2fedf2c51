"""What a session of ours is: to which of the DSN's hosts, with which settings, as which role and for which user.

Behind a pooler (PgBouncer and its like) a session isn't ours to keep: there the same is said at the beginning of each
transaction, for that transaction alone. Refuses a server that only reads, where rows are to be written.
"""

import asyncpg
from msgspec import Struct

_BEGIN = """
    DO $$
    DECLARE
        local boolean := current_setting('traderd.local')::boolean;
        acts  uuid;
    BEGIN
        IF NOT local AND pg_backend_pid()::text <> current_setting('traderd.backend') THEN
            RAISE EXCEPTION 'a pooler' USING ERRCODE = 'TRDP0';
        END IF;
        IF current_setting('traderd.writes') = 'on' AND current_setting('transaction_read_only') = 'on' THEN
            RAISE EXCEPTION 'this server is read-only%', CASE WHEN pg_is_in_recovery() THEN ': a standby' END
                USING ERRCODE = 'read_only_sql_transaction';
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('traderd.role')
                   AND pg_has_role(current_user, oid, CASE WHEN current_setting('server_version_num')::integer >= 160000
                                                      THEN 'SET' ELSE 'MEMBER' END)) THEN
            PERFORM set_config('role', current_setting('traderd.role'), local);
        END IF;
        IF current_setting('traderd.acts_as') <> '' AND to_regproc('act_as') IS NOT NULL THEN
            BEGIN
                acts := act_as(current_setting('traderd.acts_as'));
                -- It has said so for the session. Where that isn't ours, it is taken back and said for the transaction.
                IF local THEN
                    RAISE EXCEPTION 'taken back' USING ERRCODE = 'TRDP1';
                END IF;
            EXCEPTION WHEN SQLSTATE 'TRDP1' THEN
                PERFORM set_config('app.current_user_id', acts::text, true);
            END;
        END IF;
    END $$"""
"""The names come as settings, so that one round trip does all, and nothing is quoted twice."""
POOLED_SQLSTATE = "TRDP0"


class Session(Struct, frozen=True):
    """What is asked of a connection."""

    name: str
    timeout_s: float
    """No statement lasts longer; 0: without a limit."""
    role: str | None
    acts_as: str | None
    writes: bool
    """A server that only reads won't do."""
    instance: str = ""
    """Of the daemons on this database, which it belongs to."""

    def settings(self) -> dict[str, str]:
        """Those that a server takes at the start of a session; a pooler takes but the first."""
        return {
            "application_name": self.name,
            "jit": "off",  # not in a transaction: asyncpg would put it back for the session
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        } | self._of_a_transaction()

    def opening(self, backend: int) -> str:
        """Said once, when a session begins; fails with POOLED_SQLSTATE where `backend` isn't who answers."""
        if not self.writes and self.role is None and self.acts_as is None:
            return f"DO $$ BEGIN IF pg_backend_pid() <> {backend} THEN" + (
                f" RAISE EXCEPTION 'a pooler' USING ERRCODE = '{POOLED_SQLSTATE}'; END IF; END $$"
            )
        return self._say({"traderd.backend": str(backend), "traderd.local": "off"}, local=False) + _BEGIN

    def preamble(self) -> str:
        """Said at the beginning of each transaction through a pooler; all of it ends with the transaction."""
        return self._say(self._of_a_transaction() | {"traderd.local": "on"}, local=True) + _BEGIN

    def _of_a_transaction(self) -> dict[str, str]:
        return {
            "timezone": "UTC",
            "statement_timeout": str(int(self.timeout_s * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "traderd.role": self.role or "",
            "traderd.acts_as": self.acts_as or "",
            "traderd.instance": self.instance,
            "traderd.writes": "on" if self.writes else "off",
        }

    @staticmethod
    def _say(settings: dict[str, str], local: bool) -> str:
        calls = (f"set_config({_quoted(name)}, {_quoted(value)}, {local})" for name, value in settings.items())
        return f"SELECT {', '.join(calls)};"


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """One through a pooler, which may carry each transaction to another server session."""


def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether it is a PooledConnection; asyncpg's own isinstance() takes every connection for every class of them."""
    return PooledConnection in type(connection).__mro__


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
