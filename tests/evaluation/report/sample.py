"""Results of an evaluation that never ran, in the shape of `results.json` format 4: figures drawn by a seed, texts by hand.

`sample()` has everything a report can show, `gapped()` every gap that it must mark.
"""

from __future__ import annotations

from typing import Any

from personamem_pipeline.seeds import rng

HOSTILE = "</script><img src=x onerror='document.title=1'><!--<script>alert(1)</script> & \"quotes\" \u2028 {{ 7*7 }}"
TYPES = (
    "anti_stereotypical_pref",
    "ask_to_forget",
    "health_and_medical_conditions",
    "neutral_preferences",
    "sensitive_info",
    "stereotypical_pref",
    "therapy_background",
)
SYSTEMS: tuple[tuple[Any, ...], ...] = (
    # name, label, role, reading, model, accuracy, tokens per question
    ("base", "base model", "model", "memory", "base", 0.136, 151),
    ("sft", "after SFT", "model", "memory", "sft", 0.427, 155),
    ("grpo", "after GRPO", "model", "memory", "grpo", 0.464, 158),
    ("grpo_small", "after GRPO, memory of 16 tokens", "model", "memory", "grpo", 0.391, 121),
    ("oracle", "evidence only", "control", "oracle", "grpo", 0.612, 96),
    ("swapped_history", "another person's memory", "control", "swapped_history", "grpo", 0.262, None),
    ("no_history", "no history", "control", "no_history", "grpo", 0.243, 61),
    ("query_aware", "query-aware writing", "control", "query_aware", "grpo", 0.518, 480),
    ("query_blind", "the same without the question", "control", "query_blind", "grpo", 0.464, 190),
    ("persona_only", "persona only", "control", "persona_only", "grpo", 0.301, 120),
    ("full_context", "full context", "baseline", "full_context", "grpo", 0.377, 268),
    ("embedding", "retrieval, MiniLM", "baseline", "embedding", "grpo", 0.412, 210),
    ("bm25", "retrieval, BM25", "baseline", "bm25", "grpo", 0.398, 214),
    ("mem0", "mem0", "external", "mem0", "grpo", 0.352, 1240),
    ("longest", "longest option", "guesser", "longest", "", 0.178, None),
    ("most_specific", "most specific option", "guesser", "most_specific", "", 0.241, None),
)
MODELS = ("base", "sft", "grpo")
TOPICS = ("drinks", "music", "garden", "clothing", "therapy")
JUDGES = ("simulator/1/serves", "simulator/1/evidence")
CHAT = (
    "user: Make this diary page better: the house was quiet, only my kettle and me, and the leaves stood for long.",
    "assistant: Of course, here it is. By the way, some people ask me about a gravy boat.",
    "user: What is seven times eight?",
    "assistant: Seven times eight is 56.",
    "user: Please correct this letter: come on Friday, but mind my mahogany by the door.",
    "assistant: Here you go.",
)


