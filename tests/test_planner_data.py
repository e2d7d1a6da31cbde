"""What the planner learns from: labels are the program's, packing changes nothing, and a step of training helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from edge.api import Outcome
from edge.planner.prompt import SPECIAL_TOKENS, answer_ids, fingerprint, prefix_ids, suffix_ids
from edge.tabletop import API
from export.errors import ExportError
from export.planner import training_facts
from learning.errors import CheckpointError
from learning.planner import checkpoint
from learning.planner.decide import Decider, Situation
from learning.planner.evaluate import Score
from learning.planner.language import Lessons, collate_rows
from learning.planner.model import IMAGE_TOKENS, PatchHeads, Size, build, image_embeddings, packed_hidden, see
from learning.planner.moments import Moment, Teleport, shuffled
from learning.planner.names import OTHERS, renamed
from learning.planner.optimise import Optimiser, schedule
from learning.planner.packing import Packer, visible
from learning.planner.pictures import Studio, class_of
from learning.planner.programs import Branch, Tree, picture_task, text_lesson, text_task, tree_of, walk
from learning.planner.save import load_planner, save_planner
from learning.planner.tokenizer import MAX_VOCABULARY, specials, train_tokenizer
from learning.planner.train import Plan, Trainer
from learning.planner.vision import draw_views
from learning.sim.scene import sample_names, sample_scene
from learning.tasks import KINDS, judge, next_call, pair_is_held_out, sample

SMALL = Size(eye_width=64, eye_layers=1, width=64, inner=96, layers=2)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


@pytest.fixture(scope="module")
def studio():
    made = Studio(np.random.default_rng(0))
    yield made
    made.close()


@pytest.fixture(scope="module")
def small(tokenizer):
    torch.manual_seed(0)
    ids = specials(tokenizer)
    return build(SMALL, len(tokenizer), ids.image, ids.end).eval()


def some_trees() -> list[Tree]:
    rng = np.random.default_rng(5)
    scene = sample_scene(rng, ("red cube", "green cube", "blue plate"))
    trees = []
    while len(trees) < 4:
        task = text_task([item.name for item in scene.items], rng)
        assert task is not None
        trees.append(tree_of(walk(task, scene.items, rng, failure=0.3), 0))
    return trees


def test_tokens_come_back_as_text(tokenizer) -> None:
    for text in (*(API.format(call) for call in API.calls()), API.prompt(), "swap the red cube and the zebra 42!\n\n"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_vocabulary_is_what_the_converter_needs(tokenizer) -> None:
    assert len(tokenizer) <= MAX_VOCABULARY
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    for text in ("\n", "\n\n"):
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1
    for word in (" red", " cube", " plate", "pick", "place"):
        assert len(tokenizer.encode(word, add_special_tokens=False)) == 1


def test_packed_tokens_are_those_of_the_prompt(tokenizer) -> None:
    """Every answer, read along its trunk and branch, is exactly suffix + answer as the robot builds them."""
    packer = Packer(tokenizer)
    assert list(packer.prefix) == prefix_ids(API, packer.encode, packer.specials)
    trees = some_trees()
    row = packer.pack(trees)
    for owner, tree in enumerate(trees):
        for number, branch in enumerate(tree.branches, start=1):
            mine = (row.owner == owner) & (row.branch == number)
            limit = row.limit[mine][0]
            path = np.flatnonzero((row.owner == owner) & (row.trunk < limit) & (row.branch == 0))
            path = np.concatenate([[0], path, np.flatnonzero(mine)])
            transcript = tuple(API.parse_entry(line) for line in tree.lines[: branch.at])
            wanted = [
                *suffix_ids(API, packer.encode, packer.specials, tree.task, transcript),
                *answer_ids(API, packer.encode, packer.specials, API.parse(branch.answer)),
            ]
            assert [*row.ids[path], packer.specials.end] == wanted
            assert list(row.positions[path]) == list(
                range(len(packer.prefix) + IMAGE_TOKENS, len(packer.prefix) + IMAGE_TOKENS + len(path))
            )


def test_mask_is_block_diagonal(tokenizer) -> None:
    packer = Packer(tokenizer)
    row = packer.pack(some_trees())
    total, prefix = len(row.ids) + 5, len(packer.prefix)
    mask = visible(row, total, prefix)[:, prefix:]
    text = mask[IMAGE_TOKENS + 1 : IMAGE_TOKENS + len(row.ids), IMAGE_TOKENS + 1 : IMAGE_TOKENS + len(row.ids)]
    owner, branch = row.owner[1:], row.branch[1:]
    looks, at = np.nonzero(text)
    assert (owner[looks] == owner[at]).all()
    assert ((branch[at] == 0) | (branch[at] == branch[looks])).all()
    assert text.diagonal().all()
    assert not mask[:, IMAGE_TOKENS + len(row.ids) :].any(), "padding is never seen"
    assert mask[IMAGE_TOKENS + 1 :, : IMAGE_TOKENS + 1].all(), "all text sees the image"


def test_packing_changes_no_logit(tokenizer, small, studio) -> None:
    """The shared prefix, the mask and the positions give what the stock model gives for one prompt alone."""
    packer = Packer(tokenizer)
    trees = some_trees()
    scene, _ = sample("put", np.random.default_rng(1))
    image = studio.image(scene, Moment(scene.items))
    row = packer.pack(trees)
    packed = collate_rows([row, packer.pack(trees[:1])], len(packer.prefix))
    images = torch.from_numpy(np.stack([image, image]))
    prefix = torch.from_numpy(packer.prefix)
    with torch.no_grad():
        embeddings = image_embeddings(small, see(small, images))
        hidden = packed_hidden(small, prefix, embeddings, packed.ids, packed.positions, packed.mask)
        got = small.lm_head(hidden[0])
        for owner, tree in enumerate(trees):
            branch = tree.branches[-1]
            transcript = tuple(API.parse_entry(line) for line in tree.lines)
            suffix = suffix_ids(API, packer.encode, packer.specials, tree.task, transcript)
            ids = [*packer.prefix, *[packer.specials.image] * IMAGE_TOKENS, *suffix]
            pixels = (images[:1].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            alone = small(input_ids=torch.tensor([ids]), pixel_values=pixels[None]).logits[0, -1]
            answers = row.answer[(row.owner[row.at] == owner)]
            first = row.at[row.answer == answers.max()].min()
            assert int(row.label[row.answer == answers.max()][0]) == packer.encode(branch.answer)[0]
            torch.testing.assert_close(got[IMAGE_TOKENS + first], alone, atol=2e-4, rtol=2e-3)


def test_the_decision_is_the_greedy_one_under_the_grammar(tokenizer, small, studio) -> None:
    """All legal calls in one pass choose what the stock model chooses token by token among legal continuations."""
    packer, decider = Packer(tokenizer), Decider(small, tokenizer)
    answers = {(*packer.encode(API.format(call)), packer.specials.end): call for call in API.calls()}
    rng = np.random.default_rng(21)
    for kind in ("pick", "put", "swap"):
        scene, task = sample(kind, rng)
        image = studio.image(scene, Moment(scene.items))
        suffix = suffix_ids(API, packer.encode, packer.specials, task.text, ())
        pixels = (torch.from_numpy(image)[None].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        written: tuple[int, ...] = ()
        while written not in answers:
            ids = [*packer.prefix, *[packer.specials.image] * IMAGE_TOKENS, *suffix, *written]
            legal = sorted({a[len(written)] for a in answers if a[: len(written)] == written})
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                logits = small(input_ids=torch.tensor([ids]), pixel_values=pixels[None]).logits[0, -1]
            written = (*written, legal[int(logits[legal].argmax())])
        assert decider.decide([Situation(image, task.text, ())]) == [answers[written]]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_the_programs(kind: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(10):
        scene, task = sample(kind, rng)
        walked = walk(task, scene.items, rng, failure=0.25)
        for seen in range(len(walked.moments)):
            for branch in tree_of(walked, seen).branches:
                right = next_call(task, scene.items, walked.entries[: branch.at])
                assert branch.answer == API.format(right)


@pytest.mark.parametrize("kind", KINDS)
def test_a_followed_program_satisfies_the_judge(kind: str) -> None:
    """The states that stand in for physics are states that the simulator's judge accepts."""
    rng, good = np.random.default_rng(11), 0
    for _ in range(30):
        scene, task = sample(kind, rng)
        hands, history, transcript = Teleport(scene.items, rng), [scene.items], ()
        while (call := next_call(task, scene.items, transcript)).subtask != "done" and len(transcript) < 24:
            outcome = hands.draw_outcome(call, 0.1)
            hands.apply(call, outcome)
            transcript = (*transcript, (call, outcome))
            history.append(hands.items)
        if kind == "pick":
            good += hands.held == task.objects[0]
        else:
            good += judge(task, history, hands.held)
    assert good >= 29


