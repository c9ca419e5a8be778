CREATE TABLE customers (
    id                   TEXT NOT NULL PRIMARY KEY,
    created_at_ms        INTEGER NOT NULL,
    tenant_id            TEXT NOT NULL REFERENCES tenants (id),
    title                TEXT NOT NULL,
    email                TEXT,
    phone                TEXT,
    country              TEXT,
    state                TEXT,
    city                 TEXT,
    address              TEXT,
    address2             TEXT,
    zip                  TEXT,
    additional_info_json TEXT,
    version              INTEGER NOT NULL,
    search_text          TEXT NOT NULL, -- the title, case-folded
    UNIQUE (tenant_id, title)
) STRICT, WITHOUT ROWID;

-- A customer's users go with it. Its devices stay, and are nobody's: the store says so when it goes.
ALTER TABLE users ADD COLUMN customer_id TEXT REFERENCES customers (id) ON DELETE CASCADE;
ALTER TABLE users ADD COLUMN phone TEXT;
ALTER TABLE users ADD COLUMN additional_info_json TEXT;

CREATE INDEX users_by_tenant ON users (tenant_id, created_at_ms);
CREATE INDEX users_by_customer ON users (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX devices_by_customer ON devices (customer_id, created_at_ms, number) WHERE customer_id IS NOT NULL;

-- Who has the token of this digest may choose the user's password, once.
CREATE TABLE activations (
    user_id       TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_sha256  TEXT NOT NULL UNIQUE,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Devices that said that they may be claimed, by whom knows the secret.
CREATE TABLE claims (
    device_number INTEGER NOT NULL PRIMARY KEY REFERENCES devices (number) ON DELETE CASCADE,
    secret_salt   BLOB NOT NULL,
    secret_sha256 BLOB NOT NULL, -- of the salt and the secret
    expires_at_ms INTEGER NOT NULL
) STRICT;