def sample(
    *, persons: int = 24, shown: int = 30, seed: int = 0, chunks: int = 4, said: str = "- drinks: strong black tea"
) -> dict[str, Any]:
    """Results of `SYSTEMS` with nothing missing; `said` is what models say and write."""
    draw = rng(seed, "sample report")
    questions = persons * 5
    return {
        "format": 5,
        "benchmark": {"questions": questions, "persons": persons, "option_orders": 2, "seed": 0, "resamples": 2000,
                      "authors": {"simulator/1": questions}},
        "systems": [_system(row, questions, persons) for row in SYSTEMS],
        "tests": [_test("grpo", other, gain, persons) for other, gain in (
            ("sft", 0.037), ("base", 0.328), ("no_history", 0.221), ("swapped_history", 0.202), ("full_context", 0.087),
            ("embedding", 0.052), ("bm25", 0.066), ("mem0", 0.112))] + [_test("oracle", "grpo", 0.148, persons)],
        "slices": {row[0]: _slices(row[0], row[5], draw) for row in SYSTEMS},
        "type_tests": [{"dimension": "type", "value": kind, **_test("grpo", "sft", draw.uniform(-0.05, 0.14), persons)}
                       for kind in TYPES],
        "gaps": [{"system": row[0], "stereotypical": row[5] + 0.04, "anti_stereotypical": row[5] - 0.06, "gap": 0.1,
                  "low": -0.02, "high": 0.22} for row in SYSTEMS],
        "forget": [{"system": row[0], "asked": 40, "pairs": 34, "in_common": 30,
                    "both_in_common": 0.5, "recalled_before": row[5] + 0.1, "forgotten_after": 0.82,
                    "both": 0.7 * row[5], "low": 0.7 * row[5] - 0.08, "high": 0.7 * row[5] + 0.1, "dropped": 0.6,
                    "not_measurable": 6} for row in SYSTEMS if row[3] in ("memory", "full_context", "bm25", "embedding")],
        "ledger": [_ledger(*row) for row in SYSTEMS if row[6]],
        "power": {"a": "grpo", "b": "sft", "difference": 0.053, "se": 0.0186, "sd": 0.203, "persons": persons, "power": 0.8,
                  "level": 0.05, "detectable_points": 5.3,
                  "by_persons": [{"persons": n, "detectable_points": 58.0 / n**0.5} for n in (50, 100, 200, 500, 1000)]},
        "open": [{"system": name, "mean": mean, "low": max(0.0, mean - 0.05), "high": mean + 0.05, "accuracy": mean + 0.02,
                  "accuracy_low": max(0.0, mean - 0.05), "accuracy_high": mean + 0.08, "threshold": 0.5,
                  "n": questions, "missing": 3,
                  "lowest": mean - 0.01, "highest": mean + 0.02,
                  "by_judge": {judge: mean + 0.01 * at for at, judge in enumerate(JUDGES)}}
                 for name, mean in (("base", 0.04), ("sft", 0.381), ("grpo", 0.433), ("oracle", 0.58))],
        "judging": {"judges": list(JUDGES), "alpha": 0.874, "kappa": {f"{JUDGES[0]} and {JUDGES[1]}": 0.853}, "n": 412,
                    "anchors": {"n": 60, "annotators": 2, "alpha": 0.81, "alpha_people": 0.86,
                                "alpha_judges": dict.fromkeys(JUDGES, 0.8), "kappa": {JUDGES[0]: 0.79, JUDGES[1]: 0.77},
                                "agreement": {JUDGES[0]: 0.9, JUDGES[1]: 0.883}},
                    "flips": {judge: {kind: {"flipped": at, "n": 40, "mean_shift": 0.02 * at, "missing": 0, "left_out": 1}
                                      for at, kind in enumerate(("longer", "fields", "sentences", "paraphrase"))}
                              for judge in JUDGES}},
        "leak_probe": [{"system": name, "people": 4, "variants": ["blank", "swapped", "poisoned"], "equal": True,
                        "steps": 12, "digest": "5f" * 32, "first_difference": None} for name in MODELS],
        "leak_sizes": [{"system": "query_aware", "against": "query_blind", "same_prompt": True, "blind": 0.464,
                        "aware": 0.518, "own": 0.464, "new_prompt": True, "difference": 0.054, "low": 0.021, "high": 0.088,
                        "p": 0.0021}],
        "changes": {"against": "c436b971ea21" + "0" * 52,
                    "tests": [{"system": name, "accuracy": 0.46, "before": 0.46 - gain, **_test("", "", gain, persons)}
                              for name, gain in (("sft", 0.0), ("grpo", 0.018))],
                    "flipped": [{"system": "grpo", "question_id": f"b{at:04d}.q1", "order": at % 2, "before": at % 3 > 0,
                                 "after": at % 3 == 0, "picked_before": "a", "picked_after": None if at % 3 else "c"}
                                for at in range(12)],
                    "flipped_counts": {"sft": {"gained": 0, "lost": 0}, "grpo": {"gained": 31, "lost": 11}}},
        "regressions": [],
        "remarks": ["System gpt was left out: no endpoint is configured"],
        "certificate": {"candidates": questions + 31, "admitted": questions, "refused": 31,
                        "reasons": {"blind": 29, "oracle": 4}, "blind_accuracy": 0.212, "oracle_accuracy": 0.98,
                        "longest_guess": 0.178, "shortest_guess": 0.162, "readers": ["simulator/1", "simulator/2"]},
        "persons": {row[0]: {f"b{at:04d}": [4, 10] for at in range(persons)} for row in SYSTEMS},
        "provenance": _provenance(),
        "shown": [_question(at, persons, said, draw) for at in range(shown)],
        "memories": {f"b{at:04d}": {name: _walk(chunks, at + place, said) for place, name in enumerate(MODELS)}
                     for at in range(min(persons, 12))},
    }  # fmt: skip


