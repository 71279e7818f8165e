"""One identity for a sample: its row in what was given, in every command's tables and pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldline import loading, zoo
from worldline.commands import config_of, load
from worldline.commands.explore.views import spacetime
from worldline.errors import UsageError

OPTIONS = {
    "explore": {"model": "linear", "steps": 3},
    "carriers": {"model": "linear", "steps": 3},
    "distant": {"model": "linear", "pairs": 2, "nulls": 0},
    "doctor": {"model": "linear", "steps": 3},
    "complexity": {"models": ("linear",)},
    "compare": {"models": ("linear", "mlp"), "probed_samples": 10, "probes": 4},
}


@pytest.fixture(scope="module")
def halved(tmp_path_factory) -> Path:
    """Data without a reference, whose classes come in blocks, so that rows have gaps early."""
    data = zoo.digits()
    file = tmp_path_factory.mktemp("rows") / "mine.npz"
    np.savez(file, x=data.x[:160].numpy(), y=data.y[:160].numpy())
    return file


@pytest.mark.law
@pytest.mark.parametrize("name", OPTIONS)
def test_half_becoming_the_reference_is_said(name: str, halved: Path, tmp_path: Path) -> None:
    command = load(name)
    config = config_of(name)(data=str(halved), samples=40, **OPTIONS[name])
    result = command(config, tmp_path / "run")
    assert any("every second sample" in note for note in command.words(result.record).notes)
    rows = loading.load_data(str(halved)).rows.tolist()[:40]
    assert rows != list(range(40)), "there are gaps"
    if name in ("explore", "complexity"):
        samples = result.folder.read_table("samples.parquet").to_pydict()
        assert samples["sample"] == rows
    if name == "carriers":
        fooled = result.folder.read_table("samples.parquet").to_pydict()["sample"]
        assert [row for row in rows if row in fooled] == fooled
        assert {it.sample for it in result.record.found.shown} <= set(fooled)
    if name == "explore":
        pairs = result.folder.read_table("pairs.parquet").to_pydict()
        assert list(dict.fromkeys(pairs["sample"])) == rows
        page = command.page([result], [])
        text = page.split('id="page-data">')[1].split("</script>")[0]
        assert json.loads(text)["models"][0]["samples"]["number"] == rows
        assert spacetime(result, sample=rows[-1]).get_title() == f"sample {rows[-1]}"
        missing = next(row for row in range(rows[-1]) if row not in rows)
        with pytest.raises(UsageError, match=f"no sample {missing} in this run"):
            spacetime(result, sample=missing)


@pytest.mark.law
@pytest.mark.parametrize("name", ["explore", "distant"])
def test_nothing_is_said_where_a_reference_came(name: str, tmp_path: Path) -> None:
    command = load(name)
    result = command(config_of(name)(samples=40, **OPTIONS[name]), tmp_path / "run")
    assert not any("every second" in note for note in command.words(result.record).notes)
