"""The audit of prod: a mistake makes each assertion fail, and the next night repairs it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from patience import Stopwatch, eventually
from public_database import Public, embedded, managed

from pipeline import errors, settings
from pipeline.cli import prod as commands
from pipeline.embedded import layout
from pipeline.prod import audit, audit_attempts, dump, login, permissions

# A mistake in prod, and the assertions that then fail; the next night repairs it.
MISTAKES = {
    "alter role app_read createdb": ["has no special attributes"],
    "alter role app_read createrole": ["has no special attributes", "creating and altering roles"],
    "alter role prod_read bypassrls": ["owner and readers cannot log in"],
    "alter role prod_owner login": ["owner and readers cannot log in"],
    "grant pg_read_all_stats to app_read": [
        "member of the readers only", "predefined roles", "others' queries is hidden",
    ],
    "grant pg_execute_server_program to prod_read": ["programs and files of the server"],
    "grant prod_owner to app_read": [
        "act as the owner", "member of the readers only", "becoming another role", "tried: DROP",
    ],
    "grant postgres to app_read": ["member of the readers only", "becoming another role"],
    "alter table transformed.counties owner to app_read": [
        "own nothing", "belong to its owner", "cannot write any table", "tried: DROP",
    ],
    "alter view transformed.data_status owner to postgres": ["belong to its owner"],
    "revoke select on transformed.counties from prod_read": [
        "can read every published", "views can be read",
    ],
    "revoke usage on schema transformed from prod_read": [
        "can read every published", "views can be read", "created tomorrow",
    ],
    "grant insert on transformed.counties to app_read": ["cannot write", "tried: INSERT"],
    "grant insert (county_fips) on transformed.counties to prod_read": [
        "cannot write", "tried: INSERT",
    ],
    "grant update (county_fips) on transformed.counties to public": [
        "cannot write", "tried: UPDATE", "the public has no rights",
    ],
    "grant delete on transformed.counties to prod_read": ["cannot write", "tried: DELETE"],
    "grant truncate on transformed.data_status_facts to prod_read": [
        "cannot write", "tried: TRUNCATE", "tried: LOCK",
    ],
    "grant maintain on transformed.counties to prod_read": ["cannot write", "tried: LOCK"],
    "grant create on schema transformed to prod_read": ["cannot create", "tried: creating tables"],
    "grant create on database prod to app_read": ["cannot create", "tried: creating tables"],
    "grant temporary on database prod to public": [
        "cannot make temporary tables", "tried: the application cannot make temporary",
        "the public has no rights",
    ],
    "grant usage on schema public to prod_read": ["sees no schema but"],
    "grant select on transformed.counties to public": ["the public has no rights"],
    "grant select on transformed.counties to prod_read with grant option": ["cannot grant their"],
    "grant prod_read to app_read with admin option": ["cannot grant their"],
    "alter default privileges for role prod_owner in schema transformed "
    "revoke select on tables from prod_read": ["new objects in the schema", "created tomorrow"],
    "alter default privileges for role prod_owner in schema transformed "
    "grant insert on tables to app_read": ["new objects in the schema"],
    "alter default privileges for role prod_owner grant execute on functions to public": [
        "new objects in the schema",
    ],
    "alter role app_read set default_transaction_read_only = off": [
        "read-only by default", "sessions begin read-only",
    ],
    "alter role app_read in database prod set default_transaction_read_only = off": [
        "read-only by default", "sessions begin read-only",
    ],
    "alter role app_read set statement_timeout = 0": [
        "limited to seconds", "sessions begin read-only", "cut at its time limit",
    ],
    "alter role app_read set lock_timeout = '1h'": ["limited to seconds", "sessions begin"],
    "alter role app_read set temp_file_limit = -1": ["temporary files are limited"],
    "alter role app_read in database prod set temp_file_limit = -1": ["temporary files are"],
    "alter role app_read reset temp_file_limit": ["temporary files are limited"],
    "alter role app_read reset idle_in_transaction_session_timeout": ["limited to seconds"],
    "alter role app_read set search_path = public, transformed": [
        "search_path is", "names are found",
    ],
    "alter role app_read connection limit -1": ["connections are limited"],
    "alter role app_read password 'known to others'": ["can log in with its password"],
    "alter role app_read password null": ["kept as SCRAM", "can log in with its password"],
    "grant execute on function lo_create(oid) to public": [
        "touches large objects", "tried: the application can call nothing",
    ],
    "grant execute on function pg_try_advisory_xact_lock(bigint) to prod_read": [
        "touches large objects", "tried: the application can call nothing",
    ],
    "grant usage on language plpgsql to public": [
        "no procedural language", "tried: the application can use no procedural",
    ],
    "grant set on parameter log_statement to app_read": ["settings of the server's"],
    "grant select on pg_authid to app_read": ["tried: passwords and settings"],
    "grant connect on database dev to public": [
        "cannot enter any other database", "tried: the application cannot enter",
    ],
    # Rows that an application does not see, without an error.
    "alter table transformed.counties enable row level security": ["no row of", "sees all rows"],
    "alter table transformed.counties enable row level security, force row level security": [
        "no row of", "sees all rows",
    ],
    "alter table transformed.data_status_facts enable row level security": [
        "no row of", "sees all rows",
    ],
    "revoke select on transformed.counties from prod_read; "
    "grant select (county_fips) on transformed.counties to prod_read": ["can read every"],
}  # fmt: skip
BY_HAND = {
    "create role intern login; grant app_read to intern": (
        ["act as the application"], "drop role intern",
    ),
    "create role intern login; grant prod_owner to intern": (
        ["act as the owner"], "drop role intern",
    ),
    "alter role app_read superuser": (
        ["role has no special attributes", "tried: INSERT", "ending the sessions of others"],
        "alter role app_read nosuperuser",
    ),
    "create table public.stray ()": (["nothing but the published"], "drop table public.stray"),
    "create table transformed.stray (); grant select on transformed.stray to prod_read": (
        ["one that data_status names"], "drop table transformed.stray",
    ),
    "create view transformed.stray as select 1": (
        ["one that data_status names"], "drop view transformed.stray",
    ),
    "create type transformed.stray as enum ()": (
        ["nothing but the published"], "drop type transformed.stray",
    ),
    "create schema stray; create table stray.t (); grant usage on schema stray to prod_read; "
    "grant select on stray.t to prod_read": (
        ["nothing but the published", "sees no schema but", "tried: relations of other schemas"],
        "drop schema stray cascade",
    ),
    "create function transformed.whoami() returns text language sql security definer "
    "as 'select current_user'": (
        ["rights of its owner", "PostgreSQL's own functions only", "nothing but the published"],
        "drop function transformed.whoami",
    ),
    "alter view transformed.data_status reset (security_invoker)": (
        ["views run with the rights"],
        "alter view transformed.data_status set (security_invoker = true)",
    ),
    "create foreign data wrapper way_out; create server elsewhere foreign data wrapper way_out": (
        ["no untrusted language"], "drop foreign data wrapper way_out cascade",
    ),
    "select lo_create(4711)": (["nothing but the published"], "select lo_unlink(4711)"),
}  # fmt: skip

# What else must be found, by looking alone: a mistake, and the assertion that then fails. The first
# part is mended by the next night.
GIVEN_TO_READERS = {
    "grant select on pg_user_mapping to app_read": "only its initial",
    "grant select (subconninfo) on pg_subscription to prod_read": "only its initial",
    "grant select on pg_file_settings to prod_read": "only its initial",
    "grant execute on function pg_show_all_file_settings() to prod_read": "only its initial",
    "grant select on pg_statistic to app_read": "only its initial",
    "grant select (rolpassword) on pg_authid to prod_read": "only its initial",
    "grant execute on function pg_switch_wal() to app_read": "only its initial",
    "grant execute on function pg_promote(boolean, integer) to prod_read": "only its initial",
    "grant execute on function pg_backup_start(text, boolean) to prod_read": "only its initial",
    "grant execute on function pg_stat_reset() to app_read": "only its initial",
    "grant execute on function pg_reload_conf() to prod_read": "only its initial",
    "grant execute on function pg_rotate_logfile() to app_read": "only its initial",
    "grant insert on information_schema.sql_features to app_read": "only its initial",
    "grant select on information_schema._pg_user_mappings to app_read": "only its initial",
    "grant alter system on parameter work_mem to prod_read": "settings of the server's",
    "grant pg_read_all_data to prod_owner": "member of the readers only; readers and owner",
}
LOOKED_UP = {
    "grant set on parameter log_statement to public": "settings of the server's",
    "grant alter system on parameter shared_preload_libraries to public": (
        "settings of the server's"
    ),
    "grant select on pg_authid to public": "only its initial",
    "grant select (rolpassword) on pg_authid to public": "only its initial",
    "grant select on pg_file_settings to public": "only its initial",
    "grant execute on function pg_read_file(text) to public": "only its initial",
    "grant execute on function pg_backup_stop(boolean) to public": "only its initial",
    "grant execute on function pg_stat_reset_shared(text) to public": "only its initial",
    "grant execute on function pg_create_restore_point(text) to public": "only its initial",
    "grant insert on information_schema.sql_features to public": "only its initial",
    "create role boss; grant pg_read_all_stats to boss; grant boss to app_read with "
    "inherit true; grant execute on function pg_switch_wal() to boss": "only its initial",
    "set allow_system_table_mods = on; create function pg_catalog.whoami() returns text "
    "language sql security definer as 'select current_user'; reset allow_system_table_mods": (
        "rights of its owner"
    ),
    "alter function pg_catalog.pg_ls_dir(text) security definer": "rights of its owner",
    "create role boss; alter function pg_catalog.pg_ls_waldir() owner to boss": (
        "belong to the role that created"
    ),
    "create role boss; set allow_system_table_mods = on; alter table pg_catalog.pg_authid "
    "owner to boss; reset allow_system_table_mods": "belong to the role that created",
    "create operator public.=== (leftarg = int, rightarg = int, function = int4eq)": (
        "nothing but the published"
    ),
    'create collation public.odd from "C"': "nothing but the published",
    "create text search configuration public.odd (copy = simple)": "nothing but the published",
    "create cast (point as text) with inout as implicit": "nothing but the published",
    "create conversion public.odd for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8": (
        "nothing but the published"
    ),
    "create function public.f() returns trigger language plpgsql as 'begin return new; "
    "end'; create trigger late after insert on transformed.counties execute function "
    "public.f()": "nothing but the published",
    "create trigger early before update on transformed.counties for each row execute "
    "function suppress_redundant_updates_trigger()": "nothing but the published",
    "create rule odd as on insert to transformed.counties do instead nothing": (
        "nothing but the published"
    ),
    "create policy odd on transformed.counties using (true)": "nothing but the published",
    "create publication everything for all tables": "nothing but the published",
    "create publication one for table transformed.counties": "nothing but the published",
    "create subscription odd connection 'host=/nowhere' publication p with (connect = "
    "false, slot_name = none)": "nothing but the published",
    "create function public.f() returns event_trigger language plpgsql as 'begin end'; "
    "create event trigger odd on ddl_command_end execute function public.f()": (
        "nothing but the published"
    ),
    "create access method odd type index handler bthandler": "nothing but the published",
    "alter table transformed.counties set unlogged": "none is unlogged",
    "create role boss login connection limit 5; grant prod_read to boss with admin option": (
        "can add members"
    ),
    "create role boss; grant app_read to boss with admin option, inherit false, set false": (
        "can add members"
    ),
    "create role boss; grant prod_owner to boss with admin option, inherit false, set false": (
        "can add members"
    ),
    "create role other_app login; grant prod_read to other_app": "limited number of connections",
    "create role other_app login connection limit 5; grant prod_read, pg_monitor to "
    "other_app": "no other login has",
    "create role intern login; grant connect on database prod to intern; grant "
    "pg_write_all_data to intern": "no other login has",
    "create role intern; grant insert on transformed.counties to intern": (
        "only the owner can write"
    ),
    "create role intern; grant update (county_fips) on transformed.counties to intern": (
        "only the owner can write"
    ),
    "create role intern; grant create on schema transformed to intern": "only the owner",
    "create role intern; grant all on schema transformed to intern": "only the owner",
    "create role intern; grant create on database prod to intern": "only the owner",
    "create role intern; alter default privileges for role prod_owner in schema transformed grant "
    "insert on tables to intern": "new objects in the schema",
    "create role intern; alter default privileges for role prod_owner grant all on tables to "
    "intern": "new objects in the schema",
    "create role intern; alter default privileges for role prod_owner grant create on schemas to "
    "intern": "new objects in the schema",
    "create role boss; alter database prod owner to boss": "the database and schema public belong",
    "create role boss; alter schema public owner to boss": "the database and schema public belong",
    "grant delete on pg_settings to public": "only its initial",
    "create table public.t (n int) partition by range (n)": "nothing but the published",
    "create policy few on transformed.counties using (false)": "nothing but the published",
    "alter table transformed.counties force row level security": "no row of",
}


@pytest.fixture(scope="module")
def prod(server_settings, open_folder: Path) -> Iterator[Public]:
    with embedded(server_settings, open_folder / "audited") as made:
        made.replicate()
        yield made


def found(checks, fragments: list[str]) -> list[str]:
    return [part for part in fragments if not any(part in what for what in checks)]


def test_a_replicated_prod_passes(prod):
    checks = audit.run(prod.here, prod.connection)
    assert [check for check in checks if check.result != audit.Result.OK] == []
    assert len(checks) >= 25
    assert [check.number for check in checks] == list(range(1, len(checks) + 1))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_and_mended_by_the_next_night(prod, mistake):
    prod.admin.execute(mistake)
    failed = prod.audit(audit.Result.FAIL)
    assert found(failed, MISTAKES[mistake]) == [], sorted(failed)
    assert prod.replicate().beyond == []
    assert prod.audit(audit.Result.FAIL) == {}


@pytest.mark.parametrize("mistake", BY_HAND)
def test_what_only_a_person_should_undo_is_found_every_night(prod, mistake):
    fragments, undo = BY_HAND[mistake]
    prod.admin.execute(mistake)
    failed = prod.audit(audit.Result.FAIL)
    assert found(failed, fragments) == [], sorted(failed)
    prod.replicate()
    assert found(prod.audit(audit.Result.FAIL), fragments[:1]) == []
    prod.admin.execute(undo)
    prod.replicate()
    assert prod.audit(audit.Result.FAIL) == {}


def looked_up(connection: psycopg.Connection, known: dict[str, str]) -> list[str]:
    """The assertions of audit.sql that do not hold."""
    statements = permissions.statements(audit.STATEMENTS)
    return [
        what
        for what, text, _ in statements
        if audit._look_up(connection, permissions.fill(text, known), manages=True).wrong
    ]


def test_mistakes_are_found_by_looking(prod):
    known = permissions.parameters(prod.connection, prod.here)
    assert looked_up(prod.connection, known) == []
    for mistake, fragment in (GIVEN_TO_READERS | LOOKED_UP).items():
        with prod.connection.transaction(force_rollback=True):
            prod.connection.execute(mistake)
            failed = looked_up(prod.connection, known)
            assert any(fragment in what for what in failed), (mistake, failed)
            if mistake in GIVEN_TO_READERS:
                rights = permissions.prepare(prod.connection, prod.here)
                permissions.apply(prod.connection, prod.here, rights)
                assert looked_up(prod.connection, known) == [], mistake
    assert looked_up(prod.connection, known) == []


def test_what_the_application_sees_is_held_against_what_was_published(prod):
    """Also if the table itself was changed, and the replicating role sees the same rows."""
    published = {"counties": dump.content(prod.connection, "counties")}
    changes = {
        "delete from transformed.counties": "counties: 0 rows of 1",
        "update transformed.counties set county_fips = '01002'": "1 rows of 1, or other values",
    }
    for change, told in changes.items():
        prod.admin.execute(change)
        failed = [
            check
            for check in audit.run(prod.here, prod.connection, published)
            if check.result == audit.Result.FAIL
        ]
        prod.admin.execute("delete from transformed.counties")
        prod.admin.execute("insert into transformed.counties values ('01001')")
        assert [("sees all rows" in c.what, told in c.detail) for c in failed] == [(True, True)]
    assert prod.audit(audit.Result.FAIL) == {}


def test_a_line_of_pg_hba_conf_that_trusts_is_found(prod):
    file = layout.find(prod.here).home / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"{before}host all all 10.0.0.0/8 trust\n")
    failed = prod.audit(audit.Result.FAIL)
    file.write_text(before)
    assert [check.detail for check in failed.values()] == ["line 4"]


def test_a_login_that_needs_no_password_is_found(prod):
    file = layout.find(prod.here).home / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"local prod app_read trust\n{before}")
    prod.admin.execute("select pg_reload_conf()")
    try:
        for _ in range(100):
            failed = prod.audit(audit.Result.FAIL)
            if found(failed, ["log in with its password, and not without"]) == []:
                break
        assert found(failed, ["pg_hba.conf", "and not without"]) == [], sorted(failed)
    finally:
        file.write_text(before)
        prod.admin.execute("select pg_reload_conf()")


def test_an_application_that_is_not_let_in_from_here_is_not_tried(prod):
    file = layout.find(prod.here).home / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"local prod app_read reject\n{before}")
    prod.admin.execute("select pg_reload_conf()")
    try:
        for _ in range(100):
            unknown = prod.audit(audit.Result.NOT_CHECKED)
            if unknown:
                break
        assert prod.audit(audit.Result.FAIL) == {}
        assert found(unknown, ["log in with its password", "tried: INSERT", "can be read"]) == []
    finally:
        file.write_text(before)
        prod.admin.execute("select pg_reload_conf()")
        eventually(lambda: prod.audit(audit.Result.NOT_CHECKED) == {}, "an audit of everything")


def test_an_application_that_uses_all_its_connections_is_not_tried(prod):
    held = [prod.log_in() for _ in range(20)]
    try:
        assert prod.audit(audit.Result.FAIL) == {}
        assert (
            found(prod.audit(audit.Result.NOT_CHECKED), ["log in with its password", "tried:"])
            == []
        )
    finally:
        for connection in held:
            connection.close()
    eventually(
        lambda: prod.audit(audit.Result.NOT_CHECKED) == {}, "an audit that leaves nothing out"
    )


def test_an_application_that_leaves_one_connection_is_tried_as_far_as_that_goes(prod):
    held = [prod.log_in() for _ in range(19)]
    try:
        assert prod.audit(audit.Result.FAIL) == {}
        assert [*prod.audit(audit.Result.NOT_CHECKED)] == [f"tried: {audit_attempts._DATABASES}"]
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "limit", ["statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"]
)
def test_limits_that_end_the_audit_itself_are_found(prod, limit):
    with prod.log_in() as intruder:
        intruder.execute("set default_transaction_read_only = off")
        intruder.execute(f"alter role app_read set {limit} = '1ms'")
    failed = prod.audit(audit.Result.FAIL)
    assert found(failed, ["limited to seconds"]) == []
    prod.replicate()
    assert prod.audit(audit.Result.FAIL) == {}


def test_a_check_that_is_cut_short_or_not_made_is_never_ok(prod):
    def made(ends: str) -> audit_attempts.Finding:
        return audit_attempts._checked(app, lambda app: app.execute(ends), manages=True)

    with prod.log_in() as app:
        app.execute("set statement_timeout = '10ms'")
        assert made("select pg_sleep(5)").wrong.startswith("cut short: canceling statement")
        prod.admin.execute("select pg_terminate_backend(%s, 5000)", [app.info.backend_pid])
        assert made("select 1").wrong.startswith("cut short: ")
        assert made("select 1") == audit_attempts.Finding(
            "the application's session was ended", is_ours=False
        )


def test_password_files_that_others_can_read_are_found_and_closed(prod):
    for file in login.password_files(prod.here):
        file.chmod(0o644)
        (check,) = prod.audit(audit.Result.FAIL).values()
        assert check.detail == str(file)
        prod.replicate()
        assert prod.audit(audit.Result.FAIL) == {}


def test_the_mode_of_what_a_password_file_links_to_is_left(prod, tmp_path):
    file = login.password_files(prod.here)[0]
    theirs = tmp_path / "theirs"
    shutil.copy(file, theirs)
    theirs.chmod(0o644)
    file.unlink()
    file.symlink_to(theirs)
    prod.replicate()
    assert theirs.stat().st_mode & 0o777 == 0o644
    file.unlink()
    shutil.copy(theirs, file)
    prod.replicate()


def test_an_env_file_with_secrets_that_others_can_read_is_found(prod, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / ".env").write_text("KEY_EIA=a-key-of-some-length\n")
    (tmp_path / ".env").chmod(0o644)
    (check,) = prod.audit(audit.Result.FAIL).values()
    assert check.detail.startswith("other users of this machine can read .env")
    assert "chmod 600" in check.detail
    assert "a-key-of-some-length" not in check.detail
    (tmp_path / ".env").chmod(0o600)
    assert prod.audit(audit.Result.FAIL) == {}


def test_every_assertion_was_shown_to_fail(prod):
    shown = [part for parts in MISTAKES.values() for part in parts]
    shown += [part for parts, _ in BY_HAND.values() for part in parts]
    shown += [*GIVEN_TO_READERS.values(), *LOOKED_UP.values()]
    shown += ["pg_hba.conf", "files of the password"]
    checks = audit.run(prod.here, prod.connection)
    assert [c.what for c in checks if not any(part in c.what for part in shown)] == []


def test_attempts_are_excused_by_titles_that_exist():
    titles = {what for what, _, _ in permissions.statements(audit.STATEMENTS)}
    named = {what for what, _, _ in permissions.statements(audit_attempts.STATEMENTS)}
    named.add(audit_attempts._DATABASES)
    assert {what for what in named if what.startswith("the application")} <= titles


def test_nothing_stays_of_an_audit(prod):
    query = """select
        (select count(*) from pg_class), (select count(*) from pg_proc),
        (select count(*) from pg_namespace), (select count(*) from pg_roles),
        (select count(*) from pg_largeobject_metadata),
        (select array_agg(setconfig) from pg_db_role_setting),
        (select count(*) from transformed.counties)"""
    before = prod.admin.execute(query).fetchone()
    audit.run(prod.here, prod.connection)
    assert prod.admin.execute(query).fetchone() == before
    row = prod.connection.execute("select current_user, pg_current_xact_id_if_assigned()")
    assert row.fetchone() == ("postgres", None)
    sessions = "select count(*) from pg_stat_activity where usename = 'app_read'"
    eventually(lambda: prod.admin.execute(sessions).fetchone() == (0,), "the end of all sessions")


def test_attempts_that_are_allowed_change_nothing(prod):
    prod.admin.execute("alter role app_read superuser")
    failed = prod.audit(audit.Result.FAIL)
    prod.admin.execute("alter role app_read nosuperuser")
    assert found(failed, ["tried: TRUNCATE", "tried: DROP", "tried: creating and altering"]) == []
    assert prod.admin.execute("select * from transformed.counties").fetchall() == [("01001",)]
    assert prod.admin.execute("select from pg_roles where rolname = 'audit'").fetchall() == []
    prod.replicate()
    assert prod.audit(audit.Result.FAIL) == {}


def test_before_the_first_replication_it_fails(prod):
    with psycopg.connect(prod.url, autocommit=True) as other:
        other.execute("create database empty template template0")
    try:
        with psycopg.connect(prod.url, dbname="empty", autocommit=True) as other:
            failed = [c.what for c in audit.run(prod.here, other) if c.result == audit.Result.FAIL]
    finally:
        prod.admin.execute("drop database empty with (force)")
    assert found(failed, ["can read every published", "created tomorrow"]) == []


def test_show_prints_every_check_and_says_how_it_ends(prod, capsys):
    checks = audit.run(prod.here, prod.connection)
    assert commands.show_checks(checks) == errors.OK
    said = capsys.readouterr().out
    assert all(check.what in said for check in checks)
    assert f"{len(checks)} checks, 0 failed\n" in said
    checks[3] = checks[3]._replace(result=audit.Result.FAIL, detail="somebody\x1b[31m")
    assert commands.show_checks(checks) == errors.DEGRADED
    said = capsys.readouterr().out
    assert "1 failed" in said and "somebody" in said and "\x1b[31m" not in said
    checks[3] = checks[3]._replace(result=audit.Result.NOT_CHECKED)
    assert commands.show_checks(checks) == errors.OK
    assert "0 failed, 1 not checked" in capsys.readouterr().out


def test_it_takes_little_time(prod):
    watch = Stopwatch()
    audit.run(prod.here, prod.connection)
    assert watch.seconds() < 2


@pytest.mark.parametrize("attributes", ["superuser", "createrole", ""])
def test_on_a_server_of_others_nothing_fails_for_want_of_rights(
    server_settings, debian_url, tmp_path, attributes
):
    name = f"prod_of_{attributes or 'nobody'}"
    with managed(server_settings, tmp_path, debian_url, name, attributes) as prod:
        rights = prod.replicate()
        failed = prod.audit(audit.Result.FAIL)
        unknown = prod.audit(audit.Result.NOT_CHECKED)
        assert failed == {}, failed
        assert found(unknown, ["cannot enter any other database"]) == []
        if attributes != "superuser":
            parts = ["kept as SCRAM", "pg_hba.conf", "touches large objects"]
            assert found(unknown, parts) == []
        assert bool(rights.beyond) == (attributes != "superuser")
        assert (rights.owner is None) == (attributes == "")
