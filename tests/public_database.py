"""A small prod for the tests of its permissions, on a server of the tests' own."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from servers import PASSWORD

from pipeline import database
from pipeline import embedded as postgres
from pipeline.prod import audit, login, permissions
from pipeline.prod.audit import Check
from pipeline.settings import Settings

TABLES = """
create schema transformed;
create table transformed.counties (county_fips text constraint counties_pkey primary key);
create table transformed.data_status_facts (kind text, name text);
create view transformed.data_status with (security_invoker = true) as
    select * from transformed.data_status_facts;
insert into transformed.counties values ('01001');
insert into transformed.data_status_facts values ('table', 'counties');
"""


class Public:
    """A prod: `connection` is of the role that replicates, `admin` of the server's superuser."""

    def __init__(self, here: Settings, url: str, admin_url: str):
        self.here, self.url = here, url
        self.connection = database.connect_to(url, "PROD_DATABASE_URL")
        self.admin = psycopg.connect(admin_url, autocommit=True)

    def replicate(self) -> permissions.Rights:
        """Permissions as a night writes them, and the tables if there are none."""
        rights = permissions.prepare(self.connection, self.here)
        with self.connection.transaction():
            if not self.connection.execute("select to_regnamespace('transformed')").fetchone()[0]:
                if rights.owner:
                    self.connection.execute(f"set local role {rights.owner}")
                self.connection.execute(TABLES)
                self.connection.execute("reset role")
            permissions.apply(self.connection, self.here, rights)
        return rights

    def audit(self, result: str) -> dict[str, Check]:
        """The checks with a result, by what they assert."""
        checks = audit.run(self.here, self.connection)
        return {check.what: check for check in checks if check.result == result}

    def log_in(self, **words: str) -> psycopg.Connection:
        """A session of the application."""
        info = self.connection.info
        words = {"user": self.here.app_role, "password": login.password(self.here)} | words
        words = info.get_parameters() | {"host": info.host, "port": str(info.port)} | words
        return psycopg.connect(**words, autocommit=True)

    def close(self) -> None:
        self.connection.close()
        self.admin.close()


@contextmanager
def embedded(settings: Settings, folder: Path) -> Iterator[Public]:
    """On an embedded server of its own."""
    here = dataclasses.replace(settings, data_dir=folder)
    folder.mkdir()
    postgres.ensure_running(here, lambda text: None)
    with psycopg.connect(postgres.url(here), autocommit=True) as dev:
        dev.execute("create database prod template template0")
    public = Public(here, postgres.url(here, "prod"), postgres.url(here, "prod"))
    yield public
    public.close()
    postgres.stop(here)


@contextmanager
def managed(
    settings: Settings, folder: Path, admin_url: str, name: str, attributes: str
) -> Iterator[Public]:
    """On somebody else's server: a role of some attributes that owns a database, both so named."""
    url = f"{admin_url.rpartition('@')[2]}".replace("/postgres", f"/{name}")
    before, _, _ = admin_url.partition("@")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(
            psycopg.sql.SQL(f"create role {name} login {attributes} password {{}}").format(PASSWORD)
        )
        admin.execute(f"create database {name} owner {name} template template0 encoding 'UTF8'")
    scheme, _, words = before.partition("://")
    address = f"{scheme}://{name}:{words.partition(':')[2]}@{url}"
    here = dataclasses.replace(
        settings,
        data_dir=folder,
        prod_database_url=address,
        app_role=f"app_of_{name}",
    )
    public = Public(here, address, f"{before}@{url}")
    try:
        yield public
    finally:
        public.close()
        _forget(admin_url, here, name)


def _forget(admin_url: str, here: Settings, name: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")
        roles = [here.app_role, name, permissions.READER, permissions.OWNER]
        for role in roles:
            if admin.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                admin.execute(f"drop owned by {role} cascade")
                admin.execute(f"drop role {role}")
