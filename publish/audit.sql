-- What is expected of prod. Each statement finds exceptions: their names, and whether we have the
-- power to change them (what others manage is reported, and fails nothing). Parameters as in
-- permissions.sql; `manages`: whether our role may alter the application's.

-- the application's role has no special attributes, such as superuser
select rolname::text, true
from pg_catalog.pg_roles
where oid = :'app'::regrole
    and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls);

-- the application's role is a member of the readers only; readers and owner are members of no role
select format('%s in %s', member.rolname, granted.rolname), true
from pg_catalog.pg_roles as member join pg_catalog.pg_roles as granted
    on pg_has_role(member.oid, granted.oid, 'member') and granted.oid <> member.oid
where not member.rolsuper
    and (
        member.rolname in (:'reader', :'owner')
        or member.rolname = :'app' and granted.rolname <> :'reader'
    );

-- no other role can act as the application
select member.rolname::text, true
from pg_catalog.pg_roles as member
where not rolsuper and not rolcreaterole and rolname not in (:'app', :'replicator')
    and pg_has_role(member.oid, :'app'::regrole, 'member');

-- only the replicator can add members to the application, the readers or the owner
select
    format('%s for %s', member.rolname, granted.rolname),
    :'embedded'::boolean or not member.rolcreaterole
from pg_catalog.pg_auth_members as held
join pg_catalog.pg_roles as member on member.oid = held.member
join pg_catalog.pg_roles as granted on granted.oid = held.roleid
where held.admin_option and granted.rolname in (:'app', :'reader', :'owner')
    and not member.rolsuper and member.rolname <> :'replicator';

-- every login that can read has a limited number of connections
select rolname::text, :'embedded'::boolean or not rolcreaterole
from pg_catalog.pg_roles
where rolcanlogin and not rolsuper and rolname <> :'replicator' and rolconnlimit < 0
    and pg_has_role(oid, :'reader'::regrole, 'member');

-- owner and readers cannot log in, and have no special attributes
select rolname::text, true
from pg_catalog.pg_roles
where oid in (:'owner'::regrole, :'reader'::regrole)
    and (
        rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls
    );

-- only the replicator can act as the owner
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

-- the database and schema public belong to us, to an administrator or to the server
select what, pg_has_role(owner, 'usage')
from (
    select format('database %I', datname), datdba from pg_catalog.pg_database
    where datname = current_database() and :'dedicated'::boolean
    union all
    select 'schema public', nspowner from pg_catalog.pg_namespace where nspname = 'public'
) as object (what, owner)
join pg_catalog.pg_roles on pg_roles.oid = owner
where rolname not in ('pg_database_owner', :'replicator', :'owner')
    and not (rolsuper or rolcreatedb or rolcreaterole)
    and not exists (
        select from pg_catalog.pg_auth_members
        where roleid = owner and member = :'replicator'::regrole
    );

