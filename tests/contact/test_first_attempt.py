"""First contact: the first attempt at a stranger's model gives a report, or the right sentence."""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path

import pytest

ATTEMPTS = runpy.run_path(str(Path(__file__).with_name("attempts.py")))
CONFIGURATIONS = ATTEMPTS["CONFIGURATIONS"]
DOCS = Path(__file__).parents[2] / "docs" / "models.md"
pytestmark = pytest.mark.filterwarnings("ignore")  # torch deprecates what these networks use


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ATTEMPTS["make_data"](tmp_path_factory.mktemp("data"))


def cells() -> list[tuple[str, str]]:
    """The quick commands and ``explore`` on every network; what is dear and partly on ``explore``'s
    page anyway on every third, and ``doctor`` on all that have no gradient. All of them with
    WORLDLINE_WHOLE_TABLE=1.
    """
    whole, found = bool(os.environ.get("WORLDLINE_WHOLE_TABLE")), []
    for number, name in enumerate(ATTEMPTS["NETWORKS"]):
        found += [(name, it) for it in ("explore", "distant", "compare")]
        if whole or number % 3 == 0 or "explore" in ATTEMPTS["SAYS"].get(name, {}):
            found.append((name, "doctor"))
        if whole or number % 3 == 1:
            found.append((name, "complexity"))
    return found


@pytest.mark.end_to_end
@pytest.mark.parametrize(("name", "command"), cells())
def test_the_first_attempt_works_or_says_why_not(
    name: str, command: str, data: Path, tmp_path: Path
) -> None:
    found = ATTEMPTS["attempt"](command, name, data, tmp_path / "run")
    said = ATTEMPTS["SAYS"].get(name, {})
    sentence = said.get(command, said.get(""))
    if sentence is None:
        assert found.code == 0, found.said
        assert json.loads((found.folder / "summary.json").read_text())
    else:
        assert found.code == 3, found.said
        assert re.search(sentence, found.said), found.said


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", [*CONFIGURATIONS["PICTURES"], *CONFIGURATIONS["TEXTS"]])
def test_transformers_by_the_name_of_their_configuration(
    name: str, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    command = "explore" if name in ("ViT", "Swinv2", "Bert", "GPT2") else "distant"
    found = ATTEMPTS["attempt_transformer"](command, name, data, tmp_path / "run")
    assert found.code == 0, found.said


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
def test_timm_by_the_name_of_its_model(name: str, data: Path, tmp_path: Path) -> None:
    why = "timm wants torchvision, which has no build for this torch"
    pytest.importorskip("timm", reason=why, exc_type=ImportError)
    (tmp_path / "net.py").write_text(
        f"import timm\ndef build(): return timm.create_model({name!r}, num_classes=4)\n"
    )
    build, out = f"{tmp_path}/net.py:build", tmp_path / "run"
    found = ATTEMPTS["_run"]("explore", [build], data / "large.npz", (0.0, 1.0), out)
    assert found.code == 0, found.said


@pytest.mark.law
def test_the_page_of_models_has_every_one() -> None:
    rows = DOCS.read_text("utf-8").splitlines()
    told = {row.split("|")[1].strip() for row in rows if row.startswith("| ")}
    names = {name.replace("_", " ") for name in ATTEMPTS["NETWORKS"]}
    assert told >= names | {*CONFIGURATIONS["PICTURES"], *CONFIGURATIONS["TEXTS"]}
    assert not [row for row in rows if "internal failure" in row or "exit 1" in row]
