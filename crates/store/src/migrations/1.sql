-- Settings of this store: secret (16 random bytes that key every hash), filter_bits.
CREATE TABLE setting (
    name TEXT PRIMARY KEY NOT NULL,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Environments and hosts as small integers, counted from 1 without holes.
CREATE TABLE environment (
    id INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE host (
    id INTEGER PRIMARY KEY NOT NULL,
    address BLOB NOT NULL UNIQUE
) STRICT;

-- How long each axis of each environment has been watched. Times are nanoseconds since 1970, UTC.
CREATE TABLE watch (
    environment INTEGER NOT NULL,
    axis INTEGER NOT NULL,
    watched_since INTEGER,
    last_watched INTEGER,
    baseline INTEGER NOT NULL,
    PRIMARY KEY (environment, axis)
) STRICT, WITHOUT ROWID;

-- What is remembered. host 0 is the row of the whole environment; it always exists beside the rows
-- of its hosts, and next to them.
CREATE TABLE seen (
    environment INTEGER NOT NULL,
    axis INTEGER NOT NULL,
    key BLOB NOT NULL,
    host INTEGER NOT NULL,
    first_seen INTEGER,
    first_seen_by INTEGER,
    last_seen INTEGER,
    told_at INTEGER,
    days BLOB NOT NULL,
    marks INTEGER NOT NULL,
    PRIMARY KEY (environment, axis, key, host)
) STRICT, WITHOUT ROWID;

-- Hashes of entries that came since their filter was built. Written in the transaction that writes
-- the entry, so that no crash can make a filter say "never" of something that is remembered.
CREATE TABLE unfiltered (
    hash INTEGER PRIMARY KEY NOT NULL
) STRICT;

-- Which build of each filter file is valid: the current one and, while one is being written, the
-- next.
CREATE TABLE filter (
    bits INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    build INTEGER,
    next INTEGER,
    PRIMARY KEY (bits, shard)
) STRICT, WITHOUT ROWID;

-- How far each input has been taken into this store.
CREATE TABLE committed (
    source TEXT PRIMARY KEY NOT NULL,
    record INTEGER NOT NULL,
    timestamp INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
