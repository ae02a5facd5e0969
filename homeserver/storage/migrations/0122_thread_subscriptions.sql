-- Which threads somebody follows (MSC4306). `unsubscribed_at`: the place in the stream of the last unsubscription, up to
-- which no event subscribes automatically again.
CREATE TABLE thread_subscriptions (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    is_subscribed BIGINT NOT NULL,
    is_automatic BIGINT NOT NULL,
    unsubscribed_at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, root_id)
);
CREATE INDEX thread_subscriptions_news ON thread_subscriptions (user_id, position);
