"""Wheels of small distributions, a project that builds itself, and an index that lets in whoever has the password.

    python3 ground.py make          fills /srv/wheels and /srv/project
    python3 ground.py serve         answers user `ci` on 127.0.0.1:8901, and tells systemd when it does
    python3 ground.py serve anybody answers whoever brings a password
"""

import base64
import hashlib
import http.server
import os
import pathlib
import socket
import sys
import zipfile

WHEELS = pathlib.Path("/srv/wheels")
LOGIN = "ci:p@ss-w%rd"


def wheel(name, version, *headers, code=""):
    stem = name.lower().replace("-", "_").replace(".", "_")
    info = f"{stem}-{version}.dist-info"
    files = {
        f"{stem}/__init__.py": code,
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: ground\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    return f"{stem}-{version}-py3-none-any.whl", files


def write(folder, wheel):
    name, files = wheel
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return name


def make():
    WHEELS.mkdir(parents=True, exist_ok=True)
    for version in ["1.0", "2.0", "3.0"]:
        write(WHEELS, wheel("Foo_Bar.baz", version))
    for version in ["1.0", "2.0"]:
        write(WHEELS, wheel("leaf", version))
    needs = ["Requires-Dist: foo-bar-baz", "Provides-Extra: more", 'Requires-Dist: leaf; extra == "more"']
    write(WHEELS, wheel("needy", "1.0", *needs))
    large = "x = '''" + os.urandom(8 << 20).hex() + "'''\n"
    write(WHEELS, wheel("large", "1.0", code=large))
    project = pathlib.Path("/srv/project")
    project.mkdir(exist_ok=True)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n'
        '[project]\nname = "My.Project"\nversion = "0.1"\ndependencies = ["needy"]\n\n'
        '[project.optional-dependencies]\nmore = ["leaf"]\n'
    )
    (project / "code.py").write_text("SAYS = 'first'\n")
    (project / "backend.py").write_text(
        "import pathlib, sys\n"
        "sys.path.insert(0, '/srv')\n"
        "import ground\n\n\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    code = pathlib.Path('code.py').read_text()\n"
        "    needs = ['Requires-Dist: needy', 'Provides-Extra: more', 'Requires-Dist: leaf; extra == \"more\"']\n"
        "    return ground.write(pathlib.Path(folder), ground.wheel('My.Project', '0.1', *needs, code=code))\n"
    )
    lock()


def lock():
    def hashes(file):
        digest = hashlib.sha256((WHEELS / file).read_bytes()).hexdigest()
        return f'wheels = [\n    {{ url = "http://127.0.0.1:8901/files/{file}", hash = "sha256:{digest}" }},\n]\n'

    source = 'source = { registry = "http://127.0.0.1:8901/simple" }\n'
    pathlib.Path("/srv/project/uv.lock").write_text(
        "version = 1\nrevision = 3\nrequires-python = \">=3.9\"\n\n"
        f'[[package]]\nname = "foo-bar-baz"\nversion = "2.0"\n{source}{hashes("foo_bar_baz-2.0-py3-none-any.whl")}\n'
        f'[[package]]\nname = "leaf"\nversion = "1.0"\n{source}{hashes("leaf-1.0-py3-none-any.whl")}\n'
        '[[package]]\nname = "my-project"\nversion = "0.1"\nsource = { editable = "." }\n'
        'dependencies = [\n    { name = "needy" },\n    { name = "gone", marker = "sys_platform == \'win32\'" },\n]\n\n'
        '[package.optional-dependencies]\nmore = [\n    { name = "leaf" },\n]\n\n'
        '[package.dev-dependencies]\nprod = [\n    { name = "leaf" },\n]\n\n'
        f'[[package]]\nname = "needy"\nversion = "1.0"\n{source}'
        f'dependencies = [\n    {{ name = "foo-bar-baz" }},\n]\n{hashes("needy-1.0-py3-none-any.whl")}\n'
    )


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        expected = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        given = self.headers.get("Authorization")
        if given != expected and not (given and "anybody" in sys.argv):
            return self.answer(401, b"who are you?", ("WWW-Authenticate", 'Basic realm="index"'))
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "files" and (WHEELS / name).is_file():
            return self.answer(200, (WHEELS / name).read_bytes())
        stem = name.replace("-", "_")
        files = [path for path in sorted(WHEELS.iterdir()) if path.name.startswith(f"{stem}-")]
        if kind != "simple" or not files:
            return self.answer(404, b"")
        digest = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        links = [f'<a href="/files/{file}#sha256={found}">{file}</a>' for file, found in digest.items()]
        return self.answer(200, "\n".join(["<!DOCTYPE html>", *links]).encode(), ("Content-Type", "text/html"))

    def log_message(self, *_):
        pass

    def answer(self, status, body, *headers):
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8901), Index)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


if __name__ == "__main__":
    make() if sys.argv[1] == "make" else serve()