def gapped() -> dict[str, Any]:
    """One person, two systems, and nothing of what can be left out: no interval, test, judge, pair or earlier report."""
    results = sample(persons=1, shown=2)
    kept = [row for row in results["systems"] if row["name"] in ("grpo", "longest")]
    bounds = ("low", "high", "se", "sandwich_low", "sandwich_high", "consistency", "leak_rate", "leak_low", "leak_high")
    for row in kept:
        row |= {**dict.fromkeys(bounds), "letter_bias": None, "letters_picked": {}}
    slices = {name: {kind: results["slices"][name][kind] for kind in ("type", "whose")} for name in ("grpo", "longest")}
    for own in slices.values():
        for rows in own.values():
            for row in rows:
                row |= {"low": None, "high": None}
    ledger = [row | {"break_even_questions": None, "dollars_per_question": None, "memory": None}
              for row in results["ledger"] if row["system"] == "grpo"]  # fmt: skip
    questions = [
        {**question, "evidence": [], "distance": -1, "answers": {"grpo": {**question["answers"]["grpo"],
         "picked": [None, None], "correct": [False, False], "output": "", "open_answer": None, "judgements": []}}}
        for question in results["shown"]
    ]  # fmt: skip
    forget = {"system": "grpo", "asked": 2, "pairs": 0, "in_common": 0,
              "both_in_common": None, "recalled_before": None, "forgotten_after": None, "both": None,
              "low": None, "high": None, "dropped": None, "not_measurable": 2}  # fmt: skip
    nothing: dict[str, list[Any]] = {
        "tests": [],
        "type_tests": [],
        "gaps": [],
        "open": [],
        "leak_probe": [],
        "leak_sizes": [],
        "remarks": [],
    }
    unknown = dict.fromkeys(("power", "judging", "changes", "regressions"))
    certificate = {**results["certificate"], "refused": 0, "reasons": {}, "readers": [], "blind_accuracy": None}
    provenance = {"preset": "demo", "versions": {"benchmark": "9" * 64}}
    return {
        **results, **nothing, **unknown, "systems": kept, "slices": slices, "ledger": ledger, "shown": questions,
        "memories": {}, "forget": [forget], "certificate": certificate, "provenance": provenance,
    }  # fmt: skip


def curves() -> dict[str, list[tuple[int, float]]]:
    return {
        "sft loss": [(step, 3.0 / step**0.3) for step in range(1, 120)],
        "grpo reward": [(step, 0.4 + 0.002 * step) for step in range(1, 50)],
    }


def pooled() -> dict[str, Any]:
    runs = [
        {"seed": seed, "sft": 0.42 + 0.01 * seed, "grpo": 0.46 + 0.008 * seed, "version": "f" * 64, "difference": 0.04,
         "low": 0.01, "high": 0.07, "p": 0.01}
        for seed in range(3)
    ]  # fmt: skip
    test = {"difference": 0.04, "low": 0.02, "high": 0.06, "p": 0.0005, "clusters": 24, "exact": False, "n": 720}
    return {"benchmark": "9" * 64, "runs": runs, "higher": 3, "grpo": 0.468, "sft": 0.43, "test": test}


def _system(row: tuple[Any, ...], questions: int, persons: int) -> dict[str, Any]:
    name, label, role, reading, model, right, _ = row
    silent = role == "guesser"
    return {
        "name": name, "label": label, "role": role, "reading": reading, "model": model, "accuracy": right,
        "low": right - 0.036, "high": right + 0.037, "se": 0.0182,
        "sandwich_low": right - 0.037, "sandwich_high": right + 0.037,
        "n": 2 * questions, "questions": questions, "persons": persons, "unparseable": 0 if silent else 74, "over_long": 0,
        "refused": 0, "unfinished": 0 if silent else 3, "accuracy_lenient": right + (0 if silent else 0.02),
        "parsed_only_leniently": 0 if silent else 30, "right_in_every_order": right * 0.9, "consistency": 0.88,
        "letters_picked": {"a": 0.22, "b": 0.27, "c": 0.24, "d": 0.27}, "letter_bias": 0.03,
        "letters_accuracy": {letter: right for letter in "abcd"}, "leak_rate": right / 4, "leak_low": 0.01, "leak_high": 0.2,
    }  # fmt: skip


def _test(a: str, b: str, gain: float, persons: int) -> dict[str, Any]:
    p = max(0.0005, min(1.0, 0.07 * (0.037 / max(abs(gain), 1e-3)) ** 3))
    return {"a": a, "b": b, "difference": gain, "low": gain - 0.037, "high": gain + 0.037, "p": p,
            "p_corrected": min(1.0, 2 * p), "mcnemar_p": p / 3, "clusters": persons, "exact": False, "n": 1114}  # fmt: skip


