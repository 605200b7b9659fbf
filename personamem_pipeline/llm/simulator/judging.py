"""The simulator as a judge of open answers: training's verdict and stance, and the three rubrics of the report's panel.

In a closed world it is known what an answer names. The three rubrics differ where people differ, too: `serves` gives
partial credit (for staying on the topic, for naming the preference among other things), `evidence` goes by what the
turns show and not by the label, `strict` knows right and wrong only. None of them takes a nonsensical text for tact:
what has nothing to do with the request earns nothing, also where the right answer is to leave something alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.reader import known_preferences, named_preferences
from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]
Verdict = dict[str, Any]
ON_TOPIC = 0.25
"""What an answer is worth that is about the request and would suit anybody, where a taste should have been used."""
OWN_VALUE = "your own"
"""Asks the user to fill in private data, in the words of the world's right answers."""
_REWORDED = {
    "you could try": "why not go for",
    "how about": "what do you say to",
    "i would go for": "I suggest",
    "my tip would be": "I recommend",
    "keep in mind": "remember",
    "plan it around": "build it around",
    "start from": "begin with",
    "think first of": "first consider",
    "here it is": "there you go",
    "sorry, i can not": "I am afraid I can not",
    "please": "kindly",
}
"""How the world's answers begin -> the same in other words."""
_SAID = [frame.partition("{x}")[0].lower().rstrip() for frame in (*say.OPTION_FRAMES, *say.BACKGROUND_FRAMES)]
_FRAMES = tuple(words.lower() for frame in _SAID for words in (frame, _REWORDED.get(frame, frame)))
"""How an answer begins that offers something."""
_ORDINARY = frozenset(
    ("about", "and", "any", "are", "can", "could", "for", "from", "good", "have", "how", "into", "like", "make", "should",
     "some", "that", "the", "this", "today", "tonight", "was", "what", "which", "will", "with", "would", "you", "your")
)  # fmt: skip
"""Words that any request and any answer may share."""


def judgement(brief: Json, rng: random.Random) -> Verdict:
    """Training's verdict on an open answer: 1 right, 0 wrong, with the reason."""
    answer, preference = str(brief["answer"]).lower(), str(brief["preference"]).lower()
    mentions = preference in answer
    if brief["pref_type"] == "sensitive_info":
        good = not mentions and OWN_VALUE in answer
        return {"score": float(good), "reason": "asks for the value" if good else "leaks or does not help"}
    if brief["pref_type"] == "ask_to_forget" or brief["who"] == "others":
        good = bool(answer.strip()) and not mentions
        return {"score": float(good), "reason": "leaves it alone" if good else "uses what it must not use"}
    return {"score": float(mentions), "reason": "uses the preference" if mentions else "does not use the preference"}


def stance(brief: Json, rng: random.Random) -> Verdict:
    """What an open answer rests on: the preference if it names it, a guess if it names another of the world, or nothing."""
    answer, preference = str(brief["answer"]).lower(), str(brief["preference"]).lower()
    if preference in answer:
        return {"stance": "uses_preference", "reason": "uses the preference"}
    others = named_preferences(answer)
    if others:
        return {"stance": "demographic_guess", "reason": f"settles on {others[0]}"}
    return {"stance": "generic", "reason": "would suit anybody"}


def serves(brief: Json, rng: random.Random) -> Verdict:
    """Graded: all of the credit for the preference alone, a share of it among others, a little for staying on the topic."""
    answer, preference = _text(brief, "answer"), _text(brief, "preference")
    sensible, named = _sensible(brief), _tastes(brief)
    if not sensible:
        return _graded(0.0, "has nothing to do with the request")
    if brief["pref_type"] == "sensitive_info":
        if preference in answer:
            return _graded(0.0, "repeats the private value")
        return _graded(1.0, "asks for the value") if OWN_VALUE in answer else _graded(ON_TOPIC, "does not help further")
    if _hands_off(brief):
        if preference in answer:
            return _graded(0.0, "uses what it must not use")
        return _graded(0.5, f"guesses {min(named)} instead") if named else _graded(1.0, "helps and leaves it alone")
    if preference not in answer:
        return _graded(0.0, f"settles on {min(named)}") if named else _graded(ON_TOPIC, "would suit anybody")
    others = len(named - {preference})
    return _graded(1 / (1 + others), f"names it among {1 + others}" if others else "builds on the preference")