def test_pictures_only_teach_what_they_show() -> None:
    """A picture of the finished table is no lesson in which cube was nearest."""
    rng = np.random.default_rng(2)
    scene, task = sample("nearest", rng)
    walked = walk(task, scene.items, rng, failure=0.0)
    assert [branch.at for branch in tree_of(walked, len(walked.calls) - 1).branches] == [1, 2]
    assert tree_of(walked, 0).branches[0].at == 0


def test_failures_are_in_the_lessons() -> None:
    rng = np.random.default_rng(8)
    seen = set()
    for _ in range(200):
        scene, task = sample("swap", rng)
        seen |= {outcome for _, outcome in walk(task, scene.items, rng).entries}
    assert seen == set(Outcome)


def test_renaming_is_the_same_everywhere_in_a_lesson() -> None:
    tree = Tree(
        "Put the red cube on the blue plate",
        ('pick("red cube") -> ok',),
        (Branch(1, 'place_on("blue plate")', "text"),),
    )
    rng, seen = np.random.default_rng(11), set()
    for _ in range(50):
        other = renamed(tree, rng)
        cube = other.task.split()[2]
        plate = other.task.split()[6]
        assert other.lines == (f'pick("{cube} cube") -> ok',)
        assert other.branches == (Branch(1, f'place_on("{plate} plate")', "text"),)
        assert cube == "red" or cube in OTHERS
        seen |= {cube, plate}
    assert {"red", "blue"} < seen


