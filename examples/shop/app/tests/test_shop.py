"""The shop against a real database: `python -m unittest discover -t . tests`, in the folder of a release."""

import os
import threading
import unittest

import psycopg

from shop import __version__, database, migrate
from shop.wsgi import app

from tests.cluster import Cluster


class ShopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cluster = cls.enterClassContext(Cluster())
        os.environ["DATABASE_URL"] = cluster.url

    def setUp(self):
        with database.connect() as connection:
            connection.execute("drop table if exists orders, migrations")
        self.client = app.test_client()

    def migrate(self):
        with database.connect() as connection:
            return migrate.migrate(connection)

    def page(self) -> str:
        return self.client.get("/").get_data(as_text=True)

    def order(self, **form):
        return self.client.post("/orders", data=form)

    def test_migrations_run_once(self):
        names = [file.name for file in migrate.migrations()]
        self.assertEqual(self.migrate(), names)
        self.assertEqual(self.migrate(), [])

    def test_migrations_started_together_wait_for_each_other(self):
        applied, threads = [], []
        for _ in range(4):
            threads.append(threading.Thread(target=lambda: applied.extend(self.migrate())))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(applied), [file.name for file in migrate.migrations()])

    def test_a_migration_that_fails_leaves_nothing(self):
        with database.connect() as connection:
            connection.execute("create table orders (something_else integer)")
        with self.assertRaises(psycopg.Error):
            self.migrate()
        with database.connect() as connection:
            self.assertEqual(connection.execute("select count(*) from migrations").fetchone(), (0,))

    def test_an_older_release_goes_on_taking_orders(self):
        self.migrate()
        with database.connect() as connection:
            connection.execute("insert into orders (item, quantity) values ('old', 1)")
        self.assertIn("old", self.page())

    def test_orders_are_listed_as_text(self):
        self.migrate()
        self.assertIn("No orders yet", self.page())
        self.assertEqual(self.order(item="<b>tea</b>", quantity="3").status_code, 303)
        self.assertIn("3 × &lt;b&gt;tea&lt;/b&gt;", self.page())
        self.assertIn(f"Shop {__version__}", self.page())

    def test_orders_that_make_no_sense_are_refused(self):
        self.migrate()
        for form in [{}, {"item": " "}, {"item": "x" * 101}]:
            self.assertEqual(self.order(**form).status_code, 400, form)
        for quantity in ["0", "-1", "many", "1001", "9" * 5000, "²", ""]:
            self.assertEqual(self.order(item="tea", quantity=quantity).status_code, 400, quantity)
        self.assertIn("No orders yet", self.page())

    def test_health_is_that_of_the_database(self):
        self.assertEqual(self.client.get("/health").status_code, 503, "there is no table yet")
        self.migrate()
        answer = self.client.get("/health")
        self.assertEqual((answer.status_code, answer.json), (200, {"status": "ok", "version": __version__}))

    def test_health_shows_no_password(self):
        url = os.environ["DATABASE_URL"]
        self.addCleanup(os.environ.__setitem__, "DATABASE_URL", url)
        os.environ["DATABASE_URL"] = "postgresql://shop:hunter2@127.0.0.1:1/shop"
        answer = self.client.get("/health")
        self.assertEqual(answer.status_code, 503)
        self.assertNotIn("hunter2", answer.get_data(as_text=True))


if __name__ == "__main__":
    unittest.main()
