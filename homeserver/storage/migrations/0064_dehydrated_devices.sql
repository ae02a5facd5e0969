-- At most one for each user. `device_data` is what the client encrypted of the device, as JSON text.
CREATE TABLE dehydrated_devices (
    user_id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL,
    device_data TEXT NOT NULL
);
