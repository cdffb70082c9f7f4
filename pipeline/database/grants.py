"""The privileges on a relation: read before it is replaced, granted on what replaces it."""

from collections.abc import Iterable
from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.database.queries import scalar, trusted


class Grant(NamedTuple):
    """One privilege of one role, on a relation or a column of it."""

    privilege: str
    column: str | None
    grantee: str  # quoted where necessary
    is_grantable: bool


_OTHERS = """
select
    relation, privilege_type, attname,
    case grantee when 0 then 'public' else grantee::regrole::text end, is_grantable
from (
    select oid as relation, null::text as attname, relowner, acl.*
    from pg_class, aclexplode(relacl) as acl where oid = any(%(oids)s::oid[])
    union all
    select pg_class.oid, attname::text, relowner, acl.*
    from pg_class join pg_attribute on attrelid = pg_class.oid, aclexplode(attacl) as acl
    where pg_class.oid = any(%(oids)s::oid[]) and not attisdropped
) as granted
where grantee <> relowner
"""


def of_others(connection: psycopg.Connection, oids: Iterable[int]) -> dict[int, list[Grant]]:
    """The privileges of roles other than the owner on each of these relations."""
    granted: dict[int, list[Grant]] = {oid: [] for oid in oids}
    for relation, *grant in connection.execute(_OTHERS, {"oids": list(granted)}):
        granted[relation].append(Grant(*grant))
    return granted


def by_default(connection: psycopg.Connection, schema: str) -> list[Grant]:
    """The privileges that a table of ours would get if it were created in a schema.

    PostgreSQL applies a schema's default privileges to what is created there, not to what is moved
    there.
    """
    rows = connection.execute(
        """select privilege_type, null, case grantee when 0 then 'public'
            else grantee::regrole::text end, is_grantable
        from pg_default_acl, aclexplode(defaclacl)
        where pg_get_userbyid(defaclrole) = current_user and defaclobjtype = 'r'
            and defaclnamespace in (0, to_regnamespace(%s)) and grantee <> defaclrole""",
        [schema],
    )
    return [Grant(*row) for row in rows]


def give(connection: psycopg.Connection, name: sql.Identifier, grants: list[Grant]) -> None:
    """Replace the privileges of others on a relation by these.

    A privilege on a column that the relation does not have is omitted.
    """
    regclass = name.as_string(connection)
    oid = scalar(connection, "select %s::regclass::oid", [regclass])
    columns = {
        row[0]
        for row in connection.execute(
            "select attname from pg_attribute where attrelid = %s and not attisdropped", [oid]
        )
    }
    for grantee in {grant.grantee for grant in of_others(connection, [oid])[oid]}:
        connection.execute(
            sql.SQL("revoke all on {} from {}").format(name, sql.SQL(trusted(grantee)))
        )
    for privilege, column, grantee, is_grantable in grants:
        if column is None or column in columns:
            parts = [sql.SQL("grant"), sql.SQL(trusted(privilege))]
            parts += [sql.SQL("({})").format(sql.Identifier(column))] if column else []
            parts += [sql.SQL("on {} to {}").format(name, sql.SQL(trusted(grantee)))]
            parts += [sql.SQL("with grant option")] if is_grantable else []
            connection.execute(sql.SQL(" ").join(parts))