-- there is nothing but the published tables and views, and pipeline.copy_of
-- (PostgreSQL's own objects have oids below 16384; objects that belong to an extension, or to an
-- object that is listed itself, do not count.)
select pg_describe_object(object.classid, object.objid, 0), true
from (
    select 'pg_class'::regclass::oid, oid, relnamespace,
        relkind in ('r', 'p', 'v', 'm') as is_published
    from pg_catalog.pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all select 'pg_namespace'::regclass, oid, oid, true from pg_catalog.pg_namespace
    union all select 'pg_proc'::regclass, oid, pronamespace, false from pg_catalog.pg_proc
    union all select 'pg_type'::regclass, oid, typnamespace, false from pg_catalog.pg_type
    union all select 'pg_operator'::regclass, oid, oprnamespace, false from pg_catalog.pg_operator
    union all select 'pg_opclass'::regclass, oid, opcnamespace, false from pg_catalog.pg_opclass
    union all select 'pg_opfamily'::regclass, oid, opfnamespace, false from pg_catalog.pg_opfamily
    union all select 'pg_collation'::regclass, oid, collnamespace, false from pg_catalog.pg_collation
    union all select 'pg_conversion'::regclass, oid, connamespace, false from pg_catalog.pg_conversion
    union all select 'pg_ts_config'::regclass, oid, cfgnamespace, false from pg_catalog.pg_ts_config
    union all select 'pg_ts_dict'::regclass, oid, dictnamespace, false from pg_catalog.pg_ts_dict
    union all select 'pg_ts_parser'::regclass, oid, prsnamespace, false from pg_catalog.pg_ts_parser
    union all select 'pg_ts_template'::regclass, oid, tmplnamespace, false from pg_catalog.pg_ts_template
    union all select 'pg_statistic_ext'::regclass, oid, stxnamespace, true from pg_catalog.pg_statistic_ext
    union all select 'pg_trigger'::regclass, oid, 0, false from pg_catalog.pg_trigger where not tgisinternal
    union all select 'pg_rewrite'::regclass, oid, 0, false from pg_catalog.pg_rewrite where rulename <> '_RETURN'
    union all select 'pg_policy'::regclass, oid, 0, false from pg_catalog.pg_policy
    union all select 'pg_cast'::regclass, oid, 0, false from pg_catalog.pg_cast
    union all select 'pg_am'::regclass, oid, 0, false from pg_catalog.pg_am
    union all select 'pg_transform'::regclass, oid, 0, false from pg_catalog.pg_transform
    union all select 'pg_language'::regclass, oid, 0, false from pg_catalog.pg_language
    union all select 'pg_event_trigger'::regclass, oid, 0, false from pg_catalog.pg_event_trigger
    union all select 'pg_publication'::regclass, oid, 0, false from pg_catalog.pg_publication
    union all select 'pg_foreign_data_wrapper'::regclass, oid, 0, false from pg_catalog.pg_foreign_data_wrapper
    union all select 'pg_foreign_server'::regclass, oid, 0, false from pg_catalog.pg_foreign_server
    union all
    select 'pg_subscription'::regclass, oid, 0, false from pg_catalog.pg_subscription
    where subdbid = (select oid from pg_catalog.pg_database where datname = current_database())
) as object (classid, objid, namespace, is_published)
left join pg_catalog.pg_namespace on pg_namespace.oid = namespace
where objid >= 16384
    and coalesce(nspname, '') !~ '^pg_(toast|temp)' and objid is distinct from to_regnamespace('public')
    and not (nspname = 'transformed' and is_published)
    and not (
        nspname = 'pipeline' and to_regclass('pipeline.copy_of') is not null
        and objid in (to_regnamespace('pipeline'), to_regclass('pipeline.copy_of'))
    )
    and not exists (
        select from pg_catalog.pg_depend
        where (pg_depend.classid, pg_depend.objid) = (object.classid, object.objid)
            and deptype in ('e', 'i') and refobjid <> pg_depend.objid  -- as a partitioned table's
    )
union all
select 'large objects', true
where exists (select from pg_catalog.pg_largeobject_metadata);

-- published tables survive a crash of the server: none is unlogged
select pg_class.oid::regclass::text, true
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and relpersistence <> 'p';

-- no row of a published table is hidden by row-level security
select pg_class.oid::regclass::text, true
from pg_catalog.pg_class
where relnamespace = to_regnamespace('transformed') and (relrowsecurity or relforcerowsecurity);

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

-- the public has no rights on the database, its schemas and tables
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

-- readers cannot grant their rights to others
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

-- new objects in the schema can be read by readers, and give nobody other rights
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
    or defaclrole in (to_regrole(:'owner'), to_regrole(:'creator'))
    and grantee not in (defaclrole, :'reader'::regrole)
    and defaclobjtype in ('r', 'n') and privilege_type not in ('SELECT', 'USAGE')