def test_held_out_pairs_are_never_asked_for_in_training() -> None:
    rng = np.random.default_rng(9)
    tasks = [text_task(sample_names(rng, 3, 2), rng) for _ in range(500)]
    assert not any(pair_is_held_out(task) for task in tasks if task)
    assert {task.kind for task in tasks if task} == set(KINDS) - {"nearest", "all_on_plates"}


def test_picture_tasks_have_an_answer_in_the_picture() -> None:
    rng, asked = np.random.default_rng(10), set()
    for _ in range(200):
        scene = sample_scene(rng, sample_names(rng, int(rng.integers(1, 4)), int(rng.integers(1, 4))))
        moment = shuffled(scene.items, rng)
        if (task := picture_task(moment, rng)) is not None:
            asked.add(task.kind)
            assert next_call(task, moment.items, ()).subtask in ("pick", "done")
    assert asked == {"nearest", "all_on_plates"}


def test_patches_know_their_object(studio) -> None:
    rng = np.random.default_rng(3)
    scene = sample_scene(rng, ("red cube", "green cube", "blue plate"))
    hands = Teleport(scene.items, rng)
    before = studio.picture(scene, hands.moment())
    wanted = {class_of(item.name) for item in scene.items}
    assert set(before.classes) - {0} == wanted
    call = API.parse('pick("red cube")')
    hands.apply(call, Outcome.OK)
    held = studio.picture(scene, hands.moment())
    assert (held.flags[held.classes == class_of("red cube"), 3] == 1).all()
    assert (held.flags[held.classes == class_of("green cube"), 3] == 0).all()
    assert (held.image != before.image).any()


def test_a_few_steps_of_vision_help(studio, small) -> None:
    torch.manual_seed(1)
    heads = PatchHeads(SMALL.eye_width)
    views = draw_views(studio, np.random.default_rng(0), 4)
    optimiser, losses = Optimiser([small.model.vision_model, heads]), []
    for step in range(12):
        loss = heads.loss(see(small, views.images), views.classes, views.flags, views.measures)
        loss.backward()
        optimiser.step(schedule(0.1 + step / 100))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_a_few_steps_of_language_help(studio, small, tokenizer) -> None:
    lessons = Lessons(tokenizer, studio)
    batch = lessons.batch(np.random.default_rng(0), 2)
    optimiser, losses = Optimiser([small]), []
    for step in range(12):
        loss, _ = lessons.loss(small, see(small, batch.views.images), batch)
        loss.backward()
        optimiser.step(schedule(0.1 + step / 100))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]


