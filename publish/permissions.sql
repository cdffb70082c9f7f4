-- Who may do what in prod: idempotent, applied in every replication, only where something differs.
--
-- :"…" and :'…' are parameters, which pipeline/prod/permissions.py fills in; psql knows them, too. So
-- does it know \gexec, which executes each value of a query's result as a statement. On a managed
-- server an administrator can do what the pipeline has no right to, by running this once in prod:
--   psql -v owner=prod_owner -v creator=prod_owner -v reader=prod_read -v app=app_read \
--        -v replicator=ROLE -v embedded=off -v dedicated=on \
--        -v mark='Made by the open-data pipeline' -f publish/permissions.sql
-- What others created in the database stays theirs: if there is anything (`dedicated` is off), rights
-- of the public are revoked only on our own objects.
--
-- The first line of each comment completes the message "could not …" if a statement below it fails.

-- create the roles: an owner and a group of readers that cannot log in, the application's login
select format('create role %I %s', name, attribute)
from (values (:'owner', 'nologin'), (:'reader', 'nologin'), (:'app', 'login')) as role (name, attribute)
where name not in (select rolname from pg_catalog.pg_roles)
\gexec

-- mark the roles as the pipeline's
-- (Earlier versions wrote "county hazards" in place of "open-data"; that comment stays.)
select format('comment on role %I is %L', rolname, wanted)
from (values
    (:'owner', 'Made by the open-data pipeline'),
    (:'reader', 'Made by the open-data pipeline'),
    (:'app', :'mark')
) as role (name, wanted)
join pg_catalog.pg_roles on rolname = name
where
    replace(shobj_description(oid, 'pg_authid'), 'county hazards', 'open-data')
    is distinct from wanted
\gexec

-- remove attributes that the roles must not have
-- (That such a role is a superuser is a mistake of others, which the audit reports.)
select format('alter role %I nocreatedb nocreaterole', rolname)
from pg_catalog.pg_roles
where rolname in (:'owner', :'reader', :'app') and (rolcreatedb or rolcreaterole)
\gexec
select format('alter role %I noreplication nobypassrls', rolname)
from pg_catalog.pg_roles
where rolname in (:'owner', :'reader', :'app') and (rolreplication or rolbypassrls)
\gexec
select format('alter role %I nologin', rolname)
from pg_catalog.pg_roles
where rolname in (:'owner', :'reader') and rolcanlogin
\gexec

-- let the application log in, 20 times at once
select format('alter role %I login inherit connection limit %s', rolname, wanted)
from pg_catalog.pg_roles,
    (select greatest(1, least(20, current_setting('max_connections')::int - 10)) as wanted) as room
where rolname = :'app' and not (rolcanlogin and rolinherit and rolconnlimit = wanted)
\gexec

-- set the memberships of the roles, and remove all others
select
    format(
        'revoke %I from %I %s', granted.rolname, member.rolname,
        case when current_setting('server_version_num')::int >= 160000
            then format('granted by %I cascade', grantor.rolname) else 'cascade' end
    )
from pg_catalog.pg_auth_members as held
join pg_catalog.pg_roles as granted on granted.oid = held.roleid
join pg_catalog.pg_roles as member on member.oid = held.member
left join pg_catalog.pg_roles as grantor on grantor.oid = held.grantor
where member.rolname in (:'owner', :'reader', :'app')
    and (member.rolname <> :'app' or granted.rolname <> :'reader' or held.admin_option)
\gexec
select format('grant %I to %I', :'reader', :'app')
where not pg_has_role(:'app', :'reader', 'usage')
\gexec
select format('grant %I to %I', :'owner', :'replicator')
where not pg_has_role(:'replicator', :'owner', 'usage')
\gexec

-- set the defaults of the application's sessions, and no others
alter role :"app" reset all;
select format('alter role %I in database %I reset all', :'app', current_database())
\gexec
select format('alter role %I set %I to %L', :'app', role.name, role.value)
from (values
    ('search_path', 'transformed'),
    ('default_transaction_read_only', 'on'),
    ('statement_timeout', '5s'),
    ('lock_timeout', '2s'),
    ('idle_in_transaction_session_timeout', '10s'),
    ('transaction_timeout', '30s'),  -- since 17
    ('work_mem', '16MB'),
    ('temp_file_limit', '256MB')  -- which the role itself cannot lift
) as role (name, value)
where role.name in (select name from pg_catalog.pg_settings)
\gexec