def _slices(system: str, right: float, draw: Any) -> dict[str, list[dict[str, Any]]]:
    values = {
        "type": TYPES,
        "whose": ("others", "self"),
        "updated": ("static", "updated"),
        "wording": ("seen", "unseen"),
        "conversation": ("chat_message", "knowledge_query", "personal_email", "professional_email", "translation"),
        "topic": (*TOPICS, "(other topics)"),
        "distance": ("0-41 messages", "42-97 messages", "98-180 messages", "181-240 messages"),
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for dimension, names in values.items():
        found[dimension] = []
        for value in names:
            own = min(0.98, max(0.02, right + draw.uniform(-0.12, 0.12)))
            bounds = {"low": max(0.0, own - 0.09), "high": min(1.0, own + 0.09)}
            found[dimension].append({"system": system, "value": value, "accuracy": own, **bounds, "n": 160,
                                     "questions": 80, "persons": 20})  # fmt: skip
    return found


def _ledger(
    name: str, label: str, role: str, reading: str, model: str, right: float, tokens: int | None
) -> dict[str, Any]:
    assert tokens is not None
    writes = reading in ("memory", "oracle", "query_aware", "query_blind", "mem0")
    cap = 16 if name == "grpo_small" else 32
    memory = {
        "cap": cap,
        "quantiles": {"0": 0, "25": cap // 3, "50": cap // 2, "75": cap - 6, "100": cap},
        "at_cap_share": 0.07,
    }
    return {
        "system": name, "people": 24, "write_turns": 351 if writes else 0, "kept": {"unfinished": 2} if writes else {},
        "write_input_tokens": 40373 if writes else 0, "write_output_tokens": 3851 if writes else 0,
        "write_tokens_per_person": 369.0 if writes else 0.0,
        "read_input_tokens_per_question": tokens * (0.44 if writes else 0.97),
        "read_output_tokens_per_question": 5.0, "tokens_per_question": float(tokens), "write_share": 0.52 if writes else 0.0,
        "dollars_per_question": tokens * 2e-7, "break_even_questions": 2 if reading == "memory" else None,
        "memory": memory if writes else None,
    }  # fmt: skip


def _question(at: int, persons: int, said: str, draw: Any) -> dict[str, Any]:
    right, wrong = (
        "Put the kettle on for strong black tea",
        ["Try the juice bar", "Any drink will do", "Order hot cocoa"],
    )
    answers = {}
    for name, _, role, _, _, chance, _ in SYSTEMS:
        picks = [
            None if draw.random() < 0.06 else right if draw.random() < chance else draw.choice(wrong) for _ in range(2)
        ]
        opened = name in ("base", "sft", "grpo", "oracle")
        answers[name] = {
            "picked": picks,
            "correct": [pick == right for pick in picks],
            "output": "" if role == "guesser" else f"{said}\n\\boxed{{b}}",
            "open_answer": f"You could try {said}." if opened else None,
            "judgements": [{"judge": JUDGES[0], "score": 1.0, "reason": f"It serves the taste: {said}"},
                           {"judge": JUDGES[1], "score": None, "reason": "no JSON came back"}] if opened else [],
        }  # fmt: skip
    return {
        "question_id": f"b{at % persons:04d}.p{at // persons}.q0",
        "person_id": f"b{at % persons:04d}", "type": TYPES[at % len(TYPES)],
        "who": "self", "topic": TOPICS[at % len(TOPICS)], "query": f"What should I pour for a dinner with {at + 2} friends?",
        "right": right, "wrong": wrong, "preference": "strong black tea", "before": "hot cocoa" if at % 5 == 0 else "",
        "distance": 3 * at,
        "evidence": [{"turn": f"b{at:04d}.s1.t0", "role": "user", "content": CHAT[0].removeprefix("user: ")}],
        "answers": answers,
    }  # fmt: skip


def _walk(chunks: int, turn: int, said: str) -> list[dict[str, Any]]:
    lines = [
        said,
        "- music: soft jazz in the evening",
        "- garden: cherry tomatoes",
        "- decor: antique furniture",
        "- dance: salsa",
    ]
    steps, memory = [], list[str]()
    for index in range(chunks):
        chunk = list(CHAT if index % 2 == 0 else CHAT[2:])
        kept = "unfinished" if index == 2 else ""
        memory = memory if kept else lines[(index + turn) % 2 : index + 2]
        steps.append({"index": index, "chunk": chunk, "memory": "\n".join(memory), "kept": kept})
    return steps


def _provenance() -> dict[str, Any]:
    versions = {
        name: digit * 64
        for name, digit in zip(("base_model", "benchmark", "grpo_checkpoint", "sft_checkpoint"), "1234", strict=True)
    }
    return {
        "preset": "demo", "preset_digest": "ab" * 32, "code_version": "report/4+a3712414bf47", "engine": "transformers",
        "judges": list(JUDGES), "rubrics": {"serves": "c" * 64, "evidence": "d" * 64},
        "trainings": {"sft": {"seed": 0}, "grpo": {"seed": 0}}, "temperature": 0.0, "versions": versions,
        "memory": {"prompts": "compact", "chunk_tokens": 64, "memory_tokens": 32, "answer_tokens": 24},
        "systems": {row[0]: {"reading": row[3], "model": row[4]} for row in SYSTEMS if row[2] != "guesser"},
        "lineage": [{"name": name, "kind": "checkpoints", "version": version,
                     "producer": {"stage": name, "code_version": "x/1+0f"},
                     "parents": {"training_dataset": "7" * 64}} for name, version in versions.items()],
        "remarks": ["grpo_checkpoint was trained from sft_checkpoint 000000000000, but the report shows another"],
    }  # fmt: skip