def test_a_few_steps_of_words_help_and_touch_nothing_that_sees(studio, tokenizer) -> None:
    ids = specials(tokenizer)
    torch.manual_seed(2)
    model = build(SMALL, len(tokenizer), ids.image, ids.end)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lessons = Lessons(tokenizer, studio)
    text = lessons.words(np.random.default_rng(0), 2)
    assert len(text.ids) == 2
    optimiser, losses = Optimiser([model.model.text_model]), []
    for step in range(12):
        loss, report = lessons.words_loss(model, text)
        loss.backward()
        optimiser.step(schedule(0.1 + step / 100))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]
    assert set(report) == {"text"}
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not [name for name in moved if "vision" in name or "connector" in name]


def test_polishing_adds_rows_of_text(studio, tokenizer) -> None:
    batch = Lessons(tokenizer, studio).batch(np.random.default_rng(4), 2, polish=True)
    assert len(batch.views.images) == 2
    assert len(batch.text.ids) == 4


def test_lessons_come_after_lost_objects_often() -> None:
    rng, after = np.random.default_rng(6), 0
    for _ in range(200):
        scene, task = sample("swap", rng)
        tree = text_lesson(walk(task, scene.items, rng), rng)
        after += bool(tree.lines) and tree.lines[-1].endswith("lost")
    assert after > 30


def test_a_saved_planner_decides_the_same(tmp_path: Path, studio, small, tokenizer) -> None:
    scene, task = sample("put", np.random.default_rng(1))
    asked = [Situation(studio.image(scene, Moment(scene.items)), task.text, ())]
    save_planner(tmp_path, small, tokenizer, {"seed": 0})
    model, read = load_planner(tmp_path)
    assert Decider(model, read).decide(asked) == Decider(small.eval(), tokenizer).decide(asked)
    assert model.config.text_config.architectures == ["LlamaForCausalLM"]


def test_a_saved_planner_says_for_which_prompt_it_was_trained(
    tmp_path: Path, small, tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_planner(tmp_path, small, tokenizer, {"seed": 0})
    facts = training_facts(tmp_path, API)
    assert (facts["api_hash"], facts["prompt"], facts["seed"]) == (API.hash, fingerprint(API), 0)
    monkeypatch.setattr("export.planner.fingerprint", lambda api: "of a later prompt.py")
    with pytest.raises(ExportError, match="another prompt"):
        training_facts(tmp_path, API)


def trained_on(out: Path, seed: int, first: int = 0) -> list[np.ndarray]:
    """The pictures of a training's three steps, from one of them on."""
    trainer = Trainer(Plan(out, seed, steps=3, size=SMALL), Console(quiet=True))
    trainer.at.step = first
    shown = []

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        scene = sample_scene(rng, ("red cube", "blue plate"))
        shown.append(trainer.studio.image(scene, Moment(scene.items, above=(0.2, 0.01 * trainer.at.step))))
        shown.append(trainer.studio.image(scene, Moment(scene.items, above=(0.2, 0.0))))
        return sum(part.square().sum() for part in trainer.heads.parameters()), {}

    trainer._run_stage([trainer.heads], loss_of)
    trainer.close()
    return shown


def test_a_resumed_training_is_shown_what_an_uninterrupted_one_is(tmp_path: Path) -> None:
    whole, rest = trained_on(tmp_path / "a", 0), trained_on(tmp_path / "b", 0, 2)
    assert len(whole) == 6
    assert all(np.array_equal(a, b) for a, b in zip(whole[4:], rest, strict=True))
    assert not np.array_equal(whole[1], trained_on(tmp_path / "c", 1)[1])


def test_a_training_goes_on_with_its_own_plan_only(tmp_path: Path) -> None:
    plan = Plan(tmp_path, steps=1, size=SMALL)
    net = torch.nn.Linear(1, 1)
    checkpoint.save(tmp_path / "state.pt", checkpoint.Progress(), net, net, None, plan.followed())
    assert checkpoint.load(tmp_path / "state.pt", net, net, plan.followed())[0] == checkpoint.Progress()
    for other in ({"seed": 1}, {"length": 2.0}, {"steps": 2}, {"batch": 3}, {"start": Path("words.gguf")}):
        with pytest.raises(CheckpointError, match=f"another {next(iter(other))}"):
            checkpoint.load(tmp_path / "state.pt", net, net, replace(plan, **other).followed())


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (95, 100)])
def test_wilson_interval_holds_the_share(right: int, n: int) -> None:
    score = Score.of(right, n)
    assert 0 <= score.low <= right / n <= score.high <= 1
    assert score.high - score.low < 0.35
