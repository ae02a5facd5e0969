-- Work that operators asked for and that outlives the request: it is begun again after a restart.
-- status: scheduled, active, complete or failed. params and result are JSON objects.
CREATE TABLE background_tasks (
    task_id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    status TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    changed_ts BIGINT NOT NULL,
    params TEXT NOT NULL,
    result TEXT NOT NULL,
    error TEXT
);
CREATE INDEX background_tasks_by_resource ON background_tasks (resource_id, action);
CREATE INDEX background_tasks_by_change ON background_tasks (changed_ts);
