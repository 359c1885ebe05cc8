"""Connections to PostgreSQL, as DATABASE_URL says."""

import os

import psycopg

# A host that does not answer must not hold a worker for minutes.
CONNECT_TIMEOUT = 3


def connect() -> psycopg.Connection:
    """A new connection. Used as a context manager it commits, or rolls back after an error, and closes."""
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=CONNECT_TIMEOUT)
