"""The orders, as the database keeps them."""

from typing import NamedTuple

import psycopg


class Order(NamedTuple):
    id: int
    item: str
    quantity: int


def latest(connection: psycopg.Connection, limit: int = 50) -> list[Order]:
    rows = connection.execute("select id, item, quantity from orders order by id desc limit %s", (limit,))
    return [Order(*row) for row in rows]


def add(connection: psycopg.Connection, form) -> None:
    """Adds the order of a form. A ValueError says what is wrong with it."""
    item, quantity = read(form)
    connection.execute("insert into orders (item, quantity) values (%s, %s)", (item, quantity))


def read(form) -> tuple[str, int]:
    item = form.get("item", "").strip()
    if not 0 < len(item) <= 100:
        raise ValueError("an item has between 1 and 100 characters")
    quantity = form.get("quantity", "1")
    if not (quantity.isascii() and quantity.isdigit() and 1 <= int(quantity[:6]) <= 1000):
        raise ValueError("a quantity is a number from 1 to 1000")
    return item, int(quantity)