-- allow the owner to create objects in the database, and readers to connect
select format('grant %s on database %I to %I', privilege, datname, rolname)
from (values
    (:'owner', 'CONNECT'), (:'owner', 'CREATE'), (:'reader', 'CONNECT')
) as wanted (grantee, privilege)
join pg_catalog.pg_roles on rolname = grantee
join pg_catalog.pg_database on datname = current_database()
where not exists (
    select from aclexplode(datacl) as acl
    where acl.grantee = pg_roles.oid and acl.privilege_type = privilege
)
\gexec

-- keep everybody else out of the database
select
    format(
        'revoke %s on database %I from %s cascade', privilege_type, datname,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
where datname = current_database()
    and (
        grantee = 0 and :'dedicated'::boolean or grantee = to_regrole(:'app')
        or grantee = to_regrole(:'reader') and (privilege_type <> 'CONNECT' or is_grantable)
    )
\gexec

-- keep readers out of the other databases of the embedded server; logins of others may still enter
-- (Databases of others stay as they are: the audit names those that are open to all.)
select format('grant connect on database %I to %I', datname, rolname)
from pg_catalog.pg_database, pg_catalog.pg_roles
where :'embedded'::boolean
    and datname in ('dev', 'postgres') and datname <> current_database() and datallowconn
    and has_database_privilege('public', pg_database.oid, 'connect')
    and rolcanlogin and not rolsuper and not pg_has_role(rolname, :'reader', 'member')
\gexec
select
    format(
        'revoke connect on database %I from %s cascade', datname,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
where :'embedded'::boolean
    and datname <> current_database() and privilege_type = 'CONNECT'
    and (
        grantee = 0 and datname in ('dev', 'postgres', 'template1')
        or grantee in (to_regrole(:'app'), to_regrole(:'reader'))
    )
\gexec

-- give the schema and all its objects to their owner
select format('alter schema transformed owner to %I', :'owner')
from pg_catalog.pg_namespace
where nspname = 'transformed' and pg_get_userbyid(nspowner) <> :'owner'
\gexec
select
    format(
        'alter %s %s owner to %I',
        case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
        oid::regclass, :'owner'
    )
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed')
    and relkind in ('r', 'p', 'v', 'm') and pg_get_userbyid(relowner) <> :'owner'
\gexec

-- switch off row-level security, which would hide rows
select format('alter table %s disable row level security, no force row level security', oid::regclass)
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and relkind in ('r', 'p')
    and (relrowsecurity or relforcerowsecurity)
\gexec

-- allow readers to read the tables of the schema, now and in the future
select format('grant usage on schema transformed to %I', :'reader')
from pg_catalog.pg_namespace
where nspname = 'transformed' and not exists (
    select from aclexplode(nspacl) where grantee = to_regrole(:'reader') and privilege_type = 'USAGE'
)
\gexec
select format('grant select on %s to %I', oid::regclass, :'reader')
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and relkind in ('r', 'p', 'v', 'm')
    and not exists (
        select from aclexplode(relacl)
        where grantee = to_regrole(:'reader') and privilege_type = 'SELECT'
    )
\gexec
select
    format(
        'alter default privileges for role %I in schema transformed grant select on tables to %I',
        :'creator', :'reader'
    )
from pg_catalog.pg_namespace
where nspname = 'transformed'
\gexec

-- give nobody other rights on future objects
alter default privileges for role :"creator" revoke execute on functions from public;
select
    format(
        'alter default privileges for role %I %s revoke %s on %s from %s',
        pg_get_userbyid(defaclrole), 'in schema ' || defaclnamespace::regnamespace, privilege_type,
        case defaclobjtype
            when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas'
        end,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from (
    select defaclrole, nullif(defaclnamespace, 0) as defaclnamespace, defaclobjtype, acl.*
    from pg_catalog.pg_default_acl, aclexplode(defaclacl) as acl
) as given
where grantee = 0 and defaclrole in (to_regrole(:'owner'), to_regrole(:'creator'))
    or grantee = to_regrole(:'app')
    or grantee = to_regrole(:'reader') and (
        privilege_type <> 'SELECT' or is_grantable or defaclobjtype <> 'r' or defaclnamespace is null
    )
\gexec

-- revoke all other rights on schemas
select
    format(
        'revoke %s on schema %I from %s cascade', privilege_type, nspname,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
where nspname not in ('pg_catalog', 'information_schema', 'transformed_old')
    and nspname !~ '^pg_(toast|temp)'
    and (
        grantee = 0 and (
            nspname = 'transformed'
            or :'dedicated'::boolean and (
                nspname = 'public'
                or exists (
                    select from pg_catalog.pg_depend
                    where classid = 'pg_namespace'::regclass and objid = pg_namespace.oid
                        and deptype = 'e'
                )
            )
        )
        or grantee = to_regrole(:'app')
        or grantee = to_regrole(:'reader')
        and (nspname <> 'transformed' or privilege_type <> 'USAGE' or is_grantable)
    )
\gexec

-- revoke all other rights on tables, views, sequences and their columns
-- (Not on those that a replication is about to drop: it and autovacuum of one of them would wait for
-- each other.)
select
    format(
        'revoke %s%s on %s %s from %s cascade', privilege_type,
        ' (' || quote_ident(attname) || ')', case relkind when 'S' then 'sequence' else 'table' end,
        relation, case grantee when 0 then 'public' else grantee::regrole::text end
    )
from (
    select pg_class.oid::regclass as relation, relnamespace, relkind, null as attname, acl.*
    from pg_catalog.pg_class, aclexplode(relacl) as acl
    union all
    select pg_class.oid::regclass, relnamespace, relkind, attname, acl.*
    from pg_catalog.pg_class join pg_catalog.pg_attribute on attrelid = pg_class.oid,
        aclexplode(attacl) as acl
) as given
join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
where (nspname not in ('pg_catalog', 'information_schema') or grantee <> 0)
    and nspname <> 'transformed_old'
    and (
        grantee = 0 and (nspname = 'transformed' or :'dedicated'::boolean)
        or grantee = to_regrole(:'app')
        or grantee = to_regrole(:'reader') and (
            nspname <> 'transformed' or privilege_type <> 'SELECT' or is_grantable
            or attname is not null
        )
    )
\gexec

-- revoke the right to call functions other than PostgreSQL's own, and all other rights on functions
select
    format(
        'revoke execute on routine %s from %s cascade', pg_proc.oid::regprocedure,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace,
    aclexplode(coalesce(proacl, acldefault('f', proowner)))
where (nspname not in ('pg_catalog', 'information_schema') and grantee = 0 and :'dedicated'::boolean)
    or grantee in (to_regrole(:'app'), to_regrole(:'reader'))
\gexec

-- keep the public from large objects, files, notifications, and from the locks that replications use
select
    case when proname like '%advisory%'
        then format('grant execute on function %s to %I', pg_proc.oid::regprocedure, :'owner') end,
    format(
        'revoke execute on function %s from %s cascade', pg_proc.oid::regprocedure,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
where pronamespace = 'pg_catalog'::regnamespace
    and (grantee = 0 and :'dedicated'::boolean or grantee in (to_regrole(:'app'), to_regrole(:'reader')))
    and proname ~ '^(lo_.*|lo(read|write)|pg_(try_)?advisory_.*|pg_notify|pg_logical_emit_message|pg_(read|stat)_(binary_)?file|pg_ls_.*)$'
\gexec

-- keep the public from procedural languages: no DO block
select
    format(
        'revoke usage on language %I from %s cascade', lanname,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_language, aclexplode(coalesce(lanacl, acldefault('l', lanowner)))
where lanpltrusted
    and (grantee = 0 and :'dedicated'::boolean or grantee in (to_regrole(:'app'), to_regrole(:'reader')))
    and lanname not in ('internal', 'c', 'sql')
\gexec

-- revoke rights on settings of the server
select
    format(
        'revoke %s on parameter %s from %s cascade', privilege_type, parname,
        case grantee when 0 then 'public' else grantee::regrole::text end
    )
from pg_catalog.pg_parameter_acl, aclexplode(paracl)
where grantee in (to_regrole(:'app'), to_regrole(:'reader'))
\gexec