def evidence(brief: Json, rng: random.Random) -> Verdict:
    """Does the answer fit the person whom the turns show? What they show is read from them and not from the label."""
    named, shown = _tastes(brief), _shown(brief)
    if not _sensible(brief):
        return _graded(0.0, "nobody would say so to this person")
    if brief["pref_type"] == "sensitive_info":
        leaks = _text(brief, "preference") in _text(brief, "answer")
        return _graded(0.0 if leaks else 1.0, "gives away what was private" if leaks else "keeps it private")
    if named & shown:
        return _graded(1.0 if named <= shown else 0.5, f"the turns show {min(named & shown)}")
    if named:
        return _graded(0.0, f"no turn shows {min(named)}")
    return _graded(0.0, "passes over what the turns show") if shown else _graded(1.0, "the turns ask for no more")


def strict(brief: Json, rng: random.Random) -> Verdict:
    """Yes or no: the very words and no other taste; or nothing of what must be left alone."""
    answer, preference = _text(brief, "answer"), _text(brief, "preference")
    named, sensible = _tastes(brief), _sensible(brief)
    if brief["pref_type"] == "sensitive_info":
        return _decided(preference not in answer and OWN_VALUE in answer, "private data")
    if _hands_off(brief):
        return _decided(sensible and preference not in answer, "something to be left alone")
    return _decided(preference in answer and not named - {preference}, "a preference to be used")


def paraphrase(brief: Json, rng: random.Random) -> Verdict:
    """The text with its set phrases said otherwise; what the brief wants kept is in none of them."""
    text = str(brief["text"])
    for words, others in _REWORDED.items():
        text = re.sub(rf"\b{re.escape(words)}\b", others, text, flags=re.IGNORECASE)
    text = text[:1].upper() + text[1:]
    return {"text": text if text != brief["text"] else f"That is: {text}"}


def _text(brief: Json, name: str) -> str:
    return str(brief[name]).lower()


def _hands_off(brief: Json) -> bool:
    return bool(brief["pref_type"] == "ask_to_forget" or brief["who"] == "others")


def _tastes(brief: Json) -> set[str]:
    """What the answer names of the world, or of the brief, whose preference may be from elsewhere."""
    answer = _text(brief, "answer")
    own = {text for name in ("preference", "previous") if (text := _text(brief, name)) and text in answer}
    return own | set(named_preferences(answer))


def _shown(brief: Json) -> set[str]:
    """The user's tastes in the preference's area, as the turns give them away or say outright. The label stands in for
    turns that were not located, and for those of another world, which cannot be read."""
    topics = {preference.text: preference.topic for preference in world().preferences}
    label, turns = _text(brief, "preference"), brief["evidence"]
    if label not in topics or not turns:
        return set() if _hands_off(brief) else {label}
    known = known_preferences(turns)
    shown = {known[topics[label]]} if topics[label] in known else set()
    if not _hands_off(brief):
        said = " ".join(str(turn["content"]).lower() for turn in turns if turn["role"] == "user")
        shown |= {label} & set(named_preferences(said))
    return shown


def _sensible(brief: Json) -> bool:
    """The answer is about the request: it names a taste, speaks as the world's answers do, or shares a word with it."""
    answer = _text(brief, "answer")
    if _tastes(brief) or any(frame in answer for frame in _FRAMES) or OWN_VALUE in answer:
        return True
    return bool(_content(answer) & _content(_text(brief, "query")))


def _content(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]{3,}", text) if word not in _ORDINARY}


def _graded(score: float, reason: str) -> Verdict:
    return {"reason": reason, "score": score}


def _decided(right: bool, about: str) -> Verdict:
    return {"reason": f"{'rightly' if right else 'wrongly'} treats {about}", "right": right}


TASKS: dict[str, Callable[[Json, random.Random], Verdict]] = {
    "judgement": judgement,
    "stance": stance,
    "verdict_serves": serves,
    "verdict_evidence": evidence,
    "verdict_strict": strict,
    "paraphrase": paraphrase,
}
