-- What the server knows of a device by itself: one short row, because many are written at once. A device
-- that was never heard of has none.
CREATE TABLE device_states (
    device_number      INTEGER PRIMARY KEY REFERENCES devices (number) ON DELETE CASCADE,
    active             INTEGER NOT NULL,
    connected          INTEGER NOT NULL, -- 1 in a database that was not closed: the connection ended with the server
    changed_at_ms      INTEGER, -- when `active` changed last
    connected_at_ms    INTEGER,
    disconnected_at_ms INTEGER,
    activity_at_ms     INTEGER,
    alarm_at_ms        INTEGER
) STRICT;

-- When the server was last known to run: what is still connected in device_states ended then, if it crashed.
CREATE TABLE server_life (
    alive_at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO server_life VALUES (0);

-- Appended in the order of time, so that the oldest have the lowest ids; AUTOINCREMENT, because readers
-- page by id.
CREATE TABLE device_events (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    device_number INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    at_ms         INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    sentence      TEXT NOT NULL,
    details_json  TEXT NOT NULL,
    payload       BLOB
) STRICT;

CREATE INDEX device_events_by_device ON device_events (device_number, id);
