#!/usr/bin/env python3
"""Builds the releases of the shop: dist/shop-VERSION.tar.gz, the same bytes every time.

`app/` is release 1.4.2. A folder of `releases/` has what that release changed, over the one before it.
"""

import gzip
import io
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The parts of each release, the nearest last.
RELEASES = {
    "1.4.2": ["app"],
    "1.5.0": ["app", "releases/1.5.0"],
    "1.5.1": ["app", "releases/1.5.0", "releases/1.5.1"],
}


def main() -> None:
    dist = HERE / "dist"
    dist.mkdir(exist_ok=True)
    for version, layers in RELEASES.items():
        path = dist / f"shop-{version}.tar.gz"
        path.write_bytes(archive(files(layers)))
        print(path.relative_to(HERE))


def files(layers: list[str]) -> dict[str, bytes]:
    """The files of a release by their path in it."""
    found = {}
    for layer in layers:
        root = HERE / layer
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def archive(files: dict[str, bytes]) -> bytes:
    """A tar.gz in which nothing but the files themselves counts: no times, no owners, no order of a disk."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            writer.addfile(entry, io.BytesIO(files[name]))
    return gzip.compress(tar.getvalue(), mtime=0)


if __name__ == "__main__":
    main()
