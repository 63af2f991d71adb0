-- Schema `forebay`: what Forebay keeps in PostgreSQL besides the mapped tables. May be run again at any time.
-- Run by `forebayctl db setup` in one transaction, or by hand with psql -1 -f forebay.sql. PostgreSQL 13 or newer.

create schema if not exists forebay;
comment on schema forebay is 'Forebay: write-behind cache. Layout version 1';

create table if not exists forebay.objects (
    ns text not null,
    id text not null,
    kind text not null check (kind in ('string', 'hash')),
    value bytea,
    fields jsonb,
    version bigint not null default 0,
    expires_at timestamptz,
    updated_at timestamptz not null default now(),
    primary key (ns, id)
);
create index if not exists objects_expires_at on forebay.objects (expires_at) where expires_at is not null;
comment on table forebay.objects is
    'Objects of namespaces without a table of their own. Written by Forebay, which owns it; reading is free for all';
comment on column forebay.objects.id is
    'The key without its namespace. A key that is not UTF-8, holds a zero byte or starts with \x is stored as \x and '
    'the hexadecimal digits of all its bytes';
comment on column forebay.objects.value is
    'The bytes of a string; for a hash whose names and values are not all UTF-8 text, its flat encoding: for each '
    'field u16 length of the name, u32 length of the value (little-endian), name, value';
comment on column forebay.objects.fields is 'A hash as {"field": "value"}; null where it had to go to value';
comment on column forebay.objects.version is 'Version in the cache, for the reader''s use';
comment on column forebay.objects.expires_at is 'When the object expires; null or infinity = never';

create table if not exists forebay.checkpoint (
    cluster uuid not null,
    part int not null,
    ns text not null,
    history bigint not null default 0,
    ver bigint not null default 0,
    consistent bool not null default false,
    xid xid8,
    owner text,
    at timestamptz not null default now(),
    primary key (cluster, part, ns)
) with (fillfactor = 50);
comment on table forebay.checkpoint is
    'How far each feed (partition, namespace) of a cluster has been written here. Moved by compare-and-swap in the '
    'transaction that writes the rows: never change it by hand';
comment on column forebay.checkpoint.consistent is
    'True where the rows up to ver are a consistent prefix of the feed, false inside a scan';
comment on column forebay.checkpoint.xid is 'Transaction of the last batch: its low 32 bits are xmin of its rows';

create table if not exists forebay.dead_letter (
    cluster uuid not null,
    ns text not null,
    id text not null,
    part int not null,
    version bigint not null,
    kind text not null check (kind in ('none', 'string', 'hash')),
    value bytea,
    sqlstate text not null,
    message text not null,
    at timestamptz not null default now(),
    expires_at timestamptz,
    primary key (cluster, ns, id)
);
alter table forebay.dead_letter add column if not exists expires_at timestamptz;
comment on table forebay.dead_letter is
    'Objects that PostgreSQL refused; the newest refused version of each. A newer version that is written takes its row '
    'away in the same transaction. See forebayctl deadletter';
comment on column forebay.dead_letter.expires_at is 'When the refused version expires; null = never';

create table if not exists forebay.conflict_log (
    n bigint generated always as identity primary key,
    cluster uuid not null,
    ns text not null,
    id text not null,
    version bigint not null,
    policy text not null,
    outcome text not null,
    old jsonb,
    ours jsonb,
    theirs jsonb,
    at timestamptz not null default now()
);
create index if not exists conflict_log_object on forebay.conflict_log (cluster, ns, id, version);
create index if not exists conflict_log_open on forebay.conflict_log (cluster, ns) where outcome = 'open';
comment on table forebay.conflict_log is
    'Rows changed both by Forebay and by SQL, and what was made of them. Forebay only adds rows: delete old ones at will';
comment on column forebay.conflict_log.version is 'The version of Forebay that met another row than it was based on';
comment on column forebay.conflict_log.outcome is
    'ours, theirs, merged, deleted (the row was gone, the object went too), reinserted, superseded (a newer version exists '
    'and meets the row itself); open = not resolved yet; unheard = resolved, as a newer version was written, but the sync '
    'process ended before it heard how';
comment on column forebay.conflict_log.old is
    'What the change of Forebay was based on, as far as that is known: the columns it did not change, of value = row. '
    'Where theirs differs from old, SQL changed the column. null = unknown';

create table if not exists forebay.outbox (
    n bigint generated always as identity primary key,
    cluster uuid,
    ns text not null,
    id text,
    op text not null,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default now()
);
comment on table forebay.outbox is
    'Changes made by SQL to mapped tables with external = trigger, until Forebay has taken notice. '
    'id null = the whole namespace';

-- Rights: the role of the sync processes needs, besides these, select, insert, update and delete on each mapped table:
--   create role forebay_sync login password '...';
--   grant usage on schema forebay to forebay_sync;
--   grant select, insert, update, delete on all tables in schema forebay to forebay_sync;
-- A role forebay_sync that exists gets its rights on this schema here, where the one who runs this may give them.
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'forebay_sync') then
        grant usage on schema forebay to forebay_sync;
        grant select, insert, update, delete on all tables in schema forebay to forebay_sync;
        grant usage on all sequences in schema forebay to forebay_sync;
    end if;
end
$$;
