"""A system in twenty lines that knows nothing of our code: it picks the option whose words occur most in the chat.

    personamem predictions questions --out handout
    python examples/overlap.py handout > examples/overlap.jsonl

It is no memory, and stands in the demo's report to show how anybody's system gets there: through a file of answers.
"""

import json
import pathlib
import sys

handout = pathlib.Path(sys.argv[1])
for line in (handout / "questions.jsonl").read_text().splitlines():
    row = json.loads(line)
    chat = json.loads((handout / row["history"]).read_text())["chat_history"]
    said = " ".join(turn["content"].lower() for turn in chat if turn["role"] == "user")
    for order, options in enumerate(row["options"]):
        found = {letter: sum(word in said for word in text.lower().split()) for letter, text in options.items()}
        best = max(found, key=found.__getitem__)
        print(json.dumps({"question_id": row["question_id"], "order": order, "hypothesis": f"\\boxed{{{best}}}"}))
