"""The next call, from the picture, the task and the transcript: many lessons behind each picture, or behind none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from learning.planner.alignment import Alignment
from learning.planner.model import IMAGE_TOKENS, image_embeddings, packed_hidden
from learning.planner.moments import Moment, shuffled
from learning.planner.names import renamed
from learning.planner.packing import GROUPS, Packer, Row, visible
from learning.planner.pictures import Picture, Studio
from learning.planner.programs import Tree, picture_task, questions, text_lesson, text_task, tree_of, walk
from learning.planner.vision import Views
from learning.sim.scene import Scene, sample_names, sample_scene
from learning.tasks import PICTURE_ONLY

BATCH = 8
MAX_TOKENS = 448
"""Of text behind one picture."""
_QUESTIONS = 1
_CUBES_FOR_PLATES = (1, 2, 2, 2, 2, 3)
ALIGNMENT = 0.3
"""Weight of `Alignment.loss`."""


@dataclass(frozen=True)
class Packed:
    """Rows of one length; see `packed_hidden` for the shapes.

    `at` indexes the flattened (B, 64 + T) positions, `answer` counts the answers of the whole batch.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    at: Tensor
    label: Tensor
    weight: Tensor
    group: Tensor
    answer: Tensor


@dataclass(frozen=True)
class Batch:
    """Lessons with their pictures: row i of the text is behind picture i modulo their number."""

    views: Views
    text: Packed


