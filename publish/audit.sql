-- What must be so in prod. Each statement finds what is not: its name, and whether it is in our
-- power to change it (what is not, on a server that others manage, is said and fails nothing).
-- Words in :"…" and :'…' as in permissions.sql; `manages`: whether our role may alter the
-- application's.

-- the application's role has none of the powers a role can be made with
select rolname::text, true
from pg_catalog.pg_roles
where oid = :'app'::regrole
    and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls);

-- the application's role is a member of the readers alone, and they of nothing
select format('%s in %s', member.rolname, granted.rolname), true
from pg_catalog.pg_roles as member join pg_catalog.pg_roles as granted
    on pg_has_role(member.oid, granted.oid, 'member') and granted.oid <> member.oid
where not member.rolsuper
    and (
        member.rolname = :'reader'
        or member.rolname = :'app' and granted.rolname <> :'reader'
    );

-- no other role can act as the application
select member.rolname::text, true
from pg_catalog.pg_roles as member
where not rolsuper and not rolcreaterole and rolname not in (:'app', :'replicator')
    and pg_has_role(member.oid, :'app'::regrole, 'member');

-- owner and readers cannot log in, and have no powers
select rolname::text, true
from pg_catalog.pg_roles
where oid in (:'owner'::regrole, :'reader'::regrole)
    and (
        rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls
    );

-- nobody but the replicator can act as the owner
select rolname::text, true
from pg_catalog.pg_roles
where not rolsuper and rolname not in (:'owner', :'replicator')
    and pg_has_role(oid, :'owner'::regrole, 'member');

-- the application and the readers own nothing, in any database
select pg_describe_object(classid, objid, objsubid), true
from pg_catalog.pg_shdepend
where refclassid = 'pg_authid'::regclass and deptype = 'o'
    and refobjid in (:'app'::regrole, :'reader'::regrole)
    and dbid in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
union all
select format('objects in database %s', datname), true
from pg_catalog.pg_shdepend join pg_catalog.pg_database on pg_database.oid = dbid
where refclassid = 'pg_authid'::regclass and deptype = 'o'
    and refobjid in (:'app'::regrole, :'reader'::regrole) and datname <> current_database();

-- the schema and all in it belong to its owner
select nspname::text, coalesce(pg_has_role(to_regrole(:'owner'), 'member'), :'manages'::boolean)
from pg_catalog.pg_namespace
where nspname = 'transformed' and pg_get_userbyid(nspowner) <> :'owner'
union all
select relname, coalesce(pg_has_role(to_regrole(:'owner'), 'member'), :'manages'::boolean)
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and pg_get_userbyid(relowner) <> :'owner';

-- there is nothing but the published tables and views
select format('%s %I.%I', 'relation', nspname, relname), true
from pg_catalog.pg_class
join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
where nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)'
    and (nspname <> 'transformed' or relkind not in ('r', 'p', 'v', 'm', 'i', 'I'))
    and not exists (
        select from pg_catalog.pg_depend
        where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype in ('e', 'i')
    )
union all
select format('schema %I', nspname), true
from pg_catalog.pg_namespace
where nspname not in ('pg_catalog', 'information_schema', 'public', 'transformed')
    and nspname !~ '^pg_(toast|temp)'
    and not exists (
        select from pg_catalog.pg_depend
        where classid = 'pg_namespace'::regclass and objid = pg_namespace.oid and deptype = 'e'
    )
union all
select format('function %s', pg_proc.oid::regprocedure), true
from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
where nspname not in ('pg_catalog', 'information_schema')
    and not exists (
        select from pg_catalog.pg_depend
        where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e'
    )
union all
select format('type %s', pg_type.oid::regtype), true
from pg_catalog.pg_type join pg_catalog.pg_namespace on pg_namespace.oid = typnamespace
where nspname not in ('pg_catalog', 'information_schema') and typtype in ('d', 'e', 'r')
    and not exists (
        select from pg_catalog.pg_depend
        where classid = 'pg_type'::regclass and objid = pg_type.oid and deptype = 'e'
    )
union all
select 'large objects', true
where exists (select from pg_catalog.pg_largeobject_metadata);

-- the application can read every published table and view
select relname::text, true
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and relkind in ('r', 'p', 'v', 'm')
    and not (
        has_schema_privilege(:'app', relnamespace, 'usage')
        and has_table_privilege(:'app', oid, 'select')
    )
union all
select 'there is no schema transformed', true
where to_regnamespace('transformed') is null;

-- the application cannot write any table, view or column
select format('%s on %s', privilege, pg_class.oid::regclass), pg_has_role(relowner, 'usage')
from pg_catalog.pg_class
join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace,
    unnest(
        array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']
        || case when current_setting('server_version_num')::int >= 170000
            then array['maintain'] end
    ) as privilege
