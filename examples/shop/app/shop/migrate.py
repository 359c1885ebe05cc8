"""`python -m shop.migrate` brings the database up to what this release needs, and says what it did.

A migration is a file NUMBER_name.sql in `migrations`. Each runs once, in a transaction of its own, and is then noted in
the table `migrations`. Two that are started at the same time wait for each other; run again, there is nothing to do.
Migrations of a newer release are left alone, so that an older one can run beside it.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg

from shop import database

# Any number will do, as long as all releases take the same one.
LOCK = 0x73686F70


def main() -> None:
    with database.connect() as connection:
        for name in migrate(connection):
            print(f"applied {name}")
        print("the database is up to date")


def migrate(connection: psycopg.Connection) -> list[str]:
    """Applies what is missing; the names of what was."""
    connection.autocommit = True
    connection.execute("select pg_advisory_lock(%s)", (LOCK,))
    try:
        connection.execute(
            "create table if not exists migrations ("
            " number integer primary key, name text not null, applied timestamptz not null default now())"
        )
        known = {number for (number,) in connection.execute("select number from migrations")}
        missing = [file for file in migrations() if number(file) not in known]
        for file in missing:
            apply(connection, file)
        return [file.name for file in missing]
    finally:
        connection.execute("select pg_advisory_unlock(%s)", (LOCK,))


def migrations() -> list[Traversable]:
    found = [file for file in files("shop").joinpath("migrations").iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=number)


def number(file: Traversable) -> int:
    return int(file.name.split("_")[0])


def apply(connection: psycopg.Connection, file: Traversable) -> None:
    with connection.transaction():
        connection.execute(file.read_text(encoding="utf-8"))
        connection.execute("insert into migrations (number, name) values (%s, %s)", (number(file), file.name))


if __name__ == "__main__":
    main()
