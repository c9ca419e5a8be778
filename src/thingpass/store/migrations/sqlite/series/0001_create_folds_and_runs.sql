-- One row: how far the journal of thingpass.db has been folded into this file. It changes in the transaction
-- that writes the samples, which is what makes every sample arrive here exactly once.
CREATE TABLE progress (
    folded_through INTEGER NOT NULL, -- highest journal id
    folds          INTEGER NOT NULL, -- how many; the arrival number of the newest
    kept_from_ms   INTEGER           -- samples with an earlier time were dropped; NULL: none were
) STRICT;

INSERT INTO progress VALUES (0, 0, NULL);

-- What a fold wrote lies here until eight folds are settled into a run.
CREATE TABLE folds (
    arrival    INTEGER PRIMARY KEY, -- 1, 2, 3, ...
    week       INTEGER NOT NULL,    -- of arrival, by the server's clock
    arrived_ms INTEGER NOT NULL,
    samples    INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;

-- A block holds samples of neighbouring devices as they came. A device with many samples has blocks of its own.
CREATE TABLE fresh (
    arrival      INTEGER NOT NULL,
    first_device INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    last_device  INTEGER NOT NULL,
    block        BLOB NOT NULL, -- store.sqlite.fresh.encode_block
    PRIMARY KEY (arrival, first_device, part)
) STRICT, WITHOUT ROWID;

-- Each run is a table run_NUMBER of its own, written once from its first device to its last, and dropped as a
-- whole. Columns of such a table: store.sqlite.runs.
CREATE TABLE runs (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    level         INTEGER NOT NULL, -- 1: settled from folds; n + 1: merged from runs of level n
    week          INTEGER NOT NULL, -- of arrival; runs of different weeks stay apart
    first_arrival INTEGER NOT NULL,
    last_arrival  INTEGER NOT NULL,
    arrived_by_ms INTEGER NOT NULL, -- when the newest of its samples arrived
    first_ts      INTEGER NOT NULL, -- least and greatest time of the samples, by the devices' clocks
    last_ts       INTEGER NOT NULL,
    chunks        INTEGER NOT NULL,
    samples       INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL, -- of the chunks alone
    complete      INTEGER NOT NULL  -- 0 while it is still being written
) STRICT;

-- The newest value of each key among what is settled; folds and memory may hold newer ones.
CREATE TABLE latest (
    device INTEGER NOT NULL,
    key    TEXT NOT NULL,
    ts_ms  INTEGER NOT NULL,
    value  BLOB NOT NULL, -- store.samples.encode_value
    PRIMARY KEY (device, key)
) STRICT, WITHOUT ROWID;

-- Devices that are gone: samples of theirs that were still in the journal are not folded.
CREATE TABLE removed_devices (
    number INTEGER PRIMARY KEY
) STRICT;
