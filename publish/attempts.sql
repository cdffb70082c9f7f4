-- What the application's role must be refused, however its session is set. Each statement is tried
-- over a connection of its own and rolled back; where one is allowed after all, it changes nothing
-- that could be seen. A title that audit.sql has too is excused by what is beyond our rights there.

-- making tables, views, functions and schemas, and renaming
create table transformed.audit ();
create view transformed.audit as select 1;
create function transformed.audit() returns int language sql as 'select 1';
create schema audit;
alter schema transformed rename to audit;

-- the application cannot make temporary tables
create temporary table audit ();

-- programs and files of the server
copy (select 1) to program 'true';
copy (select 1) to '/dev/null';
select pg_read_file('PG_VERSION');
select pg_ls_dir('.');
select lo_import('/dev/null');

-- the application can call nothing that touches large objects, files, WAL or locks
select lo_create(0);
select lo_from_bytea(0, '');
select pg_try_advisory_xact_lock(1);

-- the application can use no procedural language: no DO block
do 'begin end';

-- becoming another role
set local role :"owner";
set local role :"replicator";
set local session authorization :"replicator";

-- making and changing roles
create role audit;
alter role :"owner" login;
alter role :"app" superuser;
grant :"owner" to :"app";

-- passwords and settings of the server, samples of others' rows
select from pg_authid;
select from pg_hba_file_rules;
select from pg_statistic;
select from pg_largeobject;
select pg_reload_conf();

-- ending what other sessions do
select pg_cancel_backend(:'process'::int);
