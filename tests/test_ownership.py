"""Whose prod it is: databases, schemas, grants and roles of others are left as they are."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from public_database import TABLES
from servers import new_database
from test_publication import generations
from test_publish import Place

from pipeline import database, embedded
from pipeline.cli import doctor, report
from pipeline.cli import prod as publish_command
from pipeline.database import ledger
from pipeline.errors import SettingError
from pipeline.prod import connection as prod
from pipeline.prod import ownership, permissions, pin, replicate
from pipeline.settings import ROOT, Settings
from pipeline.stages import publish

# All that a replication revokes, alters or drops somewhere, as one value.
RIGHTS = """select
    (select array_agg(coalesce(datacl::text, '-') order by oid) from pg_database),
    (select array_agg(oid::regclass || coalesce(relacl::text, '-') || relowner order by oid)
        from pg_class where relnamespace::regnamespace::text !~ '^(transformed|pipeline|pg_toast)'),
    (select array_agg(coalesce(proacl::text, '-') order by oid) from pg_proc),
    (select array_agg(nspname || coalesce(nspacl::text, '-') || nspowner order by oid)
        from pg_namespace where nspname !~ '^(transformed|pipeline)'),
    (select array_agg(coalesce(lanacl::text, '-') order by oid) from pg_language),
    (select array_agg(defaclacl::text order by oid) from pg_default_acl)"""
ROLES = """select
    (select array_agg(a::text || coalesce(shobj_description(oid, 'pg_authid'), '') order by oid)
        from pg_authid as a where rolname = any(%(names)s)),
    (select array_agg(m::text order by oid) from pg_auth_members as m
        where member = any(select oid from pg_roles where rolname = any(%(names)s))),
    (select array_agg(s::text order by s::text) from pg_db_role_setting as s
        where setrole = any(select oid from pg_roles where rolname = any(%(names)s)))"""
OURS = (permissions.OWNER, permissions.READER)


@pytest.fixture
def make(here: Settings, server_settings: Settings, tmp_path) -> Iterator[Callable]:
    """Makes installations: each with a data folder and a dev database of its own."""
    made: list[Place] = []

    def one(prod_url: str, **settings) -> Place:
        number = len(made)
        name = f"dev_{number}_of_{uuid.uuid4().hex[:8]}"
        with admin(server_settings) as connection:
            connection.execute(f"create database {name}")
        folder = tmp_path / f"installation {number}"
        own = replace(
            here,
            data_dir=folder,
            database_url=embedded.url(server_settings, name),
            prod_database_url=prod_url,
            publish_patience=5,
            **settings,
        )
        own.state.mkdir(parents=True)
        dev = database.connect(own)
        database.prepare(dev)
        place = Place(own, dev)
        made.append(place)
        place.publish_dev(1)
        return place

    yield one
    for place in made:
        name = place.dev.info.dbname
        place.dev.close()
        with admin(server_settings) as connection:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def prod_url(server_settings: Settings) -> Iterator[str]:
    with new_database(embedded.url(server_settings), f"prod_{uuid.uuid4().hex[:8]}") as url:
        yield url


def admin(server_settings: Settings, url: str = "") -> psycopg.Connection:
    return psycopg.connect(url or embedded.url(server_settings), autocommit=True)


@contextmanager
def database_beside(server_settings: Settings, options: str = "") -> Iterator[str]:
    """One more database on the server, gone afterwards though the test failed: its URL."""
    name = f"beside_{uuid.uuid4().hex[:8]}"
    with admin(server_settings) as connection:
        connection.execute(f"create database {name} {options}")
        try:
            yield embedded.url(server_settings, name)
        finally:
            connection.execute(f"drop database {name} with (force)")


def one(connection: psycopg.Connection, statement: str, **words):
    return connection.execute(statement, words or None).fetchone()


def refused(place: Place, words: str, **given) -> SettingError:
    with pytest.raises(SettingError, match=words) as caught:
        place.run(**given)
    assert caught.value.exit_code == 78
    assert caught.value.remedy
    return caught.value


# Databases of others

THEIRS = {
    "create table public.users ()": r"table public\.users",
    "create table public.users (id int) partition by range (id)": r"table public\.users",
    "create schema app; create table app.orders (id serial)": r"table app\.orders",
    "create view public.seen as select 1": r"view public\.seen",
    "create materialized view public.seen as select 1 as one": r"materialized view public\.seen",
    "create sequence public.numbers": r"sequence public\.numbers",
    "create type public.pair as (a int, b int)": r"type public\.pair",
    "create type public.mood as enum ('good')": r"type public\.mood",
    "create domain public.positive as int check (value > 0)": r"type public\.positive",
    "create function public.f() returns int return 1": r"function public\.f\(\)",
    "create procedure public.p() language sql as 'select 1'": r"(procedure|function) public\.p\(\)",
    "create aggregate public.total(int) (sfunc = int4pl, stype = int)": r"function public\.total\(",
    "create type public.odd": r"type public\.odd",
    "create schema app": r"schema app",
    "select lo_create(0)": r"large object",
    "create operator public.### (leftarg = int, rightarg = int, function = int4pl)": r"operator",
    'create collation public.german from "C"': r"collation public\.german",
    "create text search configuration public.mine (copy = simple)": r"text search configuration",
    "create text search dictionary public.mine (template = simple)": r"text search dictionary",
    "create conversion public.mine for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1": r"conversion",
    "create foreign data wrapper elsewhere": r"foreign-data wrapper elsewhere",
    "create publication everything for all tables": r"publication everything",
    "create schema pipeline; create table pipeline.runs (id int)": r"table pipeline\.runs",
    "create schema transformed; create function transformed.f() returns int return 1": (
        r"function transformed\.f\(\)"
    ),
}


@contextmanager
def tried(url: str, statement: str = "") -> Iterator[psycopg.Connection]:
    """A connection to prod in a transaction that is rolled back, after a statement."""
    with (
        database.connect_to(url, "PROD_DATABASE_URL") as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute(statement or "select")
        yield connection


def test_a_database_of_others_is_named(make, prod_url):
    place = make(prod_url)
    for statement, told in THEIRS.items():
        for take_over in (False, True):
            with tried(prod_url, statement) as connection:
                with pytest.raises(SettingError, match=told) as caught:
                    ownership.check(connection, place.dev, place.here, take_over)
                assert "belongs to others" in caught.value.what, statement


@pytest.mark.parametrize("name", ["postgres", "template1", "a template"])
def test_the_databases_that_every_server_has_are_not_prod(make, server_settings, name):
    with database_beside(server_settings, "is_template true") as template:
        place = make(template if name == "a template" else embedded.url(server_settings, name))
        try:
            refused(place, "came with the server, for everybody on it; prod was not touched")
            refused(place, "came with the server", take_over=True)
        finally:
            with admin(server_settings) as owner:
                database_name = template.rpartition("/")[2].partition("?")[0]
                owner.execute(f"alter database {database_name} is_template false")


def test_nothing_is_changed_in_a_database_of_others(make, prod_url, server_settings):
    place = make(prod_url)
    with admin(server_settings, prod_url) as theirs:
        theirs.execute("create table public.users ()")
        before = one(theirs, RIGHTS)
        for given in ({}, {"force": True}, {"take_over": True}):
            assert "belongs to others" in refused(place, r"table public\.users", **given).what
        (said,) = doctor._prod(place.here)
        assert "belongs to others" in said
        assert one(theirs, RIGHTS) == before
        assert one(theirs, "select to_regclass('pipeline.copy_of')") == (None,)
        theirs.execute("drop table public.users")
        assert doctor._prod(place.here) == []
    failed = ledger.newest(place.dev, "publish")[ledger.PROD]
    assert (failed["outcome"], "belongs to others" in failed["reason"]) == ("failed", True)


def test_the_dev_database_is_not_prod(make, server_settings):
    place = make("")
    place.here = replace(place.here, prod_database_url=place.here.database_url)
    before = one(place.dev, RIGHTS)
    for given in ({}, {"take_over": True}):
        assert "names the dev database itself" in refused(place, "itself", **given).what
    assert one(place.dev, RIGHTS) == before
    assert generations(place.dev) == {1}


def test_the_dev_database_of_another_installation_is_not_prod(make, server_settings):
    other = make("")
    place = make(other.here.database_url)
    before = one(other.dev, RIGHTS)
    refused(place, "is the dev database of another installation", take_over=True)
    assert one(other.dev, RIGHTS) == before
    assert generations(other.dev) == {1}


@pytest.fixture
def empty_on_debian(debian_url: str) -> Iterator[str]:
    """An empty database on the server of Debian, which other tests use too."""
    with new_database(debian_url, f"empty_{uuid.uuid4().hex[:8]}", "template template0") as url:
        yield url


def test_extensions_are_of_nobody(make, empty_on_debian):
    """Their views, functions and types came with an empty database."""
    names = ("pg_stat_statements", "hstore", "intarray", "isn")
    extensions = "; ".join(f"create extension {name}" for name in names)
    place = make("", app_role="app_beside_extensions")
    with tried(empty_on_debian, f"set local search_path = public; {extensions}") as connection:
        assert prod.others(connection) == []
        assert ownership.check(connection, place.dev, place.here) is False, "as an empty database"
        rights = permissions.prepare(connection, place.here)
        connection.execute(TABLES)
        permissions.apply(connection, place.here, rights)
        assert any("hstore" in statement for statement in rights.revoked)
        statements = permissions.statements(ROOT / "publish" / "audit.sql")
        known = permissions.parameters(connection, place.here, connection.info.user)
        for what, text, _ in statements:
            found = connection.execute(permissions.fill(text, known)).fetchall()
            if "other database" not in what and "pg_hba" not in what:
                assert [name for name, _ in found if "stat" in name or "hstore" in name] == [], what


def test_what_is_revoked_is_listed(make, prod_url, capsys):
    place = make(prod_url)
    facts = place.run()
    said = capsys.readouterr().out
    name = prod_url.rpartition("/")[2].partition("?")[0]
    for statement in (
        f"revoke CONNECT on database {name} from public cascade",
        f"revoke TEMPORARY on database {name} from public cascade",
        "revoke USAGE on schema public from public cascade",
        "revoke usage on language plpgsql from public cascade",
    ):
        assert statement in facts["revoked"]
    assert [f"prod: {text}" for text in facts["revoked"]] == said.splitlines()
    assert ledger.newest(place.dev, "publish")[ledger.PROD]["facts"]["revoked"] == facts["revoked"]
    (note,) = (text for text in report.notes_of_prod(facts) if "revoked" in text)
    assert note.startswith(f"prod: {len(facts['revoked'])} rights were revoked")
    assert report.notes_of_prod({"revoked": ["revoke x"]})[0].startswith("prod: 1 right was")
    place.publish_dev(2)
    assert place.run()["revoked"] == []


# What an administrator puts into prod later, and gives to all: found by the audit, and left.
LATER = (
    "create table public.notes (); grant select on public.notes to public",
    "create table public.notes (n int); grant select (n) on public.notes to public",
    "create function public.f() returns int return 1",
    "create schema app; grant usage on schema app to public; create table app.t ()",
    "create schema app; grant usage on schema app to public",
    "create table public.notes (); grant usage on schema public to public",
    "create table public.notes (); grant execute on function lo_create(oid) to public",
    "create role {role}; alter default privileges for role {role} grant select on tables to public",
)


def test_what_others_put_into_prod_later_keeps_its_grants(make, prod_url):
    place = make(prod_url)
    place.run()
    for number, statement in enumerate(LATER):
        role = f"later_{number}_{uuid.uuid4().hex[:8]}"
        with tried(prod_url, statement.format(role=role)) as connection:
            before = one(connection, RIGHTS)
            rights = permissions.prepare(connection, place.here)
            permissions.apply(connection, place.here, rights)
            assert one(connection, RIGHTS) == before, statement
            assert rights.revoked == [], statement


def test_a_prod_with_something_of_others_is_published_and_the_audit_tells(
    make, prod_url, server_settings
):
    place = make(prod_url)
    place.run()
    with admin(server_settings, prod_url) as theirs:
        theirs.execute("create table public.notes (); grant select on public.notes to public")
        before = one(theirs, RIGHTS)
        place.publish_dev(2)
        facts = place.run()
        assert (facts["outcome"], facts["revoked"]) == ("failed", [])
        assert "public.notes" in facts["reason"]
        assert one(theirs, RIGHTS) == before
        assert generations(theirs) == {2}


def test_a_table_of_others_in_the_published_schema_is_not_dropped_by_who_remembers_nothing(
    make, prod_url, server_settings
):
    place = make(prod_url)
    place.run()
    (place.here.state / f"{ledger.PROD}.json").unlink()  # or another machine of the same dev
    with admin(server_settings, prod_url) as theirs:
        theirs.execute("create table transformed.mine as select 1 as one")
        place.publish_dev(2)
        facts = place.run()
        assert "somebody changed prod: table mine is not ours" in facts["reason"]
        assert one(theirs, "select one from transformed.mine") == (1,)
        theirs.execute("drop table transformed.mine")
    assert place.run()["outcome"] == "published"


# Two installations


def test_the_prod_of_another_dev_database_is_taken_over_by_consent_alone(
    make, prod_url, server_settings
):
    first, second = make(prod_url), make(prod_url)
    assert first.run()["outcome"] == "published"
    second.publish_dev(2)
    with admin(server_settings, prod_url) as reader:
        error = refused(second, "is the copy of another dev database")
        assert first.dev.info.dbname in error.what
        assert "publish --take-over" in error.remedy
        refused(second, "another dev database", force=True)
        with pytest.raises(SettingError, match="is the copy of another dev database"):
            publish_command.rollback(second.here, 2)
        assert not pin.read(second.here).pinned
        assert generations(reader) == {1}
        assert first.run()["outcome"] == "unchanged"
        assert second.run(take_over=True)["outcome"] == "published"
        assert generations(reader) == {2}
        refused(first, second.dev.info.dbname)
        first.publish_dev(2)
        refused(first, "is the copy of another dev database")
        assert second.run()["outcome"] == "unchanged"


def test_what_another_left_is_replaced_though_its_generations_are_the_same(
    make, prod_url, server_settings, monkeypatch
):
    """Also when the run that took it over was killed before it filled it."""
    first, second = make(prod_url), make(prod_url)
    first.publish_dev(2)
    second.publish_dev(2, statement="update transformed_next.one set id = id + 1000")
    first.run()
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "replicate", lambda *words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            second.run(take_over=True)
    with admin(server_settings, prod_url) as reader:
        assert one(reader, "select min(id) from transformed.one") < (1000,)
        assert second.run()["outcome"] == "published"
        assert one(reader, "select min(id) from transformed.one") >= (1000,)


def test_machines_that_share_a_dev_database_share_its_prod(make, prod_url, tmp_path):
    first = make(prod_url)
    first.run()
    second = Place(replace(first.here, data_dir=tmp_path / "another machine"), first.dev)
    second.here.state.mkdir(parents=True)
    (second.here.state / "app_password").write_text("the same\n")
    assert second.run()["outcome"] == "unchanged"
    first.publish_dev(2)
    assert second.run()["outcome"] == "published"


def test_a_clone_of_the_dev_database_is_another_one(make, prod_url, server_settings):
    first = make(prod_url)
    first.run()
    original = first.dev.info.dbname
    name = f"{original}_staging"
    first.dev.close()
    with admin(server_settings) as connection:
        connection.execute(f"create database {name} template {original}")
        first.dev = database.connect(first.here)
        try:
            staging = replace(first.here, database_url=embedded.url(server_settings, name))
            with pytest.raises(SettingError, match="is the copy of another dev database"):
                publish.run(staging)
        finally:
            connection.execute(f"drop database {name} with (force)")
    assert first.run()["outcome"] == "unchanged"


def forget(connection: psycopg.Connection) -> None:
    """What an earlier version left: no mark of anything."""
    connection.execute("drop schema pipeline cascade")
    for role in (*OURS, "app_read"):
        connection.execute(f"comment on role {role} is null")
    # Which superusers alone may set.
    connection.execute("alter role app_read reset temp_file_limit")


def test_an_upgrade_marks_the_prod_that_it_made(make, prod_url, server_settings):
    first, second = make(prod_url), make(prod_url)
    first.dev.execute("update pipeline.steps set started_at = started_at + interval '1 s'")
    first.publish_dev(2)
    first.run()
    with admin(server_settings, prod_url) as owner:
        forget(owner)
        owner.execute("create table public.stray ()")  # the audit told, no night was stopped
        with pytest.raises(SettingError):
            second.run()
        assert first.run()["outcome"] == "failed"
        assert one(owner, "select dev_id::text, is_filled from pipeline.copy_of") == (
            ledger.identity(first.dev),
            True,
        )
        owner.execute("drop table public.stray")
    assert first.run()["outcome"] == "unchanged"


def test_a_prod_that_the_ledger_does_not_know_to_the_second_is_not_marked(make, prod_url):
    place = make(prod_url)
    place.run()
    for change, is_ours in {
        "published_at = published_at": True,
        "name = 'x'": False,
        "generation = 7": False,
        "published_at = published_at + interval '1 s'": False,
    }.items():
        with tried(prod_url) as connection:
            forget(connection)
            connection.execute(
                f"update transformed.data_status_facts set {change} where name = 'one'"
            )
            if is_ours:
                assert ownership.check(connection, place.dev, place.here)
            else:
                told = "has a schema transformed that this dev database did not make"
                with pytest.raises(SettingError, match=told):
                    ownership.check(connection, place.dev, place.here)
            assert ownership.check(connection, place.dev, place.here, take_over=True) == is_ours


def test_a_mark_that_was_copied_to_another_database_is_none(make, prod_url, server_settings):
    place = make(prod_url)
    place.run()
    name = f"copy_{uuid.uuid4().hex[:8]}"
    with new_database(
        prod_url, name, f"template {prod_url.rpartition('/')[2].split('?')[0]}"
    ) as url:
        with admin(server_settings, url) as copy:
            copy.execute("create table public.users ()")
            copy.execute("update transformed.data_status_facts set generation = 7")
        place.here = replace(place.here, prod_database_url=url)
        refused(place, r"belongs to others: it has table public\.users")


def test_a_rollback_needs_no_dev_database_but_the_mark(make, prod_url, server_settings):
    place = make(prod_url)
    place.run()
    place.publish_dev(2)
    place.run()
    away = replace(place.here, database_url="postgresql://127.0.0.1:9/dev")
    with admin(server_settings, prod_url) as owner:
        assert publish_command.rollback(away, 1) == 0
        assert generations(owner) == {1}
        owner.execute("update pipeline.copy_of set dev_id = gen_random_uuid()")
        with pytest.raises(SettingError, match="nothing shows that prod is its copy"):
            publish_command.rollback(away, 2)
        assert generations(owner) == {1}


def test_the_embedded_server_is_nobody_elses(server_settings, make):
    """Its dev database, lost and made anew, is another one; its prod is ours all the same."""
    here = replace(server_settings, data_dir=server_settings.data_dir)
    with admin(server_settings, embedded.url(server_settings, "postgres")) as connection:
        connection.execute("drop database if exists prod with (force)")
        with prod.connect(here) as public, database.connect(here) as dev:
            database.prepare(dev)
            ownership.claim(public, dev, here)
            dev.execute("update pipeline.identity set dev_id = gen_random_uuid()")
            dev_id = ownership.claim(public, dev, here)
            assert one(public, "select dev_id::text from pipeline.copy_of") == (dev_id,)
        connection.execute("drop database prod with (force)")


def test_databases_of_others_on_the_embedded_server_stay_open_and_are_named(server_settings):
    here = replace(server_settings, app_role="app_embedded")
    acl = "select datacl from pg_database where datname = 'of_somebody'"
    with admin(server_settings) as connection:
        connection.execute("drop database if exists prod with (force)")
        connection.execute("create database of_somebody")
        try:
            with prod.connect(here) as public:
                rights = permissions.prepare(public, here)
                assert one(connection, acl) == (None,)
                assert not [text for text in rights.revoked if "of_somebody" in text]
                statements = permissions.statements(ROOT / "publish" / "audit.sql")
                (audit,) = (text for what, text, _ in statements if "any other database" in what)
                known = permissions.parameters(public, here)
                found = public.execute(permissions.fill(audit, known)).fetchall()
                assert ("of_somebody", True) in found
        finally:
            connection.execute("drop database of_somebody")
            connection.execute("drop database prod with (force)")
            connection.execute("drop role app_embedded")


# Roles of others

LOGINS = {
    "create role {name} login password 'theirs'": "exists, and the pipeline did not create it",
    "create role {name} nologin": "exists, and the pipeline did not create it",
    "create role {name} superuser login": "exists, and the pipeline did not create it",
    "create role {name} login; comment on role {name} is 'of billing'": "did not create it",
    "create role {name} login connection limit 5; grant prod_read to {name}": "did not create it",
    "create role {name} login; grant prod_read to {name}; "
    "alter role {name} set search_path = transformed; "
    "alter role {name} set default_transaction_read_only = on; "
    "alter role {name} set temp_file_limit = '256MB'": "did not create it",
    "create role {name} login; create table public.t (); alter table public.t owner to {name}; "
    "comment on role {name} is 'Made by the open-data pipeline'": "owns objects",
}


def test_a_login_of_others_is_named(make, prod_url):
    place = make(prod_url)
    place.run()  # the roles that the pipeline makes are there
    for number, (statement, told) in enumerate(LOGINS.items()):
        name = f"login_{number}_{uuid.uuid4().hex[:8]}"
        here = replace(place.here, app_role=name)
        with tried(prod_url, statement.format(name=name)) as connection:
            with pytest.raises(SettingError, match=told) as caught:
                ownership.check(connection, place.dev, here)
            assert f"APP_ROLE={name}" in caught.value.what


def test_roles_that_an_earlier_version_made_are_ours_and_keep_their_comments(
    make, prod_url, server_settings
):
    place = make(prod_url, app_role=f"login_{uuid.uuid4().hex[:8]}")
    names = [*OURS, place.here.app_role]
    comments = "select shobj_description(%(name)s::regrole, 'pg_authid')"
    place.run()
    with admin(server_settings) as owner:
        written = {name: one(owner, comments, name=name)[0] for name in names}
        assert all(text.startswith(permissions.MADE) for text in written.values())
        former = {
            name: text.replace(permissions.MADE, permissions.FORMERLY_MADE)
            for name, text in written.items()
        }
        try:
            for name, text in former.items():
                owner.execute(f"comment on role {name} is '{text}'")
            place.publish_dev(2)
            place.run()
            assert {name: one(owner, comments, name=name)[0] for name in names} == former
        finally:
            for name, text in written.items():
                owner.execute(f"comment on role {name} is '{text}'")


def test_a_login_of_others_keeps_password_memberships_and_settings(make, prod_url, server_settings):
    name = f"login_{uuid.uuid4().hex[:8]}"
    place = make(prod_url, app_role=name)
    with admin(server_settings) as owner:
        owner.execute(f"create role {name} login password 'theirs'")
        owner.execute(f"grant pg_monitor to {name}; alter role {name} set work_mem = '1MB'")
        owner.execute(f"create database {name} owner {name}")
        try:
            for told in ("owns objects", "exists, and the pipeline did not create it"):
                before = one(owner, ROLES, names=[name, *OURS])
                refused(place, told)
                assert one(owner, ROLES, names=[name, *OURS]) == before
                owner.execute(f"drop database if exists {name}")
        finally:
            owner.execute(f"drop database if exists {name}")
            owner.execute(f"drop role {name}")


@pytest.mark.parametrize("name", OURS)
def test_a_role_of_others_of_our_name_is_not_disarmed(make, empty_on_debian, name):
    place = make("")
    told = f"role {name} exists, and the pipeline did not create it"
    with (
        tried(empty_on_debian, f"create role {name} login password 'theirs'") as connection,
        pytest.raises(SettingError, match=told),
    ):
        ownership.check(connection, place.dev, place.here)


def test_the_roles_that_we_make_are_marked_and_altered_ever_after(make, prod_url, server_settings):
    place = make(prod_url)
    place.run()
    comment = "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = %(name)s"
    with admin(server_settings, prod_url) as owner:
        for name in OURS:
            assert one(owner, comment, name=name) == (permissions.MADE,)
        (told,) = one(owner, comment, name="app_read")
        assert ledger.identity(place.dev) in told
        owner.execute("alter role app_read createdb")
        owner.execute("alter table transformed.one owner to app_read")
        assert place.run()["outcome"] == "unchanged"


def test_the_login_of_another_prod_on_the_server_is_not_ours(make, prod_url, server_settings):
    first = make(prod_url)
    first.run()
    with database_beside(server_settings) as url:
        second = make(url)
        refused(second, "another installation created for its own prod on this server")
        second.here = replace(second.here, app_role="app_second")
        assert second.run()["outcome"] == "published"
    assert first.run()["outcome"] == "unchanged"
    with admin(server_settings) as connection:
        connection.execute("drop role app_second")


# The command line


def command(place: Place, *words: str) -> subprocess.CompletedProcess:
    settings = {"DATABASE_URL": place.here.database_url, "STASH": "off"}
    settings |= {"PROD_DATABASE_URL": place.here.prod_database_url}
    settings |= {"DATA_DIR": str(place.here.data_dir)}
    return subprocess.run(
        [ROOT / "run_pipeline.sh", "publish", *words],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def test_a_night_ends_with_78_and_one_sentence(make, prod_url):
    first, second = make(prod_url), make(prod_url)
    first.run()
    done = command(second)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "is the copy of another dev database" in done.stdout
    assert "without saying" not in done.stdout
    done = command(second, "--take-over")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "published" in done.stdout
    done = command(first, "--resume", "--take-over")
    assert done.returncode == 64