where pg_class.oid <> 'pg_settings'::regclass and relkind in ('r', 'p', 'v', 'm', 'f')
    and case when privilege in ('insert', 'update', 'references')
        then has_any_column_privilege(:'app', pg_class.oid, privilege)
        else has_table_privilege(:'app', pg_class.oid, privilege) end;

-- the application cannot create anything in the database, a schema or a tablespace
select format('database %I', datname), pg_has_role(datdba, 'usage')
from pg_catalog.pg_database
where datname = current_database() and has_database_privilege(:'app', oid, 'create')
union all
select format('schema %I', nspname), pg_has_role(nspowner, 'usage')
from pg_catalog.pg_namespace
where has_schema_privilege(:'app', oid, 'create')
union all
select format('tablespace %I', spcname), pg_has_role(spcowner, 'usage')
from pg_catalog.pg_tablespace
where has_tablespace_privilege(:'app', oid, 'create')
    and oid <> (select dattablespace from pg_catalog.pg_database where datname = current_database());

-- the application cannot make temporary tables
select datname::text, pg_has_role(datdba, 'usage')
from pg_catalog.pg_database
where datname = current_database() and has_database_privilege(:'app', oid, 'temporary');

-- the application sees no schema but transformed
select nspname::text, pg_has_role(nspowner, 'usage')
from pg_catalog.pg_namespace
where nspname not in ('transformed', 'pg_catalog', 'information_schema')
    and nspname !~ '^pg_(toast|temp)' and has_schema_privilege(:'app', oid, 'usage');

-- the public has nothing on the database, its schemas and tables
select format('%s on database %I', lower(privilege_type), datname), pg_has_role(datdba, 'usage')
from pg_catalog.pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
where datname = current_database() and grantee = 0
union all
select format('%s on schema %I', lower(privilege_type), nspname), pg_has_role(nspowner, 'usage')
from pg_catalog.pg_namespace, aclexplode(nspacl)
where grantee = 0 and nspname not in ('pg_catalog', 'information_schema')
union all
select format('%s on %s', lower(privilege_type), given.oid::regclass), pg_has_role(owner, 'usage')
from (
    select pg_class.oid, relnamespace, relowner as owner, acl.*
    from pg_catalog.pg_class, aclexplode(relacl) as acl
    union all
    select pg_class.oid, relnamespace, relowner, acl.*
    from pg_catalog.pg_class join pg_catalog.pg_attribute on attrelid = pg_class.oid,
        aclexplode(attacl) as acl
) as given
join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
where grantee = 0 and nspname not in ('pg_catalog', 'information_schema');

-- readers cannot pass on what they were given
select given.name, true
from (
    select format('schema %I', nspname) as name, acl.*
    from pg_catalog.pg_namespace, aclexplode(nspacl) as acl
    union all
    select pg_class.oid::regclass::text, acl.*
    from pg_catalog.pg_class, aclexplode(relacl) as acl
    union all
    select format('a column of %s', attrelid::regclass), acl.*
    from pg_catalog.pg_attribute, aclexplode(attacl) as acl
    union all
    select format('database %I', datname), acl.*
    from pg_catalog.pg_database, aclexplode(datacl) as acl
) as given
where is_grantable and grantee in (:'app'::regrole, :'reader'::regrole)
union all
select format('membership in %s', roleid::regrole), true
from pg_catalog.pg_auth_members
where admin_option and member in (:'app'::regrole, :'reader'::regrole);

-- what comes into the schema can be read by readers, and gives nothing else to anybody
select format('tables of %s cannot be read', nspowner::regrole), true
from pg_catalog.pg_namespace
where nspname = 'transformed' and not exists (
    select from pg_catalog.pg_default_acl, aclexplode(defaclacl)
    where defaclrole = nspowner and defaclnamespace = pg_namespace.oid and defaclobjtype = 'r'
        and grantee = :'reader'::regrole and privilege_type = 'SELECT'
)
union all
select
    format(
        '%s to %s', lower(privilege_type),
        case grantee when 0 then 'public' else grantee::regrole::text end
    ),
    pg_has_role(defaclrole, 'usage')
from pg_catalog.pg_default_acl, aclexplode(defaclacl)
where grantee in (0, :'app'::regrole)
    or grantee = :'reader'::regrole and privilege_type <> 'SELECT'
union all
select format('functions of %s can be called by the public', nspowner::regrole), true
from pg_catalog.pg_namespace
where nspname = 'transformed' and not exists (
    select from pg_catalog.pg_default_acl
    where defaclrole = nspowner and defaclnamespace = 0 and defaclobjtype = 'f'
);

-- no function runs with the rights of its owner
select pg_proc.oid::regprocedure::text, pg_has_role(proowner, 'usage')
from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
where prosecdef and nspname not in ('pg_catalog', 'information_schema');

