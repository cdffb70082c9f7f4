"""Whose the roles of prod are: the pipeline alters only roles that it created.

A role that the pipeline created has a comment that says so. Earlier versions left no comment; their
roles are recognised by what those versions set.
"""

from typing import NamedTuple

import psycopg

from pipeline.database.queries import scalar
from pipeline.errors import SettingError
from pipeline.prod import permissions
from pipeline.settings import Settings

_ROLE = """
select
    coalesce(shobj_description(role.oid, 'pg_authid'), ''),
    exists (
        select from pg_catalog.pg_shdepend
        where refclassid = 'pg_authid'::regclass and refobjid = role.oid and deptype = 'o'
            and not exists (
                select from pg_catalog.pg_class
                where dbid = current.oid and classid = 'pg_class'::regclass
                    and pg_class.oid = objid and relnamespace = to_regnamespace('transformed')
            )
    ),
    exists (
        select from pg_catalog.pg_auth_members
        where roleid = to_regrole(%(reader)s) and member = role.oid
    ),
    exists (
        select from pg_catalog.pg_db_role_setting
        where setrole = role.oid and setdatabase = 0
            and setconfig @> array['search_path=transformed', 'default_transaction_read_only=on']
    ),
    exists (
        select from pg_catalog.pg_shdepend
        where refclassid = 'pg_authid'::regclass and refobjid = to_regrole(%(reader)s)
            and dbid not in (0, current.oid)
    )
from pg_catalog.pg_roles as role, pg_catalog.pg_database as current
where rolname = %(role)s and datname = current_database()
"""


class _Role(NamedTuple):
    """What shows whose a role is."""

    comment: str
    owns_objects: bool  # other than tables of the pipeline
    can_read: bool  # is a member of the readers
    is_of_earlier_version: bool  # has the settings that earlier versions made
    is_used_elsewhere: bool  # another prod on this server, whose application may use this login

    @property
    def is_marked(self) -> bool:
        return self.comment.startswith((permissions.MADE, permissions.FORMERLY_MADE))


def check(connection: psycopg.Connection, here: Settings, dev_id: str, take_over: bool) -> None:
    """Make sure that the pipeline created the roles that it will alter. Raises SettingError."""
    app, reader = _role(connection, here.app_role), _role(connection, permissions.READER)
    # Once the readers are marked, no roles of an earlier version are left.
    is_marked = reader is not None and reader.is_marked
    is_old = bool(
        app
        and app.can_read
        and app.is_of_earlier_version
        and not app.owns_objects
        and not is_marked
    )
    for name in (permissions.OWNER, permissions.READER):
        role = _role(connection, name)
        if role and not (role.is_marked or is_old or _is_used_here(connection, name)):
            raise SettingError(
                f"role {name} exists, and the pipeline did not create it; prod was not touched",
                "the pipeline needs this role name for itself: rename that role, move prod to "
                f"another server, or, if the role is the pipeline's: comment on role {name} is "
                f"'{permissions.MADE}'",
            )
    if app and (problem := _problem(connection, here, app, is_old, dev_id, take_over)):
        raise SettingError(
            f"APP_ROLE={here.app_role} names a role that {problem}; prod was not touched",
            "set APP_ROLE to a name that no role has yet: the pipeline creates the login and "
            "manages its password",
        )


def _problem(
    connection: psycopg.Connection,
    here: Settings,
    app: _Role,
    is_old: bool,
    dev_id: str,
    take_over: bool,
) -> str:
    """Why the application's role must not be altered; empty if it may."""
    if app.owns_objects:
        return "owns objects"
    if app.is_marked:
        of_none = (permissions.MADE, permissions.FORMERLY_MADE)  # which name no installation
        is_of_other = dev_id not in app.comment and app.comment not in of_none
        if is_of_other and app.is_used_elsewhere and not take_over:
            return "another installation created for its own prod on this server"
        return ""
    # A role that we cannot alter anyway is an administrator's, who allows it to read.
    is_lent = app.can_read and not permissions.manages(connection, here.app_role)
    return "" if is_old or is_lent else "exists, and the pipeline did not create it"


def _role(connection: psycopg.Connection, name: str) -> _Role | None:
    row = connection.execute(_ROLE, {"role": name, "reader": permissions.READER}).fetchone()
    return _Role(*row) if row else None


def _is_used_here(connection: psycopg.Connection, role: str) -> bool:
    """Whether a role owns schema transformed, or has rights on it: an earlier version's work."""
    return scalar(
        connection,
        """select exists (
            select from pg_catalog.pg_namespace
            where nspname = 'transformed' and (
                nspowner = to_regrole(%(role)s)
                or exists (select from aclexplode(nspacl) where grantee = to_regrole(%(role)s))
            )
        )""",
        {"role": role},
    )
