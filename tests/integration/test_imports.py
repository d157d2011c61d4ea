"""Which packages are loaded: torch only where MobileSAM, SAM or training need it, and none that no extra names."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from support.wheel import ROOT, Installation

PACKAGE = ROOT / "streamseg"
NETWORKS = tuple(
    f"models/segmenters/mobile_sam/{name}.py" for name in ("decoder", "encoder", "export_process", "networks")
)
MAY_LOAD_TORCH = (
    *NETWORKS, "models/runtime/torch.py", "models/segmenters/sam/", "sam/", "segment/pictures.py", "train/"
)  # fmt: skip
LOAD = """
import sys
from importlib import import_module

import streamseg

loaded = sys.modules.keys()
assert "numpy" not in loaded
for name in {modules}:
    import_module(name)
    assert "torch" not in loaded, f"{{name}} loads torch"

from typer.testing import CliRunner
from streamseg.cli import app

check = ["check", {example!r}, "--set", "sources.0.url=synthetic:?frames=1", "--set", "publish.bind=tcp://127.0.0.1:*"]
for command in ["--help"], ["run", "--help"], ["doctor"], ["weights", "list"], ["devices"], check:
    done = CliRunner().invoke(app, command)
    assert done.output and done.exception is None, (command, done.exception)
    assert "torch" not in loaded, f"streamseg {{command}} loads torch"
for prompt in [], ["--box", "1,2"], ["--points", "1,2", "--points", "3"], ["--points", "1,2"]:
    refused = CliRunner().invoke(app, ["segment", "none.jpg", "--output", "none", *prompt])
    assert refused.exception is not None
    assert "torch" not in loaded, f"streamseg segment {{prompt}} loads torch before it refuses"
"""


def modules() -> dict[str, str]:
    """The names of all modules, by their paths in the package; those that start a program are left out."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")
    return {
        path.relative_to(PACKAGE).as_posix(): ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        for path in paths
    }


def imported(path: Path) -> set[str]:
    """The packages that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_torch_is_loaded_only_where_a_network_needs_it() -> None:
    names = [name for path, name in modules().items() if not path.startswith(MAY_LOAD_TORCH)]
    program = LOAD.format(modules=names, example=str(ROOT / "configs" / "file.yaml"))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_extra_of_the_pipeline_names_all_that_it_imports(whole: Installation) -> None:
    (packages,) = whole.python.parents[1].glob("lib/python*/site-packages")
    optional = {"streamseg.models.runtime.openvino": {"openvino"}}
    missing = {
        (name, package)
        for path, name in modules().items()
        if not path.startswith("train/")
        for package in imported(PACKAGE / path) - sys.stdlib_module_names - optional.get(name, set())
        if PathFinder.find_spec(package, [str(packages)]) is None
    }
    assert missing == set()