-- the application can call no function but PostgreSQL's own
select pg_proc.oid::regprocedure::text, pg_has_role(proowner, 'usage')
from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
where nspname not in ('pg_catalog', 'information_schema')
    and has_function_privilege(:'app', pg_proc.oid, 'execute');

-- views run with the rights of who reads them
select pg_class.oid::regclass::text, pg_has_role(relowner, 'usage')
from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'v' and nspname not in ('pg_catalog', 'information_schema')
    and not coalesce(reloptions && array['security_invoker=true', 'security_invoker=on'], false);

-- the application's sessions are read-only by default
select coalesce(value, 'not set'), :'manages'::boolean
from (values (true)) as one left join (
    select substr(setting, strpos(setting, '=') + 1) as value
    from pg_catalog.pg_db_role_setting, unnest(setconfig) as setting
    where setrole = :'app'::regrole and setting like 'default\_transaction\_read\_only=%'
) as configured on true
where value is distinct from 'on';

-- the application's queries, locks and transactions are limited to seconds
select format('%s is %s', name, coalesce(value, 'not set')), :'manages'::boolean
from pg_catalog.pg_settings left join (
    select split_part(setting, '=', 1) as known, substr(setting, strpos(setting, '=') + 1) as value
    from pg_catalog.pg_db_role_setting, unnest(setconfig) as setting
    where setrole = :'app'::regrole
) as configured on known = name
where name in (
    'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'
) and coalesce(value, '') !~ '^[1-9][0-9]?s$';

-- the application's search_path is the published schema alone
select coalesce(value, 'not set'), :'manages'::boolean
from (values (true)) as one left join (
    select substr(setting, strpos(setting, '=') + 1) as value
    from pg_catalog.pg_db_role_setting, unnest(setconfig) as setting
    where setrole = :'app'::regrole and setting like 'search\_path=%'
) as configured on true
where value is distinct from 'transformed';

-- the application's connections are limited, with ten left for others
select format('%s of %s', rolconnlimit, current_setting('max_connections')), :'manages'::boolean
from pg_catalog.pg_roles
where oid = :'app'::regrole
    and rolconnlimit not between 1 and greatest(1, current_setting('max_connections')::int - 10);

-- the application's password is kept as SCRAM, and owner and readers have none
select rolname::text, :'manages'::boolean
from pg_catalog.pg_authid
where rolname = :'app' and coalesce(rolpassword, '') not like 'SCRAM-SHA-256$%'
    or rolname in (:'owner', :'reader') and rolpassword is not null
union all
select 'password_encryption', :'manages'::boolean
where current_setting('password_encryption') <> 'scram-sha-256';

-- pg_hba.conf lets nobody in without a password or a certificate, nor without TLS from everywhere
select format('line %s', line_number), true
from pg_catalog.pg_hba_file_rules
where error is not null
    or auth_method = 'trust'
    or type <> 'local' and auth_method in ('password', 'md5', 'ident')
    or type = 'host' and address in ('0.0.0.0', '::', 'all') and auth_method <> 'reject';

-- the application has none of the roles that PostgreSQL brings along
select rolname::text, true
from pg_catalog.pg_roles
where rolname ~ '^pg_' and pg_has_role(:'app', oid, 'member');

-- there is no untrusted language, foreign server, or way out to other servers and files
select format('language %I', lanname), pg_has_role(lanowner, 'usage')
from pg_catalog.pg_language
where not lanpltrusted and lanname not in ('internal', 'c')
union all
select format('server %I', srvname), pg_has_role(srvowner, 'usage')
from pg_catalog.pg_foreign_server
union all
select format('extension %I', extname), pg_has_role(extowner, 'usage')
from pg_catalog.pg_extension
where extname in ('dblink', 'adminpack', 'file_fdw', 'postgres_fdw');

-- the application can call nothing that touches large objects, files, WAL or locks
select pg_proc.oid::regprocedure::text, pg_has_role(proowner, 'usage')
from pg_catalog.pg_proc
where pronamespace = 'pg_catalog'::regnamespace
    and proname ~ '^(lo_.*|lo(read|write)|pg_(try_)?advisory_.*|pg_notify|pg_logical_emit_message|pg_(read|stat)_(binary_)?file|pg_ls_.*)$'
    and has_function_privilege(:'app', oid, 'execute');

-- the application can use no procedural language: no DO block
select lanname::text, pg_has_role(lanowner, 'usage')
from pg_catalog.pg_language
where lanname not in ('internal', 'c', 'sql') and has_language_privilege(:'app', oid, 'usage');

-- the application may change no setting of the server's administrator
select parname, true
from pg_catalog.pg_parameter_acl, aclexplode(paracl)
where grantee in (:'app'::regrole, :'reader'::regrole);

-- the application cannot enter any other database
select datname::text, :'embedded'::boolean
from pg_catalog.pg_database
where datallowconn and datname <> current_database()
    and has_database_privilege(:'app', oid, 'connect');
