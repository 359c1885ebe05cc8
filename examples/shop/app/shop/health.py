"""Whether the shop can do its work: asked by the deployment before it sends users, and by monitoring."""

import psycopg

from shop import database


def problem() -> str | None:
    """What is wrong; none if the database answers and has our table."""
    try:
        with database.connect() as connection:
            connection.execute("select 1 from orders limit 1")
    except psycopg.Error as error:
        # The first line only, and never the URL: it holds a password.
        return f"the database: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None
