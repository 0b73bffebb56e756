"""The blocks of `docs/FRONTEND_INTEGRATION_GUIDE.md`, and the project of a stranger who copies them."""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.frontend.conftest import ROOT

GUIDE = ROOT / "docs" / "FRONTEND_INTEGRATION_GUIDE.md"

_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

_INDEX = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="UTF-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1.0" />
    <title>essays</title>
  </head>
  <body>
    <div id="root"></div>
    <script type="module" src="/src/main.tsx"></script>
  </body>
</html>
"""

_COMPILER_OPTIONS = {
    "target": "ES2023",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "types": ["vite/client", "node"],
    "skipLibCheck": True,
    "moduleResolution": "bundler",
    "allowImportingTsExtensions": True,
    "verbatimModuleSyntax": True,
    "moduleDetection": "force",
    "noEmit": True,
    "jsx": "react-jsx",
    "strict": True,
    "noUnusedLocals": True,
    "noUnusedParameters": True,
    "erasableSyntaxOnly": True,
    "noFallthroughCasesInSwitch": True,
    "noUncheckedSideEffectImports": True,
}
"""As `npm create vite@latest -- --template react-ts` writes them, and `strict`."""


@dataclass(frozen=True, slots=True)
class Block:
    """One code block. `file` is empty where it is no file of the project."""

    language: str
    file: str
    text: str


def blocks_of(markdown: str) -> Sequence[Block]:
    """All code blocks, in their order."""
    return [Block(one["language"], one["file"] or "", one["text"]) for one in _BLOCK.finditer(markdown)]


def section(number: int) -> str:
    """A section of the guide, by its number."""
    return re.split(r"^## (?=\d+\. )", GUIDE.read_text(), flags=re.MULTILINE)[number]


class Project:
    """A fresh Vite and React project in `directory`, with the packed package and nothing else of ours.

    What `npm install` would fetch is linked from `frontend/node_modules`, which the lock pins.
    """

    def __init__(self, directory: Path, frontend: Path) -> None:
        """`frontend` is where `@doorstep/client` is built."""
        self.directory = directory
        (directory / "src").mkdir(parents=True)
        (directory / "index.html").write_text(_INDEX)
        config = {"compilerOptions": _COMPILER_OPTIONS, "include": ["src", "vite.config.ts"]}
        (directory / "tsconfig.json").write_text(json.dumps(config))
        (directory / "package.json").write_text(json.dumps({"name": "essays", "type": "module"}))
        self._install(frontend)

    def copy(self, blocks: Iterable[Block]) -> None:
        """Do with each block what a reader does. One that is no file is compiled all the same."""
        for number, block in enumerate(blocks):
            if block.language == "sh" and block.text.startswith("cp "):
                self.run("sh", "-c", block.text)
            elif block.language in ("ts", "tsx"):
                (self.directory / (block.file or f"src/block{number}.ts")).write_text(block.text)

    def compile(self) -> None:
        """Type-check everything."""
        self.run("node_modules/.bin/tsc", "--project", ".")

    def test(self) -> None:
        """Run the project's own tests."""
        self.run("node_modules/.bin/vitest", "run")

    def build(self) -> None:
        """Build the page for production."""
        self.run("node_modules/.bin/vite", "build", "--logLevel", "error")

    def run(self, *command: str) -> None:
        """Run a command in the project; what it says is in the error if it fails."""
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"

    def _install(self, frontend: Path) -> None:
        modules = self.directory / "node_modules"
        modules.mkdir()
        for package in (frontend / "node_modules").iterdir():
            if package.name not in ("@doorstep", ".vite"):
                (modules / package.name).symlink_to(package)
        pack = ["npm", "pack", "--silent", "--workspace", "@doorstep/client"]
        pack += ["--pack-destination", str(self.directory)]
        name = subprocess.run(pack, cwd=frontend, capture_output=True, text=True, check=True).stdout.split()[
            -1
        ]
        with tarfile.open(self.directory / name) as packed:
            packed.extractall(self.directory / "packed", filter="data")
        shutil.move(self.directory / "packed" / "package", modules / "@doorstep" / "client")
