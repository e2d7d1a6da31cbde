"""The one prompt layout: training and the robot both build token ids here, so they cannot differ.

    <API text> EDGE GLOBAL [image] EDGE task: ... / transcript / next: | answer END
    └─ static: kept in the KV cache ─┘      └────────── after ──────────┘

Each of the text pieces is tokenized alone (as llama.cpp does around an image), without a beginning-of-text token; the
special tokens are put between them by id. No text of a person can spell a special token: `clean_task` removes the
brackets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.api import Call, Outcome, RobotApi, Transcript
from edge.errors import TaskError

#: Special tokens, each one id in the tokenizer. The first four are those of the SmolVLM layout in llama.cpp.
EDGE_TOKEN = "<fake_token_around_image>"
GLOBAL_TOKEN = "<global-img>"
TILE_TOKEN = "<row_1_col_1>"  # never used in our prompts, but llama.cpp refuses a vocabulary without it
IMAGE_TOKEN = "<image>"
END_TOKEN = "<|endoftext|>"
SPECIAL_TOKENS = (END_TOKEN, IMAGE_TOKEN, EDGE_TOKEN, GLOBAL_TOKEN, TILE_TOKEN)

MAX_TASK_CHARACTERS = 300
#: Key in the text GGUF under which export writes `fingerprint`.
STAMP_KEY = "edgearm.prompt"
#: Older calls fall off the prompt; the longest task here needs about 20.
MAX_TRANSCRIPT = 32

Encode = Callable[[str], Sequence[int]]
"""Text to token ids, adding no special tokens."""


@dataclass(frozen=True)
class Specials:
    """Ids of the special tokens in a given vocabulary."""

    edge: int
    global_: int
    image: int
    end: int

    @classmethod
    def of(cls, lookup: Callable[[str], int]) -> Specials:
        """From a function that gives a special token's id, e.g. `tokenizer.convert_tokens_to_ids`."""
        return cls(lookup(EDGE_TOKEN), lookup(GLOBAL_TOKEN), lookup(IMAGE_TOKEN), lookup(END_TOKEN))


def clean_task(task: str) -> str:
    """A task as the model was trained to read it: lower case, single spaces, no brackets, no final stop.

    Raises:
        TaskError: If nothing is left, or it is longer than `MAX_TASK_CHARACTERS`.
    """
    clean = " ".join(task.replace("<", " ").replace(">", " ").lower().split()).rstrip(" .!?")
    if not clean:
        raise TaskError("the task is empty", expected="a sentence", got=repr(task), fix='e.g. "stack red on green"')
    if len(clean) > MAX_TASK_CHARACTERS:
        raise TaskError(
            "the task is too long", expected=f"at most {MAX_TASK_CHARACTERS} characters", got=f"{len(clean)} characters"
        )
    return clean


def segments(api: RobotApi, task: str, transcript: Transcript) -> tuple[str, str]:
    """The text before and after the image.

    Raises:
        TaskError: If the task is empty or too long.
        CallError: If the transcript holds a call the API does not know.
    """
    lines = [api.format_entry((call.without_hint(), outcome)) for call, outcome in transcript[-MAX_TRANSCRIPT:]]
    return api.prompt() + "\n", "\n".join([f"task: {clean_task(task)}", *lines, "next:"])


def fingerprint(api: RobotApi) -> str:
    """sha256 (hex) of the whole layout for this API: a planner trained on another prompt has another one."""
    example = tuple((call, outcome) for call in api.calls() for outcome in Outcome)
    sample = [
        segments(api, "An Example.", example),
        SPECIAL_TOKENS,
        MAX_TRANSCRIPT,
        [str(call) for call in api.calls()],
    ]
    return hashlib.sha256(json.dumps(sample).encode()).hexdigest()


def prefix_ids(api: RobotApi, encode: Encode, specials: Specials) -> list[int]:
    """Token ids before the image: the same for every task, so the robot keeps them in its cache."""
    return [*encode(api.prompt() + "\n"), specials.edge, specials.global_]


def suffix_ids(api: RobotApi, encode: Encode, specials: Specials, task: str, transcript: Transcript) -> list[int]:
    """Token ids after the image, up to where the answer begins."""
    return [specials.edge, *encode(segments(api, task, transcript)[1])]


def answer_ids(api: RobotApi, encode: Encode, specials: Specials, call: Call) -> list[int]:
    """Token ids of the answer, with the end token: what the planner learns to write."""
    return [*encode(api.format(call)), specials.end]
