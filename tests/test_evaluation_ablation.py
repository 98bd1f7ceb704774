"""Ablations: which cells a grid means, what is run again, what a failure costs, the table."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_answers_files import TRUE, evaluated, line, write_answers

from merr_pipeline.evaluation.ablation import Steps, run_grid
from merr_pipeline.evaluation.ablation_page import draw, write_ablation
from merr_pipeline.evaluation.grid import GRIDS, Grid, cells_of, folder_name, load_grid
from merr_pipeline.recipe import load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import SettingsError

AXES = {
    "frame": {"peak": (), "first": ("data.frame=first",), "middle": ("data.frame=middle",)},
    "rate": {"low": ("learn.learning_rate=1.0e-5",), "high": ("learn.learning_rate=1.0e-3",)},
}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return evaluated(tmp_path_factory.mktemp("asked") / "out")


def grid_of(out: Path, **more: Any) -> Grid:
    return Grid.model_validate({"axes": AXES, "set": [f"data.out={out}"], **more})


@dataclass
class Trainer:
    """Stands for training: a model that is right about as many clips as its frame is good."""

    fails_at: tuple[str, ...] = ()
    trained: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    def train(self, recipe: Any) -> None:
        told = f"{recipe.data.frame} {recipe.learn.learning_rate:g}"
        self.trained.append(told)
        if recipe.data.frame in self.fails_at:
            raise RuntimeError("out of memory\nwith much more to say")
        recipe.to.mkdir(parents=True, exist_ok=True)
        (recipe.to / "frame").write_text(recipe.data.frame)

    def answer(self, out: Path, run: Path, split: str, to: Path) -> None:
        frame = (run / "frame").read_text()
        self.answered.append(f"{frame} {split}")
        right = {"peak": 7, "middle": 3, "first": 1}[frame]
        labels = {clip: label for clip, label in TRUE.items() if label}
        lines = [
            line(clip, label if number < right else "no idea")
            for number, (clip, label) in enumerate(labels.items())
        ]
        write_answers(to, *lines)

    @property
    def steps(self) -> Steps:
        return Steps(load_recipe, self.train, self.answer)


# cells


def test_without_cross_each_axis_is_gone_through_by_itself(out):
    cells = cells_of(grid_of(out))

    assert [cell.name for cell in cells] == ["base", "frame=first", "frame=middle", "rate=high"]
    assert cells[3].choices == {"frame": "peak", "rate": "high"}
    assert cells[1].overrides == (
        f"data.out={out}",
        "data.frame=first",
        "learn.learning_rate=1.0e-5",
    )


def test_with_cross_every_option_meets_every_other(out):
    names = [cell.name for cell in cells_of(grid_of(out, cross=True))]

    assert names == [
        *("base", "rate=high", "frame=first", "frame=first,rate=high"),
        *("frame=middle", "frame=middle,rate=high"),
    ]


def test_cells_whose_folders_would_be_one_are_refused(out):
    axes = {"a": {"x": (), "a b": ("data.share=0.5",), "a/b": ("data.share=0.2",)}}

    with pytest.raises(MerrError, match="rename options"):
        cells_of(grid_of(out, axes=axes))


@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_cell_of_a_shipped_grid_is_a_recipe(path):
    grid = load_grid(path.stem)

    told = [load_recipe(grid.base, cell.overrides).model_dump_json() for cell in cells_of(grid)]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("axes: {}", "axes"),
        ("axes: {frame: {}}", "the axis frame has no option"),
        ("axes: {frame: {peak: []}}\ncros: true", "Did you mean cross"),
        ("axes: {frame: {peak: []}}\nsplit: train", "split"),
    ],
)
def test_a_wrong_grid_is_refused(tmp_path, content, wrong):
    path = tmp_path / "grid.yaml"
    path.write_text(content)

    with pytest.raises(SettingsError, match=wrong):
        load_grid(str(path))


# running


def test_every_cell_is_trained_asked_and_scored(out, tmp_path):
    trainer, said = Trainer(), []

    scores = run_grid(grid_of(out), tmp_path, trainer.steps, said.append)

    assert trainer.trained == ["peak 1e-05", "first 1e-05", "middle 1e-05", "peak 0.001"]
    assert trainer.answered == ["peak test", "first test", "middle test", "peak test"]
    accuracies = [one.values["accuracy"].value for one in scores]
    assert accuracies == pytest.approx([1, 1 / 7, 3 / 7, 1], abs=1e-6)
    assert said[1] == "2 of 4: frame=first: runs"
    assert scores[0].less_base is None
    assert scores[1].less_base.value < 0
    assert scores[1].less_base.is_clear
    assert scores[3].less_base.value == 0


def test_a_cell_that_is_done_is_not_run_again(out, tmp_path):
    first = run_grid(grid_of(out), tmp_path, Trainer().steps)
    trainer, said = Trainer(), []
    again = run_grid(grid_of(out), tmp_path, trainer.steps, said.append)

    assert trainer.trained == trainer.answered == []
    assert said[0] == "1 of 4: base: done before"
    assert again == first


def test_a_cell_that_is_told_something_else_is_another_one(out, tmp_path):
    run_grid(grid_of(out), tmp_path, Trainer().steps)
    trainer = Trainer()
    axes = {**AXES, "rate": {"low": AXES["rate"]["low"], "high": ("learn.learning_rate=0.5",)}}
    run_grid(grid_of(out, axes=axes), tmp_path, trainer.steps)

    assert trainer.trained == ["peak 0.5"]


def test_a_failure_is_named_and_costs_its_cell_alone(out, tmp_path):
    scores = run_grid(grid_of(out), tmp_path, Trainer(fails_at=("first",)).steps)

    assert [one.failure for one in scores] == [None, "RuntimeError: out of memory", None, None]
    assert scores[1].values == {}
    (told,) = tmp_path.glob("cells/frame=first-*/failure.txt")
    assert "with much more to say" in told.read_text()

    trainer = Trainer()
    again = run_grid(grid_of(out), tmp_path, trainer.steps)
    assert trainer.trained == ["first 1e-05"]
    assert again[1].failure is None
    assert not told.exists()


def test_a_run_that_is_stopped_goes_on_with_the_cell_it_was_at(out, tmp_path):
    class Stopped(Trainer):
        def answer(self, *told: Any) -> None:
            if len(self.trained) == 2:
                raise KeyboardInterrupt
            super().answer(*told)

    with pytest.raises(KeyboardInterrupt):
        run_grid(grid_of(out), tmp_path, Stopped().steps)
    trainer = Trainer()
    scores = run_grid(grid_of(out), tmp_path, trainer.steps)

    assert trainer.trained == ["first 1e-05", "middle 1e-05", "peak 0.001"]  # base was done
    assert {one.failure for one in scores} == {None}


def test_nothing_is_trained_where_a_later_cell_is_no_recipe(out, tmp_path):
    trainer = Trainer()
    axes = {"frame": {"peak": (), "last": ("data.frame=last",)}}

    with pytest.raises(SettingsError, match=r"data\.frame"):
        run_grid(grid_of(out, axes=axes), tmp_path, trainer.steps)
    with pytest.raises(MerrError, match=r"data\.out is not set"):
        run_grid(Grid.model_validate({"axes": AXES}), tmp_path, trainer.steps)
    with pytest.raises(MerrError, match="holds no finished dataset"):
        run_grid(grid_of(tmp_path / "nowhere"), tmp_path, trainer.steps)
    assert trainer.trained == []


# table and figure


def test_the_table_has_a_row_for_each_cell_and_names_failures(out, tmp_path):
    grid = grid_of(out)
    scores = run_grid(grid, tmp_path, Trainer(fails_at=("first",)).steps)
    files = write_ablation(grid, scores, tmp_path)

    assert [path.name for path in files] == [
        *("ablation.md", "ablation.csv", "ablation.png", "ablation.svg")
    ]
    page = files[0].read_text("utf-8")
    assert "| peak | low | 100.0 [100.0, 100.0] |" in page
    assert "| first | low | – | – | – | – | – | – | failed |" in page
    assert "* failed: frame=first: RuntimeError: out of memory" in page
    rows = list(csv.DictReader(files[1].read_text("utf-8").splitlines()))
    assert [row["cell"] for row in rows] == ["base", "frame=first", "frame=middle", "rate=high"]
    assert float(rows[2]["accuracy"]) == pytest.approx(3 / 7, abs=1e-6)
    assert float(rows[2]["parse_failures"]) == pytest.approx(4 / 7, abs=1e-6)
    assert rows[1]["failure"] == "RuntimeError: out of memory"
    first = [path.read_bytes() for path in files]
    assert [path.read_bytes() for path in write_ablation(grid, scores, tmp_path)] == first


def test_the_figure_has_a_panel_for_each_axis_or_one_for_a_crossed_grid(out, tmp_path):
    scores = run_grid(grid_of(out), tmp_path, Trainer().steps)
    panels = draw(grid_of(out), scores).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["frame", "rate"]
    labels = [[label.get_text() for label in axes.get_yticklabels()] for axes in panels]
    assert labels == [["peak", "first", "middle"], ["low", "high"]]

    crossed = grid_of(out, cross=True)
    (panel,) = draw(crossed, run_grid(crossed, tmp_path, Trainer().steps)).axes
    assert len(panel.get_yticklabels()) == 6


def test_the_mark_of_a_done_cell_says_what_it_was(out, tmp_path):
    run_grid(grid_of(out), tmp_path, Trainer().steps)

    (done,) = tmp_path.glob("cells/rate=high-*/done.json")
    assert json.loads(done.read_text()) == {
        "cell": "rate=high",
        "choices": {"frame": "peak", "rate": "high"},
    }
    assert folder_name("a b/c") == "a_b_c"