union all
select format('functions of %s can be called by the public', nspowner::regrole), true
from pg_catalog.pg_namespace
where nspname = 'transformed' and not exists (
    select from pg_catalog.pg_default_acl
    where defaclrole = nspowner and defaclnamespace = 0 and defaclobjtype = 'f'
);

-- no function runs with the rights of its owner
select pg_proc.oid::regprocedure::text, pg_has_role(proowner, 'usage')
from pg_catalog.pg_proc
where prosecdef;

-- PostgreSQL's own objects belong to the role that created the server
select pg_describe_object(classid, objid, 0), pg_has_role(10::oid, 'usage')
from (
    select 'pg_class'::regclass::oid, oid, relowner from pg_catalog.pg_class
    union all select 'pg_proc'::regclass, oid, proowner from pg_catalog.pg_proc
    union all select 'pg_type'::regclass, oid, typowner from pg_catalog.pg_type
    union all select 'pg_operator'::regclass, oid, oprowner from pg_catalog.pg_operator
    union all select 'pg_language'::regclass, oid, lanowner from pg_catalog.pg_language
    union all
    select 'pg_namespace'::regclass, oid, nspowner from pg_catalog.pg_namespace
    where nspname in ('pg_catalog', 'information_schema')
) as object (classid, objid, owner)
where objid < 16384 and owner <> 10;

-- the public has only its initial rights on the server's own tables, columns and functions
-- (initdb recorded what it granted, except for information_schema, which it created later.)
with begun as (
    select classoid, objoid, objsubid, initprivs
    from pg_catalog.pg_init_privs where privtype = 'i'
), object as (
    select 'pg_class'::regclass as classid, pg_class.oid as objid, 0 as subid, relacl as acl,
        acldefault(cast(case relkind when 'S' then 's' else 'r' end as "char"), relowner) as made,
        relnamespace as namespace, relowner as owner
    from pg_catalog.pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select 'pg_class'::regclass, attrelid, attnum, attacl, null, relnamespace, relowner
    from pg_catalog.pg_attribute join pg_catalog.pg_class on pg_class.oid = attrelid
    where attacl is not null
    union all
    select 'pg_proc'::regclass, oid, 0, proacl, acldefault('f', proowner), pronamespace, proowner
    from pg_catalog.pg_proc
)
select
    format(
        '%s on %s to %s', lower(privilege_type), pg_describe_object(classid, objid, subid),
        case grantee when 0 then 'public' else grantee::regrole::text end
    ),
    pg_has_role(owner, 'usage')
from object left join begun
    on (classoid, objoid, objsubid) = (classid, objid, subid),
    aclexplode(acl) as now
where objid < 16384
    and (grantee in (0, :'reader'::regrole) or pg_has_role(:'app', grantee, 'member') and grantee <> owner)
    and not exists (
        select from aclexplode(coalesce(initprivs, made)) as before
        where (before.grantee, before.privilege_type) = (now.grantee, now.privilege_type)
            and before.is_grantable >= now.is_grantable
    )
    and not (
        namespace = 'information_schema'::regnamespace and initprivs is null and subid = 0
        and (grantee, privilege_type, is_grantable) = (0, 'SELECT', false)
    );

-- the application can call PostgreSQL's own functions only
select pg_proc.oid::regprocedure::text, pg_has_role(proowner, 'usage')
from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
where (nspname not in ('pg_catalog', 'information_schema') or pg_proc.oid >= 16384)
    and has_function_privilege(:'app', pg_proc.oid, 'execute');

-- views run with the rights of their reader
select pg_class.oid::regclass::text, pg_has_role(relowner, 'usage')
from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'v' and nspname not in ('pg_catalog', 'information_schema')
    and (
        has_table_privilege(:'app', pg_class.oid, 'select')
        or not exists (
            select from pg_catalog.pg_depend
            where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
        )
    )
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

