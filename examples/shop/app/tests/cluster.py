"""A PostgreSQL of its own for the tests: made in a temporary folder, reached over a socket in it, gone at the end.

It needs the server's programs (Debian: `apt install postgresql`) and a user other than root. TEST_DATABASE_URL names a
database that is there already instead; the tests empty it.
"""

import glob
import os
import shutil
import subprocess
import tempfile


class Cluster:
    def __enter__(self) -> "Cluster":
        self.folder = None
        self.url = os.environ.get("TEST_DATABASE_URL")
        if self.url is None:
            self.folder = tempfile.mkdtemp(prefix="shop-tests-")
            self.data = os.path.join(self.folder, "data")
            run("initdb", "--auth=trust", "--username=shop", "--no-sync", "-D", self.data)
            options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
            run("pg_ctl", "start", "--wait", "-D", self.data, "-o", options, "-l", os.path.join(self.folder, "log"))
            self.url = f"postgresql://shop@/postgres?host={self.folder}"
        return self

    def __exit__(self, *_) -> None:
        if self.folder is not None:
            run("pg_ctl", "stop", "--mode=immediate", "-D", self.data)
            shutil.rmtree(self.folder)


def run(program: str, *arguments: str) -> None:
    subprocess.run([find(program), *arguments], check=True, stdout=subprocess.DEVNULL)


def find(program: str) -> str:
    # Debian keeps them out of the PATH.
    places = [shutil.which(program), *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), reverse=True)]
    for place in filter(None, places):
        return place
    raise SystemExit(f"the tests need {program}: install PostgreSQL, or set TEST_DATABASE_URL")
