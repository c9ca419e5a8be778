ALTER TABLE device_profiles ADD COLUMN description TEXT;
ALTER TABLE device_profiles ADD COLUMN image TEXT;
ALTER TABLE device_profiles ADD COLUMN type TEXT NOT NULL DEFAULT 'DEFAULT';
ALTER TABLE device_profiles ADD COLUMN transport_type TEXT NOT NULL DEFAULT 'DEFAULT';
ALTER TABLE device_profiles ADD COLUMN transport_json TEXT;
ALTER TABLE device_profiles ADD COLUMN provision_type TEXT NOT NULL DEFAULT 'DISABLED';
ALTER TABLE device_profiles ADD COLUMN provision_key TEXT;
ALTER TABLE device_profiles ADD COLUMN provision_secret TEXT;
ALTER TABLE device_profiles ADD COLUMN provision_pattern TEXT;
ALTER TABLE device_profiles ADD COLUMN provision_creates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device_profiles ADD COLUMN default_firmware_id TEXT;
ALTER TABLE device_profiles ADD COLUMN default_software_id TEXT;
ALTER TABLE device_profiles ADD COLUMN data_json TEXT;
ALTER TABLE device_profiles ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- Devices that ask for an identity name a key and nothing else, so it says the tenant too.
CREATE UNIQUE INDEX device_profiles_provision_key ON device_profiles (provision_key)
    WHERE provision_key IS NOT NULL;
