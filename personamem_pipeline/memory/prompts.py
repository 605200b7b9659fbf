"""What the memory agent is asked, and how its replies are read.

Two styles: `full` for language models, `compact` for the tiny demo model. In both the chunk comes *before* the memory
(unless the preset turns them round), so that all rollouts of a history share the longest prefix, and the writing prompt
has no place for a question. The baseline without a memory answers from the whole chat (`chat_prompt`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message

EMPTY = "none"
"""What stands for a memory with nothing in it, in prompts and in replies."""

_WRITE = {
    "compact": {
        "chunk_first": "What does the user like?\n{chunk}\nOld list:\n{memory}\nMerge.",
        "memory_first": "What does the user like?\nOld list:\n{memory}\n{chunk}\nMerge.",
    },
    "full": {
        "chunk_first": (
            "Below is the next part of a chat between a user and an assistant, followed by the memory you keep about the "
            "user.\n\nChat:\n{chunk}\n\nMemory so far:\n{memory}\n\n{task}"
        ),
        "memory_first": (
            "Below is the memory you keep about a user, followed by the next part of the user's chat with an assistant."
            "\n\nMemory so far:\n{memory}\n\nChat:\n{chunk}\n\n{task}"
        ),
    },
}
_REWRITE = (
    "Rewrite the memory so that it helps a future assistant serve this user. Note what the chat shows about the "
    "user, above all what is only implied: tastes, habits, circumstances, boundaries. Keep what still holds, replace "
    "what has changed, drop what the user asked to forget. Do not note what is true of other people only, private "
    "numbers or keys, or the tasks themselves.\n"
    "Reply with the whole new memory and nothing else: one line per item, `- topic: content`, at most {lines} "
    f"lines; if there is nothing to note, reply `{EMPTY}`."
)
_THINK = " You may think first, inside <think> and </think>; thoughts are not kept."
_ANSWER = {
    "compact": "List:\n{memory}\nWhich fits? {query}{options}",
    "full": (
        "You answer a user of whom you know only this memory.\n\nMemory:\n{memory}\n\nThe user asks: {query}{options}"
        "\n\n{how}"
    ),
}
_CHAT = {
    "compact": "Chat:\n{chat}\nWhich fits? {query}{options}",
    "full": (
        "You answer a user of whom you know what this chat shows.\n\nChat:\n{chat}\n\nThe user asks: {query}{options}"
        "\n\n{how}"
    ),
}
_CHOOSE = (
    "Choose the reply that serves this user best. If the {source} says nothing that matters, choose the one that assumes "
    "nothing. First quote the line of the {source} that decides it (or `none`), then give the letter as \\boxed{a}."
)
_REPLY = (
    "First quote the line of the {source} that matters here (or `none`), on a line of its own. Then reply to the user in "
    "one or two sentences, making use of what the {source} says where it matters."
)
_OPTION = {"compact": "\n{text} ({letter})", "full": "\n({letter}) {text}"}
"""In the compact style the letter follows the text, so that a tiny model finds it right after what it quotes."""
MAX_LINES = 40
_LETTER = re.compile(r"\\boxed\{\s*\(?([A-Za-z])\)?\.?\s*\}")


def write_prompt(config: MemoryConfig, chunk: Sequence[Message], memory: str) -> str:
    """The user message that asks for the memory after `chunk`, given the memory before it."""
    task = _fill(_REWRITE, lines=str(MAX_LINES)) + _thinking(config)
    return _fill(
        _WRITE[config.prompts][config.order],
        chunk=render_messages(chunk),
        memory=memory.strip() or EMPTY,
        task=task,
    )


def answer_prompt(config: MemoryConfig, memory: str, query: str, options: Mapping[str, str] | None) -> str:
    """The user message that asks a question of the memory alone; without options the open-ended form."""
    asked = _question(config, query, options, "memory")
    return _fill(_ANSWER[config.prompts], memory=memory.strip() or EMPTY, **asked)


def chat_prompt(
    config: MemoryConfig, messages: Sequence[Message], query: str, options: Mapping[str, str] | None
) -> str:
    """The user message that asks a question of the whole chat: the long-context baseline."""
    chat = render_messages(messages) or EMPTY
    return _fill(_CHAT[config.prompts], chat=chat, **_question(config, query, options, "chat"))


def _question(config: MemoryConfig, query: str, options: Mapping[str, str] | None, source: str) -> dict[str, str]:
    form = _OPTION[config.prompts]
    lettered = "".join(form.format(letter=letter, text=text) for letter, text in (options or {}).items())
    how = _fill(_CHOOSE if options else _REPLY, source=source) + _thinking(config)
    return {"query": query, "options": lettered, "how": how}


def _thinking(config: MemoryConfig) -> str:
    return _THINK if config.reasoning else ""


def _fill(template: str, **values: str) -> str:
    # One pass over the template, so that braces in a user's text are text.
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def boxed(letter: str) -> str:
    """How a letter is given in an answer."""
    return f"\\boxed{{{letter}}}"


def parse_letter(text: str, letters: str = "abcd") -> str | None:
    r"""The letter of the last `\boxed{x}` after any thinking, in any of the usual spellings; None if there is none."""
    found = _LETTER.findall(without_thinking(text))
    letter = found[-1].lower() if found else ""
    return letter if letter and letter in letters else None


def parse_choice(text: str, options: Mapping[str, str]) -> str | None:
    """The option a reply chooses: the last boxed letter, or else a last line that is one option's words exactly.

    "Words" are the whole option or the part that tells it from the others (`distinct_parts`), bare or as a bullet
    `- topic: words`. Nothing else counts as a choice: not a lone letter, not a similar text, not an option mentioned on
    the way.
    """
    letter = parse_letter(text, "".join(options))
    if letter is not None:
        return letter
    last = (without_thinking(text).strip().splitlines() or [""])[-1].strip()
    words = {last, last.removeprefix("- "), last.partition(": ")[2]} - {""}
    parts = distinct_parts(options)
    matching = [key for key, option in options.items() if words & {option.strip(), parts[key]}]
    return matching[0] if len(matching) == 1 else None


def distinct_parts(options: Mapping[str, str]) -> dict[str, str]:
    """Each option without the words that all of them start with: `You could try green tea` -> `green tea`."""
    words = {key: text.split() for key, text in options.items()}
    shared = 0
    while all(len(own) > shared + 1 for own in words.values()) and len({own[shared] for own in words.values()}) == 1:
        shared += 1
    return {key: " ".join(own[shared:]) for key, own in words.items()}


def open_answer(text: str) -> str:
    """What a user would read of an open reply, and a judge judges: the line quoted first is the agent's working."""
    lines = without_thinking(text).strip().splitlines()
    return "\n".join(lines[1:]).strip()


def without_thinking(text: str) -> str:
    """What follows the last closed thought, up to one that never closes: the reply itself.

    Some chat templates open the thought in the prompt, so that a reply holds only its end: the opening tag may be missing.
    """
    return text.rpartition("</think>")[2].partition("<think>")[0]


def prompt_texts(style: str) -> str:
    """All template text of a style: what a stage's code version takes the digest of."""
    styled = (*_WRITE[style].values(), _ANSWER[style], _CHAT[style], _OPTION[style])
    return "\n".join((*styled, _fill(_REWRITE, lines=str(MAX_LINES)), _CHOOSE, _REPLY, _THINK))
