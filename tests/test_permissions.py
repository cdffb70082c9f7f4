"""The permissions of prod: set on every kind of server, and only on what is ours."""

import dataclasses
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import servers
from patience import Stopwatch
from public_database import TABLES, Public, embedded, managed

from pipeline import database, errors
from pipeline import embedded as postgres
from pipeline.cli import prod as commands
from pipeline.embedded import layout
from pipeline.errors import SetupError
from pipeline.prod import audit, login, permissions
from pipeline.prod import connection as prod_module

PASSWORD = "Größe: 'ﬁve' \"p%40ss\" \\words"  # with a ligature, which SASLprep takes apart


@pytest.fixture(scope="module")
def prod(server_settings, open_folder: Path) -> Iterator[Public]:
    with embedded(server_settings, open_folder / "permitted") as made:
        made.admin.execute("create role colleague login password 'colleague'")
        made.admin.execute("alter system set log_statement = 'all'")
        made.admin.execute("alter system set log_connections = on")
        made.admin.execute("select pg_reload_conf()")
        made.rights = made.replicate()
        yield made


def test_everything_is_within_our_rights_on_the_embedded_server(prod):
    assert prod.rights == permissions.Rights(owner="prod_owner", beyond=[])


def test_the_application_reads_by_name_and_cannot_write(prod):
    with prod.log_in() as app:
        assert app.execute("select * from counties").fetchall() == [("01001",)]
        assert app.execute("select count(*) from data_status").fetchone() == (1,)
        app.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("insert into counties values ('01003')")
        ((limit,),) = app.execute("show statement_timeout").fetchall()
    assert limit == "5s"


def test_a_slow_query_is_cut_after_its_time(prod):
    with prod.log_in() as app:
        began, watch = time.monotonic(), Stopwatch()
        with pytest.raises(psycopg.errors.QueryCanceled):
            app.execute("select pg_sleep(600)")
        assert time.monotonic() - began > 4.5
        assert watch.seconds() < 10


