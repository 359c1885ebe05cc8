"""Writes a wheel to its output. Arguments: its name, its version, and what it needs; its module serves when it is run."""

import io
import sys
import zipfile

SERVER = "THE-SERVER"

name, version, *needs = sys.argv[1:]
folder = f"{name}-{version}.dist-info"
files = {
    f"{name}/__init__.py": "",
    f"{name}/__main__.py": SERVER,
    f"{folder}/METADATA": "\n".join(
        ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs), ""]
    ),
    f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
files[f"{folder}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{folder}/RECORD"])

archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as wheel:
    for path, text in files.items():
        wheel.writestr(zipfile.ZipInfo(path), text)
sys.stdout.buffer.write(archive.getvalue())
