-- What waits for other servers and must not be lost: messages between devices, and news of devices.

CREATE TABLE outgoing_edus (
    destination TEXT NOT NULL,
    number BIGINT NOT NULL,
    edu TEXT NOT NULL,
    PRIMARY KEY (destination, number)
);
