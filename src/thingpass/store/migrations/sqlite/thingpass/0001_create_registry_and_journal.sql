CREATE TABLE tenants (
    id            TEXT NOT NULL PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    title         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    authority     TEXT NOT NULL,
    email         TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT NOT NULL,
    first_name    TEXT,
    last_name     TEXT,
    enabled       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE device_profiles (
    id            TEXT NOT NULL PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    name          TEXT NOT NULL,
    is_default    INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX device_profiles_default ON device_profiles (tenant_id) WHERE is_default = 1;

-- AUTOINCREMENT: a number is never given twice, because series are kept under it after the device is gone,
-- until they have been cleared away.
CREATE TABLE devices (
    number               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                   TEXT NOT NULL UNIQUE,
    created_at_ms        INTEGER NOT NULL,
    tenant_id            TEXT NOT NULL REFERENCES tenants (id),
    profile_id           TEXT NOT NULL REFERENCES device_profiles (id),
    name                 TEXT NOT NULL,
    label                TEXT,
    customer_id          TEXT,
    additional_info_json TEXT,
    version              INTEGER NOT NULL,
    -- name and label, case-folded, in one text: the text search looks for a part of it
    search_text          TEXT NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;

CREATE INDEX devices_by_creation ON devices (tenant_id, created_at_ms, number);
CREATE INDEX devices_by_name ON devices (tenant_id, name COLLATE NOCASE, number);
CREATE INDEX devices_by_profile ON devices (profile_id);

-- Not unique by device: a device may hold several, such as the old and the new certificate in a renewal.
CREATE TABLE credentials (
    id                TEXT NOT NULL PRIMARY KEY,
    created_at_ms     INTEGER NOT NULL,
    device_id         TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    kind              TEXT NOT NULL,
    credentials_id    TEXT NOT NULL UNIQUE,
    credentials_value TEXT,
    version           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX credentials_by_device ON credentials (device_id, created_at_ms);

CREATE TABLE attributes (
    device_number INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    scope         TEXT NOT NULL,
    key           TEXT NOT NULL,
    value         BLOB NOT NULL, -- store.samples.encode_value
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (device_number, scope, key)
) STRICT, WITHOUT ROWID;

-- One row for each batch of samples that was committed at once and is not yet folded into series.db.
-- Ids are given by the program and are never used twice, not even after the table was emptied: series.db
-- remembers the highest one that it has.
CREATE TABLE journal (
    id       INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    batch    BLOB NOT NULL -- store.sqlite.journal.encode_batch
) STRICT;

-- Written by the readiness check, to see whether writing works.
CREATE TABLE write_check (
    checked_at_ms INTEGER NOT NULL,
    padding       BLOB NOT NULL -- as much as a batch: on a disk that is nearly full a single page may still fit
) STRICT;

INSERT INTO write_check VALUES (0, x'');

-- Devices whose series are still to be cleared away.
CREATE TABLE removed_devices (
    number INTEGER PRIMARY KEY
) STRICT;
