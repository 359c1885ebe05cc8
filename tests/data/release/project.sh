set -eu
mkdir -p /srv/lib && cd /srv/lib
printf '[project]\nname = "mylib"\nversion = "0.1"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n' >pyproject.toml
cat >backend.py <<'END'
import zipfile


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "mylib-0.1-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as z:
        z.write("mylib.py")
        z.writestr("mylib-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mylib\nVersion: 0.1\n")
        z.writestr("mylib-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("mylib-0.1.dist-info/RECORD", "")
    return name
END
git init -q -b main .
git config user.name a && git config user.email a@localhost
for value in 1 2; do
    echo "V = $value" >mylib.py
    git add . && git commit -qm "$value" && git tag "v$value"
done