def test_the_connection_beyond_the_limit_is_refused(prod):
    held = [prod.log_in() for _ in range(20)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            prod.log_in()
    finally:
        for connection in held:
            connection.close()


def test_a_temporary_file_cannot_fill_the_disk(prod):
    with prod.log_in() as app:
        app.execute("set work_mem = '64kB'")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            app.execute(
                "select count(*) from (select repeat(md5(i::text), 20) as long"
                " from generate_series(1, 1000000) as i order by 1) as sorted"
            )


def test_a_second_application_of_the_permissions_changes_no_grant(prod):
    query = """select (select array_agg(datacl::text order by oid) from pg_database),
        (select array_agg(relacl::text order by oid) from pg_class),
        (select array_agg(proacl::text order by oid) from pg_proc),
        (select array_agg(nspacl::text order by oid) from pg_namespace),
        (select array_agg(m::text order by oid) from pg_auth_members as m),
        (select array_agg(rolname || coalesce(rolpassword, '-') order by oid) from pg_authid),
        (select array_agg(s::text order by s::text) from pg_db_role_setting as s),
        (select array_agg(defaclacl::text order by oid) from pg_default_acl)"""
    before = prod.admin.execute(query).fetchone()
    prod.replicate()
    assert prod.admin.execute(query).fetchone() == before


def test_logins_of_others_may_still_enter_dev_and_not_prod(prod):
    words = {"user": "colleague", "password": "colleague"}
    prod.log_in(dbname="dev", **words).close()
    for refused in ({"dbname": "prod", **words}, {"dbname": "dev"}, {"dbname": "postgres"}):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            prod.log_in(**refused)


def test_a_table_made_later_can_be_read_and_a_schema_that_was_others_is_taken_over(prod):
    prod.connection.execute("alter schema transformed rename to old")
    prod.connection.execute(TABLES)  # by the superuser, as nobody should
    rights = prod.replicate()
    assert rights.owner == "prod_owner"
    with prod.log_in() as app:
        assert app.execute("select * from counties").fetchall() == [("01001",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("select * from old.counties")
    prod.admin.execute("drop schema old cascade")
    with prod.connection.transaction():
        prod.connection.execute("set local role prod_owner")
        prod.connection.execute("create table transformed.airports (airport_id text)")
    with prod.log_in() as app:
        assert app.execute("select * from airports").fetchall() == []


def test_a_reader_who_holds_a_table_does_not_stop_the_night(prod):
    prod.admin.execute("alter table transformed.counties owner to postgres")
    with prod.log_in() as app, app.transaction():
        app.execute("select * from counties")
        watch = Stopwatch()
        rights = prod.replicate()
        assert watch.seconds() < 9
    assert any("give the schema and all its objects" in text for text in rights.beyond)
    assert prod.replicate().beyond == []


def test_a_change_that_fails_later_in_the_replication_takes_the_permissions_back(prod):
    prod.admin.execute("revoke select on transformed.counties from prod_read")
    with pytest.raises(ZeroDivisionError), prod.connection.transaction():
        permissions.apply(prod.connection, prod.here, prod.rights)
        raise ZeroDivisionError
    assert "transformed.counties" not in readable(prod)
    prod.replicate()
    assert "transformed.counties" in readable(prod)


def readable(prod: Public) -> set[str]:
    query = """select oid::regclass::text from pg_class
        where relkind = 'r' and has_table_privilege('prod_read', oid, 'select')"""
    return {row[0] for row in prod.admin.execute(query)}


def test_the_password_is_made_once_and_kept_closed(prod):
    made, scram = login.password_files(prod.here)
    password, kept = made.read_text(), scram.read_text()
    assert len(password.strip()) >= 32
    assert [file.stat().st_mode & 0o777 for file in (made, scram)] == [0o600, 0o600]
    assert {file.name for file in prod.here.state.iterdir()} == {made.name, scram.name}
    prod.replicate()
    assert (made.read_text(), scram.read_text()) == (password, kept)


def test_a_deleted_password_is_made_anew_and_the_old_one_is_worthless(prod):
    old = login.password(prod.here)
    login.password_files(prod.here)[0].unlink()
    prod.replicate()
    assert login.password(prod.here) != old
    prod.log_in().close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        prod.log_in(password=old)


def test_a_password_by_setting_with_every_kind_of_character_logs_in(prod):
    here = dataclasses.replace(prod.here, app_password=PASSWORD)
    permissions.prepare(prod.connection, here)
    scram = login.password_files(here)[1].read_text()
    prod.log_in(password=PASSWORD).close()
    permissions.prepare(prod.connection, here)
    assert login.password_files(here)[1].read_text() == scram
    prod.replicate()
    prod.log_in().close()


@pytest.mark.parametrize("kept", ["", "half", "SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"])
def test_a_damaged_verifier_is_made_anew(prod, kept):
    login.password_files(prod.here)[1].write_text(kept)
    prod.replicate()
    prod.log_in().close()


def test_the_password_is_nowhere(prod, capfd, monkeypatch):
    here = dataclasses.replace(prod.here, app_password=PASSWORD)
    monkeypatch.setenv("APP_PASSWORD", PASSWORD)
    seen: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        with psycopg.connect(prod.url, autocommit=True) as watcher:
            while not ended.is_set():
                rows = watcher.execute("select query from pg_stat_activity").fetchall()
                seen.extend(row[0] or "" for row in rows)
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        seen.append(path.read_bytes().decode("utf-8", "replace"))
                    except OSError:
                        continue  # it ended

    watching = threading.Thread(target=watch)
    watching.start()
    rights = permissions.prepare(prod.connection, here)
    permissions.apply(prod.connection, here, rights)
    commands.show_checks(audit.run(here, prod.connection))
    ended.set()
    watching.join()
    said = capfd.readouterr()
    log = layout.find(prod.here).log.read_text()
    assert "alter role" in log and "SCRAM-SHA-256$" in log
    files = [path for path in here.state.rglob("*") if path.is_file()]
    texts = [log, said.out, said.err, repr(here), repr(rights), *seen]
    texts += [path.read_text() for path in files if path.name != "app_password"]
    generated = login.password_files(here)[0].read_text().strip()
    for secret in (PASSWORD, PASSWORD.replace("'", "''"), "p%40ss", generated):
        assert [text[:200] for text in texts if secret in text] == []
    prod.replicate()


def test_the_application_may_not_be_the_replicator(shared):
    here = dataclasses.replace(shared.here, app_role="postgres")
    with pytest.raises(SetupError, match="APP_ROLE=postgres is the role that replicates"):
        permissions.prepare(shared.connection, here)


def test_a_superuser_of_the_applications_name_is_not_disarmed_unasked(prod):
    prod.admin.execute("create role dba superuser login")
    prod.replicate()
    here = dataclasses.replace(prod.here, app_role="dba")
    permissions.prepare(prod.connection, here)
    assert prod.admin.execute("select rolsuper from pg_roles where rolname = 'dba'").fetchone()[0]
    assert [c for c in audit.run(here, prod.connection) if c.result == audit.Result.FAIL]
    prod.admin.execute("drop owned by dba; drop role dba")
    prod.replicate()


def test_every_name_of_the_statements_is_known(prod):
    known = permissions.parameters(prod.connection, prod.here) | {"process": "1"}
    for file in (permissions.ROOT / "publish").glob("*.sql"):
        used = re.findall(r""":(["'])(\w+)\1""", file.read_text())
        assert {name for _, name in used} <= known.keys(), file.name
        assert all(what for what, _, _ in permissions.statements(file)), file.name


def test_the_command_for_administrators_gives_every_name():
    text = permissions.STATEMENTS.read_text()
    given = set(re.findall(r"-v (\w+)=", text))
    assert given == {name for _, name in re.findall(r""":(["'])(\w+)\1""", text)}


def test_names_that_must_be_quoted_are():
    known = {"role": 'odd "name"; drop', "text": "it's"}
    statement = "grant :\"role\" where x = :'text' and y::text = :'role'"
    expected = 'grant "odd ""name""; drop" where x = \'it\'\'s\' and y::text = \'odd "name"; drop\''
    assert permissions.fill(statement, known) == expected


@pytest.mark.parametrize("attributes", ["superuser", "createrole", ""])
@pytest.mark.parametrize("version", ["18", "15"])
def test_on_a_server_of_others_nothing_but_prod_is_changed(
    request, server_settings, tmp_path, attributes, version
):
    admin_url = request.getfixturevalue("debian_url" if version == "15" else "others_url")
    outside = """select
        (select array_agg(datname || coalesce(datacl::text, '-') order by oid)
            from pg_database where datname !~ '^shared'),
        (select array_agg(rolname || coalesce(rolpassword, '-') || rolsuper order by oid)
            from pg_authid where rolname !~ 'shared|^prod_')"""
    name = f"shared_{attributes or 'nobody'}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        before = admin.execute(outside).fetchone()
        with managed(server_settings, tmp_path, admin_url, name, attributes) as prod:
            rights = prod.replicate()
            assert admin.execute(outside).fetchone() == before
            assert bool(rights.beyond) == (attributes != "superuser"), rights
            if attributes:
                assert rights.owner == "prod_owner"
                with prod.log_in() as app:
                    assert app.execute("select * from counties").fetchall() == [("01001",)]
                    app.execute("set default_transaction_read_only = off")
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        app.execute("create table transformed.x ()")
            else:
                assert rights.owner is None
                assert "could not create the roles" in rights.beyond[0]
            assert prod.audit(audit.Result.FAIL) == {}


@pytest.fixture(scope="module")
def others_url(server_settings, open_folder: Path) -> Iterator[str]:
    """A superuser's URL, with a password, on PostgreSQL 18: as a managed server would have it."""
    here = dataclasses.replace(server_settings, data_dir=open_folder / "others")
    here.data_dir.mkdir()
    url = postgres.ensure_running(here, lambda text: None)
    words = urlsplit(url).query
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            psycopg.sql.SQL("create role admin superuser login password {}").format(
                servers.PASSWORD
            )
        )
    yield f"postgresql://admin:{quote(servers.PASSWORD, safe='')}@/postgres?{words}"
    postgres.stop(here)


def test_an_administrator_lends_the_rights_by_psql(server_settings, tmp_path, debian_url):
    """publish/permissions.sql, run unchanged by psql: afterwards the night can do the rest."""
    with managed(server_settings, tmp_path, debian_url, "lent", "") as prod:
        assert prod.replicate().owner is None
        prod.admin.execute(
            f"create role {prod.here.app_role} login password '{login.make_password(prod.here)}'"
        )
        words = permissions.parameters(prod.connection, prod.here)
        info = prod.admin.info
        admin = {"host": info.host, "port": str(info.port), "dbname": "lent", "user": info.user}
        done = subprocess.run(
            [postgres.binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
            + [word for name, value in words.items() for word in ("-v", f"{name}={value}")]
            + ["-f", str(permissions.STATEMENTS)],
            env=os.environ | database.environment(admin | {"password": info.password}),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        with database.connect_to(prod.url, "PROD_DATABASE_URL") as connection:
            assert permissions.prepare(connection, prod.here).owner == "prod_owner"
        prod.replicate()
        with prod.log_in() as app:
            assert app.execute("select * from counties").fetchall() == [("01001",)]
        assert prod.audit(audit.Result.FAIL) == {}
        unknown = prod.audit(audit.Result.NOT_CHECKED)
        assert not [what for what in unknown if "large objects" in what or "DO block" in what]


# Piece by piece, on the server that all tests share


@pytest.fixture
def shared(server_settings, database_url, tmp_path) -> Iterator[Public]:
    """A separate database on the tests' server, as PROD_DATABASE_URL would name it."""
    here = dataclasses.replace(
        server_settings, data_dir=tmp_path, prod_database_url=database_url, app_role="app_of_shared"
    )
    public = Public(here, database_url, database_url)
    yield public
    public.connection.execute("reset role")
    roles = "select quote_ident(rolname) from pg_roles where oid >= 16384 order by oid desc"
    for (role,) in public.admin.execute(roles).fetchall():
        public.admin.execute(f"drop owned by {role} cascade")
        public.admin.execute(f"drop role {role}")
    public.close()


def attempt(prod: Public, statement: str, rights: permissions.Rights | None = None):
    """The result of one statement, and the messages about it."""
    rights = rights or permissions.Rights()
    with prod.connection.transaction():
        rows = permissions._try(prod.connection, rights, "do it", statement)
        assert prod.connection.execute("select 1").fetchone() == (1,), "a savepoint was rolled back"
    return rows, rights.beyond


def raising(level: str, code: str) -> str:
    return f"do $$ begin raise {level} 'told' using errcode = '{code}'; end $$"


def test_a_statement_within_our_rights_gives_its_rows(shared):
    assert attempt(shared, "select 1, 'a' union select 2, 'b' order by 1") == (
        [(1, "a"), (2, "b")],
        [],
    )
    assert attempt(shared, "create table public.x ()") == ([], [])
    assert attempt(shared, raising("warning", "01000")) == ([], [])


@pytest.mark.parametrize(
    ("level", "code"),
    [
        ("exception", "42501"),
        ("exception", "42704"),
        ("exception", "3D000"),
        ("exception", "55P03"),
        ("warning", "01006"),
        ("warning", "01007"),
    ],
)
def test_a_statement_beyond_our_rights_is_noted_once(shared, level, code):
    rights = permissions.Rights(beyond=["could not do that: told"])
    for _ in range(2):
        found, beyond = attempt(shared, raising(level, code), rights)
        assert found is None
        assert beyond == ["could not do that: told", "could not do it: told"]


def test_an_error_that_is_not_of_the_server_is_noted_too(shared, monkeypatch):
    def fail(statement: str):
        raise psycopg.errors.LockNotAvailable("of nobody")

    rights = permissions.Rights()
    with monkeypatch.context() as patched:
        patched.setattr(shared.connection, "execute", fail)
        assert permissions._try(shared.connection, rights, "do it", "select 1") is None
    assert rights.beyond == ["could not do it: of nobody"]


def test_another_error_is_not_taken_for_missing_rights(shared):
    with pytest.raises(psycopg.errors.DivisionByZero):
        attempt(shared, "select 1 / 0")


def test_warnings_are_listened_to_while_a_statement_runs_and_no_longer(shared, monkeypatch):
    listening = []
    monkeypatch.setattr(shared.connection, "add_notice_handler", listening.append)
    monkeypatch.setattr(shared.connection, "remove_notice_handler", listening.remove)
    attempt(shared, "select 1")
    attempt(shared, raising("exception", "42501"))
    assert listening == []


def test_the_statements_of_a_file_and_what_they_are_for(tmp_path):
    (tmp_path / "file.sql").write_text(
        "select 0;\n\n-- Who may; do what\n-- in prod.\n\n"
        "-- make it\n-- (with care)\ncreate role x;\n"
        "alter role x\n    nologin;\n\n-- let it\nselect 'a;b'\nfrom y; \n\\gexec\n"
        "select 'grant';\n\ndrop role x;\n\n-- go\nselect 1\n\\gexec\n"
    )
    assert list(permissions.statements(tmp_path / "file.sql")) == [
        ("", "select 0", False),
        ("make it", "create role x", False),
        ("make it", "alter role x\n    nologin", False),
        ("let it", "select 'a;b'\nfrom y", True),
        ("let it", "select 'grant'", False),
        ("let it", "drop role x", False),
        ("go", "select 1", True),
    ]


PIECES = {
    "code": [
        "select 1", "select 'a;b'", "select 'it''s; \n\n-- no comment'", "select \"a;b\"",
        "do $$begin; -- kept\nend;$$", "do $x$ ;$$; $x$", "select E'\\';'", "select 2\nfrom y",
        "select :'app', :\"app\"", "select 1 -\n1",
    ],
    "comment": [
        "-- it ends in a semicolon;", "-- two; of; them;", "-- a quote's; beginning \" $$",
        "-- \\gexec", "--", "--;", "/* a; 'block\n\n; */",
    ],
    "end": [";", "; ", ";;", "\n;", "\n\\gexec", "\n\\gexec ", ";\n\\gexec", "; -- trailing;"],
}  # fmt: skip


def test_random_statements_are_divided_where_psql_divides_them(tmp_path, is_long):
    chance, file = random.Random(17), tmp_path / "file.sql"
    for number in range(3_000 if is_long else 300):
        text, wanted = "-- About the file; not\n-- a statement.\n\n", []
        for _ in range(chance.randint(1, 6)):
            code, end = chance.choice(PIECES["code"]), chance.choice(PIECES["end"])
            above = chance.choices(PIECES["comment"], k=chance.randint(0, 3))
            within = chance.choice(["", *(f" {one}\n" for one in PIECES["comment"])])
            text += "\n".join([f"-- what {number};", *above, f"{code}{within}{end}\n"])
            text += chance.choice(["", "\n", "\n\n"])
            wanted.append((f"what {number};", code, "gexec" in end))
        file.write_text(text)
        assert list(permissions.statements(file)) == wanted, text


@pytest.mark.parametrize("is_others", [False, True])
@pytest.mark.parametrize(
    ("prod_url", "dev_url", "embedded"), [("x", "", "off"), ("", "x", "off"), ("", "", "on")]
)
def test_what_the_statements_know(shared, prod_url, dev_url, embedded, is_others):
    if is_others:
        shared.admin.execute("create table public.theirs ()")
    here = dataclasses.replace(shared.here, prod_database_url=prod_url, database_url=dev_url)
    known = {
        "owner": "prod_owner",
        "creator": "prod_owner",
        "reader": "prod_read",
        "app": "app_of_shared",
        "replicator": "postgres",
        "manages": "on",
        "mark": "Made by the open-data pipeline",
        "dedicated": "off" if is_others else "on",
        "embedded": embedded,
    }
    assert permissions.parameters(shared.connection, here) == known
    shared.admin.execute("create role weak nologin")
    shared.connection.execute("set role weak")
    told = permissions.parameters(shared.connection, here, "creator", "mark")
    assert told == known | {"manages": "off", "creator": "creator", "mark": "mark"}


def test_who_manages_a_role(shared):
    """Who created it, or has it with the admin option; who may create it, if it does not exist."""
    shared.admin.execute("create role boss createrole; create role other createrole")
    shared.admin.execute("create role weak; create role theirs; create role lent")
    shared.admin.execute("grant lent to weak with admin option; grant lent to other")
    managed = lambda role: permissions.manages(shared.connection, role)  # noqa: E731
    assert managed("theirs")
    assert managed("no_such_role")
    for role, expected in (
        ("boss", {"no_such_role": True, "theirs": False, "lent": False}),
        ("other", {"no_such_role": True, "theirs": False, "lent": False}),
        ("weak", {"no_such_role": False, "theirs": False, "lent": False}),
    ):
        shared.connection.execute(f"set role {role}")
        assert {name: managed(name) for name in expected} == expected, role
    shared.connection.execute("set role boss")
    shared.connection.execute("create role own")
    assert managed("own")
    assert not managed("theirs")


def test_who_can_make_objects_as_the_owner(shared):
    """A member that may set its role, if that may create in the database and owns the schema."""
    admin, can_own = shared.admin, lambda: permissions._can_own(shared.connection)
    assert can_own() is False
    admin.execute("create role prod_owner; create role weak; create role member")
    assert can_own() is False
    admin.execute(f"grant create on database {admin.info.dbname} to prod_owner")
    assert can_own() is True
    admin.execute("create schema transformed")
    assert can_own() is False
    admin.execute("alter schema transformed owner to prod_owner; create schema another")
    assert can_own() is True
    admin.execute("grant prod_owner to weak with set false; grant prod_owner to member")
    shared.connection.execute("set role weak")
    assert can_own() is False
    shared.connection.execute("set role member")
    assert can_own() is True


def test_what_was_done_is_in_force_and_what_was_revoked_is_listed(shared):
    rights = permissions.prepare(shared.connection, shared.here, "7")
    name = shared.admin.info.dbname
    assert rights.revoked
    assert rights == permissions.Rights(owner="prod_owner", mark=rights.mark)
    assert rights.mark == f"{permissions.MADE} (dev 7)"
    assert f"revoke CONNECT on database {name} from public cascade" in rights.revoked
    assert f"revoke TEMPORARY on database {name} from public cascade" in rights.revoked
    assert all(text.startswith("revoke ") for text in rights.revoked)
    facts = """select shobj_description(oid, 'pg_authid'), left(rolpassword, 14)
        from pg_authid where rolname = %s"""
    found = shared.admin.execute(facts, [shared.here.app_role]).fetchone()
    assert found == (rights.mark, "SCRAM-SHA-256$")
    again = permissions.prepare(shared.connection, shared.here)
    assert (again.revoked, again.mark) == ([], permissions.MADE)


def test_what_could_not_be_revoked_is_not_listed_as_revoked(shared, monkeypatch, tmp_path):
    file = tmp_path / "file.sql"
    told = [
        raising("warning", "01006"),
        "revoke no_such_role from postgres",
        "alter default privileges in schema public revoke all on tables from public",
    ]
    literals = ", ".join("'" + text.replace("'", "''") + "'" for text in told)
    made = f"select 'revoke all on schema public\n  from public', null, {literals}"
    file.write_text(f"-- try it\nselect 'revoke one';\n{made}\n\\gexec\n")
    monkeypatch.setattr(permissions, "STATEMENTS", file)
    monkeypatch.setattr(permissions, "_set_password", lambda *words: None)
    rights = permissions.Rights()
    permissions.apply(shared.connection, shared.here, rights)
    assert rights.revoked == [
        "revoke all on schema public from public",
        "alter default privileges in schema public revoke all on tables from public",
    ]
    assert rights.beyond == ["could not try it: told"]


def test_the_permissions_wait_for_readers_but_briefly_and_for_no_replication(shared, monkeypatch):
    seen = []
    look = lambda connection, *words: seen.append(shown(connection))  # noqa: E731
    monkeypatch.setattr(permissions, "_set_password", look)
    with shared.connection.transaction():
        permissions.apply(shared.connection, shared.here, permissions.Rights())
        assert shown(shared.connection) == "0"
    assert seen == ["1s"]
    shared.connection.execute("set lock_timeout = '7s'")
    permissions.prepare(shared.connection, shared.here)
    assert shown(shared.connection) == "7s"
    monkeypatch.setattr("pipeline.database.locks.LOST_LOCK_PATIENCE", 0)
    with psycopg.connect(shared.url) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [prod_module.LOCK])
        with pytest.raises(errors.BusyError):
            permissions.prepare(shared.connection, shared.here)


def shown(connection: psycopg.Connection) -> str:
    return connection.execute("show lock_timeout").fetchone()[0]


def test_tables_are_made_by_the_owner_or_else_by_the_replicator(shared, monkeypatch):
    made_by = []
    monkeypatch.setattr(permissions, "_write", lambda *words: made_by.append(words[3]))
    permissions.apply(shared.connection, shared.here, permissions.Rights())
    permissions.apply(shared.connection, shared.here, permissions.Rights(owner="prod_owner"))
    assert permissions.prepare(shared.connection, shared.here).owner is None
    assert made_by == ["postgres", "prod_owner", "prod_owner"]
