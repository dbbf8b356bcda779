"""The units of deploy/systemd, by systemd's own word. It warns of what it does not know, and ends with 0 all the same."""

import pathlib
import re
import subprocess
import tempfile

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "systemd"
# On systemd's scale from 0 to 10, in tenths: as much as a unit may be exposed.
MOST_EXPOSED = 29


def all_units():
    return {path.name: path.read_text() for path in sorted(FOLDER.iterdir())}


def wrong_in(units, looked_at=None):
    """What is wrong with units, or with one of them among the others."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in units.items():
            # A program must be there, and this one is.
            pathlib.Path(folder, name).write_text(text.replace("/usr/local/bin/turnstile", "/bin/true"))
        wrong = []
        for name in [looked_at] if looked_at else units:
            wrong += complaints(["verify", "--man=no", f"./{name}"], folder)
            if name.endswith(".service"):
                wrong += exposure(name, folder)
        return wrong


def complaints(arguments, folder):
    done = subprocess.run(["systemd-analyze", *arguments], cwd=folder, capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    return said or ([f"systemd-analyze ended with {done.returncode}"] if done.returncode else [])


def exposure(name, folder):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"./{name}"], cwd=folder, capture_output=True, text=True
    )
    level = re.search(r"Overall exposure level for \S+: (\d+)\.(\d)", done.stdout)
    if not level:
        return [f"{name}: systemd-analyze security says no level: {done.stderr.strip()}"]
    tenths = int(level[1]) * 10 + int(level[2])
    return [] if tenths <= MOST_EXPOSED else [f"{name}: exposed by {tenths / 10}, more than {MOST_EXPOSED / 10}"]
