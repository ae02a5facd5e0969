"""Application services: the side of the server that bridges talk to. Spec: Application Service API."""
