"""A push gateway of our own: from Matrix' notifications to APNs, FCM, Web Push and UnifiedPush. Loaded where it is
configured."""
