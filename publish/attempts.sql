-- What the application's role must not be able to do, whatever its session sets. Each statement is
-- tried in a transaction of its own and rolled back; if it is allowed after all, nobody sees a change.
-- A title that is in audit.sql, too, is excused if we have no right to repair what is found there.

-- creating tables, views, functions and schemas, and renaming
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

-- creating and altering roles
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

-- ending the sessions of others
select pg_cancel_backend(:'process'::int);
