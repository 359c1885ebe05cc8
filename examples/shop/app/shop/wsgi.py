"""The web application: `gunicorn shop.wsgi:app`."""

from flask import Flask, redirect, render_template, request, url_for

from shop import __version__, database, health, orders

app = Flask(__name__)


@app.get("/")
def index():
    with database.connect() as connection:
        return render_template("orders.html", orders=orders.latest(connection), version=__version__)


@app.post("/orders")
def add_order():
    try:
        with database.connect() as connection:
            orders.add(connection, request.form)
    except ValueError as error:
        return f"{error}\n", 400
    return redirect(url_for("index"), 303)


@app.get("/health")
def check_health():
    problem = health.problem()
    if problem is not None:
        return {"status": "failing", "version": __version__, "problem": problem}, 503
    return {"status": "ok", "version": __version__}
