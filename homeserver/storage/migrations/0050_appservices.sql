-- How far each application service has been told, and the transaction that it has not acknowledged yet.

CREATE TABLE appservice_places (
    appservice_id TEXT PRIMARY KEY,
    position BIGINT NOT NULL,
    last_txn BIGINT NOT NULL,
    pending_up_to BIGINT
);
