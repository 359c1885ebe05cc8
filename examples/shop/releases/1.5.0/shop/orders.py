"""The orders, as the database keeps them."""

from typing import NamedTuple

import psycopg


class Order(NamedTuple):
    id: int
    item: str
    quantity: int
    note: str


def latest(connection: psycopg.Connection, limit: int = 50) -> list[Order]:
    rows = connection.execute("select id, item, quantity, note from orders order by id desc limit %s", (limit,))
    return [Order(*row) for row in rows]


def add(connection: psycopg.Connection, form) -> None:
    """Adds the order of a form. A ValueError says what is wrong with it."""
    item, quantity, note = read(form)
    values = "insert into orders (item, quantity, note) values (%s, %s, %s)"
    connection.execute(values, (item, quantity, note))


def read(form) -> tuple[str, int, str]:
    item = form.get("item", "").strip()
    if not 0 < len(item) <= 100:
        raise ValueError("an item has between 1 and 100 characters")
    quantity = form.get("quantity", "1")
    if not (quantity.isascii() and quantity.isdigit() and 1 <= int(quantity[:6]) <= 1000):
        raise ValueError("a quantity is a number from 1 to 1000")
    note = form.get("note", "").strip()
    if len(note) > 500:
        raise ValueError("a note has at most 500 characters")
    return item, int(quantity), note