-- the application's temporary files are limited
select name || ' is ' || coalesce(value, 'not set'), :'manages'::boolean and rolsuper
from (values ('temp_file_limit')) as wanted (name) cross join (
    select rolsuper from pg_catalog.pg_roles where rolname = current_user
) as ourselves left join (
    select split_part(setting, '=', 1) as known, substr(setting, strpos(setting, '=') + 1) as value
    from pg_catalog.pg_db_role_setting, unnest(setconfig) as setting
    where setrole = :'app'::regrole
) as configured on known = name
where coalesce(value, '-1') = '-1';

-- the application's search_path is the published schema only
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

-- pg_hba.conf requires a password or a certificate, and TLS in lines for all addresses
select format('line %s', line_number), true
from pg_catalog.pg_hba_file_rules
where error is not null
    or auth_method = 'trust'
    or type <> 'local' and auth_method in ('password', 'md5', 'ident')
    or type = 'host' and address in ('0.0.0.0', '::', 'all') and auth_method <> 'reject';

-- the application is a member of none of PostgreSQL's predefined roles
select rolname::text, true
from pg_catalog.pg_roles
where rolname ~ '^pg_' and pg_has_role(:'app', oid, 'member');

-- no other login has a predefined role, if it reads here, or if the role can write to the database or server
select format('%s in %s', member.rolname, granted.rolname), true
from pg_catalog.pg_roles as member join pg_catalog.pg_roles as granted
    on pg_has_role(member.oid, granted.oid, 'member') and granted.rolname ~ '^pg_'
where not member.rolsuper and not member.rolcreaterole and member.rolcanlogin
    and member.rolname not in (:'app', :'replicator')
    and has_database_privilege(member.oid, current_database(), 'connect')
    and (
        pg_has_role(member.oid, :'reader'::regrole, 'member')
        or granted.rolname in (
            'pg_write_all_data', 'pg_maintain', 'pg_execute_server_program', 'pg_write_server_files',
            'pg_read_server_files', 'pg_create_subscription', 'pg_signal_backend',
            'pg_signal_autovacuum_worker'
        )
    );

-- only the owner can write published tables, or create others beside them
select
    format(
        '%s on %s to %s', lower(privilege_type), given.relation,
        case grantee when 0 then 'public' else grantee::regrole::text end
    ),
    true
from (
    select pg_class.oid::regclass as relation, relowner, acl.*
    from pg_catalog.pg_class, aclexplode(relacl) as acl
    where relnamespace = to_regnamespace('transformed')
    union all
    select pg_class.oid::regclass, relowner, acl.*
    from pg_catalog.pg_class join pg_catalog.pg_attribute on attrelid = pg_class.oid,
        aclexplode(attacl) as acl
    where relnamespace = to_regnamespace('transformed')
) as given
where grantee <> relowner and privilege_type <> 'SELECT'
union all
select format('create on schema transformed to %s', grantee::regrole), true
from pg_catalog.pg_namespace, aclexplode(nspacl)
where nspname = 'transformed' and privilege_type = 'CREATE' and grantee not in (0, nspowner)
union all
select format('create on the database to %s', grantee::regrole), pg_has_role(datdba, 'usage')
from pg_catalog.pg_database, aclexplode(datacl)
where datname = current_database() and privilege_type = 'CREATE' and :'dedicated'::boolean
    and grantee not in (0, datdba, :'replicator'::regrole)
    and grantee is distinct from to_regrole(:'owner')
    and not exists (
        select from pg_catalog.pg_auth_members
        where roleid = grantee and member = :'replicator'::regrole
    );

-- there is no untrusted language, foreign server or other access to servers and files
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

-- the application cannot change settings of the server's administrator
select format('%s %s', lower(privilege_type), parname), true
from pg_catalog.pg_parameter_acl, aclexplode(paracl)
where grantee in (0, :'app'::regrole, :'reader'::regrole);

-- the application cannot enter any other database
select datname::text, :'embedded'::boolean
from pg_catalog.pg_database
where datallowconn and datname <> current_database()
    and has_database_privilege(:'app', oid, 'connect');
