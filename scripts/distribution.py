"""Build the sdist and from it the wheel, and try the wheel where the checkout is not.

    make dist

The trial has an environment of its own, which sees the libraries that the project needs and not the
project; it runs in an empty folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


def main() -> None:
    """Build, look into the wheel, install it, use it."""
    shutil.rmtree(DIST, ignore_errors=True)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)])
    (wheel,) = DIST.glob("*.whl")
    check_files(wheel)
    with tempfile.TemporaryDirectory() as folder:
        try_out(wheel, Path(folder))
    print(
        *(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB" for file in DIST.iterdir()), sep="\n"
    )


def check_files(wheel: Path) -> None:
    """Whether every file of the package is in the wheel, templates and scripts among them."""
    source = ROOT / "src"
    there = set(zipfile.ZipFile(wheel).namelist())
    missing = [
        name
        for file in (source / "worldline").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
        and (name := file.relative_to(source).as_posix()) not in there
    ]  # fmt: skip
    if missing:
        sys.exit(f"dist: the wheel lacks {', '.join(missing)}")


def try_out(wheel: Path, folder: Path) -> None:
    """Install the wheel, and explore the smallest model from outside of the checkout."""
    clean = folder / "clean"
    venv.create(clean, symlinks=True)
    paths = {"base": str(clean), "platbase": str(clean)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    libraries = "\n".join(place for place in sys.path if place.endswith("site-packages"))
    (packages / "libraries.pth").write_text(libraries, "utf-8")  # and not what they link to
    pip = [sys.executable, "-m", "pip", f"--python={clean}/bin/python"]
    run([*pip, "install", "--quiet", "--no-deps", "--disable-pip-version-check", str(wheel)])

    command, python = (str(clean / "bin" / name) for name in ("worldline", "python"))
    shown = run([python, "-c", "import worldline; print(worldline.__file__)"], folder)
    if not Path(shown).is_relative_to(packages):
        sys.exit(f"dist: the trial used {shown.strip()} and not the wheel")
    print(run([command, "--version"], folder).strip())
    small = ["--samples", "40", "--steps", "3"]
    run([command, "explore", "linear", *small, "--out", "run"], folder)
    page = folder / "run" / "report.html"
    if not page.is_file():
        sys.exit("dist: the wheel's command left no report")
    print(f"report.html: {page.stat().st_size / 1e3:.0f} kB, by the wheel alone")


def run(command: list[str], folder: Path = ROOT) -> str:
    """What a command prints; where it fails, that and an end."""
    clear = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=clear, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"dist: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
