-- The data of a package is a file beside this database; data_name is its name. All data_ columns are set together.
CREATE TABLE ota_packages (
    id                   TEXT NOT NULL PRIMARY KEY,
    created_at_ms        INTEGER NOT NULL,
    tenant_id            TEXT NOT NULL REFERENCES tenants (id),
    profile_id           TEXT REFERENCES device_profiles (id), -- NULL: for devices of every profile
    kind                 TEXT NOT NULL,
    title                TEXT NOT NULL,
    version              TEXT NOT NULL,
    tag                  TEXT,
    url                  TEXT,
    additional_info_json TEXT,
    data_name            TEXT,
    data_file_name       TEXT,
    data_content_type    TEXT,
    data_size            INTEGER,
    data_algorithm       TEXT,
    data_checksum        TEXT,
    -- title, case-folded: the text search looks for a part of it
    search_text          TEXT NOT NULL,
    UNIQUE (tenant_id, title, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX ota_packages_by_creation ON ota_packages (tenant_id, created_at_ms, id);
CREATE INDEX ota_packages_by_profile ON ota_packages (profile_id) WHERE profile_id IS NOT NULL;

ALTER TABLE devices ADD COLUMN firmware_id TEXT REFERENCES ota_packages (id);
ALTER TABLE devices ADD COLUMN software_id TEXT REFERENCES ota_packages (id);

CREATE INDEX devices_by_firmware ON devices (firmware_id) WHERE firmware_id IS NOT NULL;
CREATE INDEX devices_by_software ON devices (software_id) WHERE software_id IS NOT NULL;

-- Devices whose package has changed, or may have: what they are told has still to be compared and put right.
-- AUTOINCREMENT: a device that changes again gets a new id, so that what was begun for the old one does not end it.
CREATE TABLE ota_changes (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    device_number INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (device_number, kind)
) STRICT;

-- The same for all devices of a profile that have no package of their own, in the order of their numbers.
CREATE TABLE ota_rollouts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    profile_id    TEXT NOT NULL REFERENCES device_profiles (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    package_id    TEXT,                       -- what was assigned; NULL: it was taken away
    created_at_ms INTEGER NOT NULL,
    devices       INTEGER,                    -- how many there are to look at; NULL: not counted yet
    after_number  INTEGER NOT NULL DEFAULT 0, -- the last device that was looked at
    done          INTEGER NOT NULL DEFAULT 0, -- how many were looked at
    told          INTEGER NOT NULL DEFAULT 0, -- how many of them had to be told something
    ended_at_ms   INTEGER
) STRICT;

CREATE INDEX ota_rollouts_open ON ota_rollouts (id) WHERE ended_at_ms IS NULL;
CREATE INDEX ota_rollouts_by_profile ON ota_rollouts (profile_id);

-- Triggers note what is to do in the transaction that makes it necessary: whoever changes a device or a profile,
-- nothing is forgotten, not by a crash either.
CREATE TRIGGER ota_device_added_firmware AFTER INSERT ON devices
WHEN NEW.firmware_id IS NOT NULL
    OR (SELECT default_firmware_id FROM device_profiles WHERE id = NEW.profile_id) IS NOT NULL
BEGIN
    INSERT INTO ota_changes (device_number, kind, created_at_ms)
    VALUES (NEW.number, 'FIRMWARE', CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;

CREATE TRIGGER ota_device_added_software AFTER INSERT ON devices
WHEN NEW.software_id IS NOT NULL
    OR (SELECT default_software_id FROM device_profiles WHERE id = NEW.profile_id) IS NOT NULL
BEGIN
    INSERT INTO ota_changes (device_number, kind, created_at_ms)
    VALUES (NEW.number, 'SOFTWARE', CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;

CREATE TRIGGER ota_device_changed_firmware AFTER UPDATE OF firmware_id, profile_id ON devices
WHEN OLD.firmware_id IS NOT NEW.firmware_id OR OLD.profile_id IS NOT NEW.profile_id
BEGIN
    DELETE FROM ota_changes WHERE device_number = NEW.number AND kind = 'FIRMWARE';
    INSERT INTO ota_changes (device_number, kind, created_at_ms)
    VALUES (NEW.number, 'FIRMWARE', CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;

CREATE TRIGGER ota_device_changed_software AFTER UPDATE OF software_id, profile_id ON devices
WHEN OLD.software_id IS NOT NEW.software_id OR OLD.profile_id IS NOT NEW.profile_id
BEGIN
    DELETE FROM ota_changes WHERE device_number = NEW.number AND kind = 'SOFTWARE';
    INSERT INTO ota_changes (device_number, kind, created_at_ms)
    VALUES (NEW.number, 'SOFTWARE', CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;

-- A rollout that has not ended is replaced: the new one looks at every device again.
CREATE TRIGGER ota_profile_changed_firmware AFTER UPDATE OF default_firmware_id ON device_profiles
WHEN OLD.default_firmware_id IS NOT NEW.default_firmware_id
BEGIN
    DELETE FROM ota_rollouts WHERE profile_id = NEW.id AND kind = 'FIRMWARE' AND ended_at_ms IS NULL;
    INSERT INTO ota_rollouts (profile_id, kind, package_id, created_at_ms)
    VALUES (NEW.id, 'FIRMWARE', NEW.default_firmware_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;

CREATE TRIGGER ota_profile_changed_software AFTER UPDATE OF default_software_id ON device_profiles
WHEN OLD.default_software_id IS NOT NEW.default_software_id
BEGIN
    DELETE FROM ota_rollouts WHERE profile_id = NEW.id AND kind = 'SOFTWARE' AND ended_at_ms IS NULL;
    INSERT INTO ota_rollouts (profile_id, kind, package_id, created_at_ms)
    VALUES (NEW.id, 'SOFTWARE', NEW.default_software_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
