"""Makes the tables that are missing. It may run twice."""

import os

import psycopg

with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3) as connection:
    connection.execute(
        "create table if not exists entries (id serial primary key, name text not null, words text not null)"
    )