def collate_rows(rows: Sequence[Row], prefix: int) -> Packed:
    """Pad rows to one length, rounded up to 32 tokens. `prefix` is the number of tokens before the image."""
    total = -(-max(len(row.ids) for row in rows) // 32) * 32
    size = IMAGE_TOKENS + total
    ids = np.zeros((len(rows), total), np.int64)
    positions = np.zeros((len(rows), size), np.int64)
    positions[:, :IMAGE_TOKENS] = prefix + np.arange(IMAGE_TOKENS)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = row.ids
        positions[i, IMAGE_TOKENS : IMAGE_TOKENS + len(row.ids)] = row.positions
    first = np.cumsum([0, *(int(row.answer.max()) + 1 for row in rows)])
    columns = (
        ids,
        positions,
        np.stack([visible(row, total, prefix) for row in rows])[:, None],
        np.concatenate([i * size + IMAGE_TOKENS + row.at for i, row in enumerate(rows)]),
        np.concatenate([row.label for row in rows]),
        np.concatenate([row.weight for row in rows]),
        np.concatenate([row.group for row in rows]),
        np.concatenate([first[i] + row.answer for i, row in enumerate(rows)]),
    )
    return Packed(*(torch.from_numpy(column) for column in columns))


class Lessons:
    """Draws pictures with the lessons that belong to them.

    Args:
        tokenizer: Of the planner.
        studio: Renders.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, studio: Studio) -> None:
        self.packer, self.studio, self.alignment = Packer(tokenizer), studio, Alignment(tokenizer)
        self.prefix = torch.from_numpy(self.packer.prefix)

    def draw(self, rng: np.random.Generator, asked: int = _QUESTIONS) -> tuple[Scene, Moment, list[Tree]]:
        """A table at some moment of some task, and trees that a picture of it can teach, `asked` questions among
        them."""
        scene, moment, trees = self._main_lesson(rng)
        if (fresh := picture_task(moment, rng)) is not None:
            trees.append(tree_of(walk(fresh, moment.items, rng), 0))
        trees += questions(moment, rng, asked)
        return scene, moment, trees + self._text(scene, trees, rng)

    def _text(self, scene: Scene, trees: Sequence[Tree], rng: np.random.Generator) -> list[Tree]:
        """Lessons that need no picture, as many as fit behind `trees`."""
        length, more = 1 + sum(self.packer.length(tree) for tree in trees), list[Tree]()
        while length < MAX_TOKENS or not (trees or more):
            task = text_task([item.name for item in scene.items], rng)
            if task is not None:
                tree = renamed(text_lesson(walk(task, scene.items, rng), rng), rng)
                length += self.packer.length(tree)
                if length <= MAX_TOKENS or not (trees or more):
                    more.append(tree)
        return more

    def _main_lesson(self, rng: np.random.Generator) -> tuple[Scene, Moment, list[Tree]]:
        """The table, and the task that brought it where it is."""
        draw = rng.random()
        cubes, plates = int(rng.integers(2, 5)), 1
        if draw > 0.25:
            cubes, plates = int(rng.choice(_CUBES_FOR_PLATES)), int(rng.integers(2, 4))
        if draw > 0.8:
            cubes, plates = int(rng.integers(1, 5)), int(rng.integers(0, 4))
        scene = sample_scene(rng, sample_names(rng, cubes, plates))
        start = Moment(scene.items) if rng.random() < 0.7 else shuffled(scene.items, rng)
        task = picture_task(start, rng) if draw < 0.8 else text_task([i.name for i in scene.items], rng)
        if task is None:
            return scene, start, []
        walked = walk(task, start.items, rng)
        seen = 0 if rng.random() < 0.2 else int(rng.integers(len(walked.moments)))
        tree = tree_of(walked, seen)
        return scene, walked.moments[seen], [tree if task.kind in PICTURE_ONLY else renamed(tree, rng)]

    def batch(self, rng: np.random.Generator, count: int = BATCH, *, polish: bool = False) -> Batch:
        """Random lessons, rendered and packed. With `polish`: no questions, and a second row of text."""
        pictures: list[Picture] = []
        rows: list[Row] = []
        scenes: list[Scene] = []
        for _ in range(count):
            scene, moment, trees = self.draw(rng, 0 if polish else _QUESTIONS)
            pictures.append(self.studio.picture(scene, moment))
            rows.append(self.packer.pack(trees))
            scenes.append(scene)
        if polish:
            rows += [self.packer.pack(self._text(scene, (), rng)) for scene in scenes]
        return Batch(Views.of(pictures), collate_rows(rows, len(self.prefix)))

    def words(self, rng: np.random.Generator, count: int = BATCH) -> Packed:
        """Random rows of lessons that need no picture, to be learned without one."""
        rows = []
        for _ in range(count):
            scene = sample_scene(rng, sample_names(rng, int(rng.integers(2, 5)), int(rng.integers(0, 3))))
            rows.append(self.packer.pack(self._text(scene, (), rng)))
        return collate_rows(rows, len(self.prefix))

    def words_loss(self, model: Idefics3ForConditionalGeneration, text: Packed) -> tuple[Tensor, dict[str, float]]:
        """As `loss`, where the image tokens are nothing at all."""
        nothing = torch.zeros(len(text.ids), IMAGE_TOKENS, model.config.text_config.hidden_size)
        return self._answers_loss(model, nothing, text)

    def loss(
        self, model: Idefics3ForConditionalGeneration, features: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """Weighted cross entropy of all answers, and the share of answers right in every word, by group.

        Args:
            model: The planner.
            features: Patch features of the batch's images, from `see`.
            batch: The lessons.
        """
        images = image_embeddings(model, features)
        seen = images.repeat(len(batch.text.ids) // len(images), 1, 1)
        loss, report = self._answers_loss(model, seen, batch.text)
        alignment = self.alignment.loss(model, images, batch.views)
        return loss + ALIGNMENT * alignment, {"alignment": float(alignment.detach()), **report}

    def _answers_loss(
        self, model: Idefics3ForConditionalGeneration, seen: Tensor, text: Packed
    ) -> tuple[Tensor, dict[str, float]]:
        hidden = packed_hidden(model, self.prefix, seen, text.ids, text.positions, text.mask)
        logits = model.lm_head(hidden.flatten(0, 1)[text.at]).float()
        loss = (functional.cross_entropy(logits, text.label, reduction="none") * text.weight).sum() / text.weight.sum()
        missed = (logits.argmax(-1) != text.label).float()
        wrong = torch.zeros(int(text.answer.max()) + 1).index_add_(0, text.answer, missed)
        group = torch.zeros(len(wrong), dtype=torch.long).index_put_((text.answer,), text.group)
        right = (wrong == 0).float()
        return loss, {name: float(right[group == i].mean()) for i, name in enumerate(GROUPS) if (group == i).any()}
