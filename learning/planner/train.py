"""One command trains the planner: five stages, one checkpoint, resumable anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from learning.planner import checkpoint, pretrained
from learning.planner.checkpoint import STAGES, Progress
from learning.planner.language import BATCH as LANGUAGE_BATCH
from learning.planner.language import Lessons
from learning.planner.model import PatchHeads, Size, build, see
from learning.planner.optimise import Optimiser, schedule
from learning.planner.pictures import Studio
from learning.planner.save import save_planner
from learning.planner.tokenizer import specials, train_tokenizer
from learning.planner.vision import draw_views, scores

STEPS = {"vision": 900, "words": 1000, "language": 2200, "together": 1500, "polish": 800}
"""Of each stage: about an hour and a half of one core."""
RATES = {"vision": 1.0, "words": 1.0, "language": 1.0, "together": 0.35, "polish": 0.3}
SCHEDULES = {
    "vision": {},
    "words": {"hold": 0.6, "floor": 0.35},
    "language": {"hold": 0.6, "floor": 0.35},
    "together": {"hold": 0.3},
    "polish": {"hold": 0.2},
}
"""The language stage ends at the rate that the next begins with, and the one before it near its own."""
FROZEN_EYES = ("language", "polish")
STARTED = 0.1
"""Of the rates of the stages after `vision` where language weights were started from: they are to be moved, not lost. A
guess, not tuned."""
SAVE_EVERY_S, SHOW_EVERY = 120.0, 20

Report = dict[str, float]


@dataclass
class Plan:
    """What to train and for how long.

    Attributes:
        out: Folder of the checkpoint.
        seed: Of the weights and of all data.
        length: Multiplies the steps of every stage.
        steps: Of each stage, instead, for a trial.
        size: Of the network.
        batch: Images a step in the two language stages.
        start: A GGUF whose language weights and tokenizer are taken, instead of fresh ones; `size` then only says how
            big the eyes are.
    """

    out: Path
    seed: int = 0
    length: float = 1.0
    steps: int | None = None
    size: Size = field(default_factory=Size)
    batch: int = LANGUAGE_BATCH
    start: Path | None = None

    def followed(self) -> dict[str, object]:
        """What a training that goes on must share with the one that began."""
        start = None if self.start is None else self.start.name
        return {
            "seed": self.seed, "length": self.length, "steps": self.steps, "size": asdict(self.size),
            "batch": self.batch, "start": start,
        }  # fmt: skip

    def progress(self, at: Progress) -> float:
        """Share of the stage that is done."""
        return at.step / (STEPS[at.stage] * self.length if self.steps is None else self.steps)


class Trainer:
    """A run: network, data, optimiser, progress.

    Args:
        plan: What to do. A checkpoint in `plan.out` is continued.
        console: Where progress is written.
    """

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self.plan, self.console = plan, console or Console()
        torch.manual_seed(plan.seed)
        start = None if plan.start is None else pretrained.read(plan.start)
        self.tokenizer = train_tokenizer() if start is None else start.tokenizer
        ids, size = specials(self.tokenizer), plan.size
        if start is not None:
            size = replace(start.size, eye_width=size.eye_width, eye_layers=size.eye_layers)
        self.model: Idefics3ForConditionalGeneration = build(size, len(self.tokenizer), ids.image, ids.end)
        if start is not None:
            pretrained.load_text(self.model, start)
        self.heads = PatchHeads(plan.size.eye_width)
        self.at, self._optimiser_state = Progress(), None
        if self.path.exists():
            self.at, self._optimiser_state = checkpoint.load(self.path, self.model, self.heads, plan.followed())
            self.console.print(f"going on at {self.at}")
        self.studio = Studio(np.random.default_rng([plan.seed, 99]))
        self.lessons = Lessons(self.tokenizer, self.studio)

    @property
    def path(self) -> Path:
        """The training state."""
        return self.plan.out / "state.pt"

    def run(self) -> None:
        """Train all stages that are left."""
        for stage in STAGES[STAGES.index(self.at.stage) :]:
            if stage != self.at.stage:
                self.at = Progress(stage)
            self._run_stage(*self._stage(stage))

    def close(self) -> None:
        """Free the renderer."""
        self.studio.close()

    def _stage(self, stage: str) -> tuple[list[nn.Module], Callable[[np.random.Generator], tuple[Tensor, Report]]]:
        eye = self.model.model.vision_model
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        if stage == "vision":
            return [eye, self.heads], self._vision_loss
        if stage == "words":
            return [self.model.model.text_model], self._words_loss
        if stage in FROZEN_EYES:
            for parameter in [*eye.parameters(), *self.heads.parameters()]:
                parameter.requires_grad_(False)
            return [self.model], self._language_loss
        for parameter in self.heads.parameters():
            parameter.requires_grad_(True)
        return [self.model, self.heads], self._language_loss

    def _vision_loss(self, rng: np.random.Generator) -> tuple[Tensor, Report]:
        views = draw_views(self.studio, rng)
        with torch.autocast("cpu", torch.bfloat16):
            features = see(self.model, views.images)
            loss = self.heads.loss(features, views.classes, views.flags, views.measures)
        return loss, scores(self.heads, features, views)

    def _words_loss(self, rng: np.random.Generator) -> tuple[Tensor, Report]:
        with torch.autocast("cpu", torch.bfloat16):
            return self.lessons.words_loss(self.model, self.lessons.words(rng, self.plan.batch))

    def _language_loss(self, rng: np.random.Generator) -> tuple[Tensor, Report]:
        batch = self.lessons.batch(rng, self.plan.batch, polish=self.at.stage == "polish")
        frozen = self.at.stage in FROZEN_EYES
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(not frozen):
                features = see(self.model, batch.views.images)
            loss, report = self.lessons.loss(self.model, features, batch)
            if not frozen:
                views = batch.views
                loss = loss + 0.3 * self.heads.loss(features, views.classes, views.flags, views.measures)
        return loss, report | scores(self.heads, features.detach(), batch.views)

    def _run_stage(
        self, modules: list[nn.Module], loss_of: Callable[[np.random.Generator], tuple[Tensor, Report]]
    ) -> None:
        gentle = STARTED if self.plan.start is not None and self.at.stage != "vision" else 1.0
        optimiser = Optimiser(modules, RATES[self.at.stage] * gentle)
        if self._optimiser_state is not None:
            optimiser.load(self._optimiser_state)
            self._optimiser_state = None
        self.model.train()
        saved, recent = time.monotonic(), list[Report]()
        while (progress := self.plan.progress(self.at)) < 1.0:
            begin = time.monotonic()
            rng = np.random.default_rng([self.plan.seed, STAGES.index(self.at.stage), self.at.step])
            self.studio.begin(rng.spawn(1)[0])
            loss, report = loss_of(rng)
            if torch.isfinite(loss):
                loss.backward()
                optimiser.step(schedule(progress, **SCHEDULES[self.at.stage]))
            else:
                self.console.print(f"[red]step {self.at.step}: the loss is {float(loss)}; skipped")
            recent.append({"loss": float(loss.detach()), **report})
            self.at.step += 1
            if self.at.step % SHOW_EVERY == 0:
                self._show(progress, recent)
                recent.clear()
            self.at.seconds += time.monotonic() - begin
            if time.monotonic() - saved > SAVE_EVERY_S:
                self._save(optimiser)
                saved = time.monotonic()
        following = STAGES.index(self.at.stage) + 1
        if following < len(STAGES):
            self.at = Progress(STAGES[following])
        self._save(optimiser if following == len(STAGES) else None)

    def _save(self, optimiser: Optimiser | None) -> None:
        checkpoint.save(self.path, self.at, self.model, self.heads, optimiser, self.plan.followed())
        if self.at.stage != "vision":
            facts = {
                "seed": self.plan.seed,
                "progress": asdict(self.at),
                "length": self.plan.length,
                "steps": self.plan.steps,
                **({} if self.plan.start is None else {"start": self.plan.start.name}),
            }
            save_planner(self.plan.out, self.model, self.tokenizer, facts)

    def _show(self, progress: float, recent: Sequence[Report]) -> None:
        names = list(dict.fromkeys(name for report in recent for name in report))
        means = {name: np.mean([report[name] for report in recent if name in report]) for name in names}
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        where = f"{self.at.stage} {100 * progress:.0f} %"
        self.console.print(f"[bold]{where}[/] step {self.at.step} {self.at.seconds:.0f} s  {numbers}", highlight=False)
