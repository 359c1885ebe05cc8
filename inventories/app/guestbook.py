"""A guest book: small enough to read, real enough to be deployed. `gunicorn guestbook:app` serves it."""

import os

import psycopg
from flask import Flask, redirect, render_template_string, request, session

PAGE = """<!doctype html>
<title>Guest book</title>
<form method="post"><input name="name" value="{{ name }}" placeholder="Name" required>
<input name="words" placeholder="Words" required> <button>Sign</button></form>
{% for name, words in entries %}<p>{{ name }}: {{ words }}</p>{% endfor %}
"""

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


def database() -> psycopg.Connection:
    # A database that does not answer must not hold a worker for minutes.
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3)


@app.get("/")
def read():
    with database() as connection:
        entries = connection.execute("select name, words from entries order by id desc limit 50").fetchall()
    return render_template_string(PAGE, entries=entries, name=session.get("name", ""))


@app.post("/")
def sign():
    name, words = request.form["name"][:100], request.form["words"][:1000]
    with database() as connection:
        connection.execute("insert into entries (name, words) values (%s, %s)", (name, words))
    session["name"] = name
    return redirect("/", 303)


@app.get("/health")
def health():
    with database() as connection:
        connection.execute("select 1 from entries limit 1")
    return "ok\n"
