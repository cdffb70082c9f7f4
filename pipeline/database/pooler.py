"""Connections through a pooler: refused if it pools transactions, cleaned up if it pools sessions.

A pooler in transaction mode gives each transaction to any free server process. Settings, prepared
statements and advisory locks then reach the sessions of others. A pooler in session mode gives us a
server process of our own, which the next client gets as we leave it.

Two transactions of one connection prove nothing, because they mostly get the same server process.
"""

import atexit
import select
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psycopg
from psycopg import pq

from pipeline.errors import SettingError

ROUNDS = 5
PATIENCE = 3.0  # seconds for a pool of which all server processes are in use
_PROCESS = b"select pg_catalog.pg_backend_pid()"


class Session(psycopg.Connection):
    """A connection through a pooler in session mode: it is left as it was found."""

    def close(self) -> None:
        """Discard settings, locks, temporary tables and statements, and close."""
        if not self.closed and self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                self.rollback()
                self.execute("discard all", prepare=False)
        super().close()


def connect(address: str, setting: str, **options: Any) -> psycopg.Connection:
    """A connection of psycopg that leaves nothing behind for other clients of a pooler.

    setting: the name of the setting with the address. options: psycopg's; autocommit is required.

    Raises SettingError when a pooler gives each transaction to another server process, and what
    psycopg raises.
    """
    connection = psycopg.connect(address, **options)
    try:
        if _ask(connection, _PROCESS) == str(connection.pgconn.backend_pid):
            return connection  # there is no pooler
        if pools_transactions(connection, lambda: psycopg.connect(address, **options)):
            raise SettingError(
                f"{setting} leads to a pooler that gives each transaction to another session "
                "(transaction mode); nothing was changed there",
                "let it lead to PostgreSQL itself: the direct port, often 5432",
            )
    except BaseException:
        connection.close()
        raise
    connection.close()
    session = Session.connect(address, prepare_threshold=None, **options)
    _open.add(session)
    return session


def pools_transactions(
    connection: psycopg.Connection, another: Callable[[], psycopg.Connection]
) -> bool:
    """Whether a pooler pools transactions.

    Then two connections get the same server process, or one gets another one while the other
    connection holds a transaction.

    another: opens a connection to the same address; both must be in autocommit.
    """
    for _ in range(ROUNDS):
        try:
            other = another()
        except psycopg.OperationalError:
            return False  # no second client is accepted
        with closing(other):
            if _share_processes(connection, other):
                return True
    return False


def _share_processes(connection: psycopg.Connection, other: psycopg.Connection) -> bool:
    first, second = _ask(connection, _PROCESS), _ask(other, _PROCESS)
    if first is None or second is None:
        return False  # all processes are in use
    if first == second or _ask(other, b"begin") is None:  # None: each statement is pooled
        return True
    third, fourth = _ask(connection, _PROCESS), _ask(other, _PROCESS)
    _ask(other, b"rollback")
    return third not in (first, None) or fourth not in (second, None)


def _ask(connection: psycopg.Connection, statement: bytes) -> str | None:
    """The value of a statement, sent without parameters or preparation.

    None if it fails, or takes longer than PATIENCE.
    """
    pgconn, deadline = connection.pgconn, time.monotonic() + PATIENCE
    pgconn.send_query(statement)
    pgconn.flush()
    value = None
    while True:
        wait = max(0.0, deadline - time.monotonic())
        if pgconn.is_busy() and not select.select([pgconn.socket], [], [], wait)[0]:
            return None
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                return value
            if result.status == pq.ExecStatus.TUPLES_OK:
                value = (result.get_value(0, 0) or b"").decode()
            elif result.status == pq.ExecStatus.COMMAND_OK:
                value = ""


_open: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what is still open when the process ends, so that it is cleaned up too."""
    for session in list(_open):
        session.close()
