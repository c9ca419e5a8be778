-- Calls to devices that are kept until they have ended (persistent RPC).
CREATE TABLE rpc_calls (
    id                   TEXT NOT NULL PRIMARY KEY,
    device_number        INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    created_at_ms        INTEGER NOT NULL,
    expires_at_ms        INTEGER NOT NULL,
    request_id           INTEGER NOT NULL, -- what the device sees
    oneway               INTEGER NOT NULL,
    method               TEXT NOT NULL,
    params_json          TEXT NOT NULL,
    retries              INTEGER NOT NULL,
    attempts             INTEGER NOT NULL,
    status               TEXT NOT NULL,
    live                 INTEGER NOT NULL, -- may still be sent or answered
    response             BLOB,
    additional_info_json TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX rpc_calls_by_device ON rpc_calls (device_number, created_at_ms, id);
CREATE UNIQUE INDEX rpc_calls_live ON rpc_calls (device_number, request_id) WHERE live = 1;
CREATE INDEX rpc_calls_by_end ON rpc_calls (live, expires_at_ms);
