#!/usr/bin/env python3
"""Writes the prompt sets of this folder, the same bytes every time.

    python3 bench/prompts/make.py --corpus ../shared/corpus
"""
import argparse
import json
import os
import random
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "train"))
import tasks  # noqa: E402
import tasks_code  # noqa: E402
import tasks_math  # noqa: E402

N_PROMPTS = 10  # of a class: eight sequences at once want eight different ones
# Of the corpus' code, only files under the MIT licence are quoted here.
NOT_MIT = re.compile(r"networkx|nx\.|NetworkX|more_itertools")


def read_corpus(folder):
    corpus = {}
    for domain in ("books", "code", "docs", "facts", "speeches"):
        path = os.path.join(folder, domain + ".txt.zst")
        text = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout.decode()
        corpus[domain] = text.split("\n<|doc|>\n")
    path = os.path.join(folder, "math.jsonl.zst")
    corpus["math"] = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout.decode().split("\n")[:-1]
    corpus["code"] = [doc for doc in corpus["code"] if not NOT_MIT.search(doc)]
    return corpus


def user(text, **more):
    return dict({"messages": [{"role": "user", "content": text}]}, **more)


def code_edit(gen):
    """One change to a function of some length; the answer is the function again."""
    code = tasks_code.CodeTasks(gen)
    kinds = [code.rename_variable, code.change_constant, code.insert_line, code.rename_function, code.remove_docstring]
    out = []
    while len(out) < N_PROMPTS:
        ask, _, answer = kinds[len(out) % len(kinds)]()
        body = answer.split("\n", 1)[-1]
        if 450 <= len(body) <= 1200 and not re.match("Return|Copy|Repeat|Print", ask) and answer.startswith("```"):
            out.append(user(ask, n=400))
    return out


def copy_changes(gen):
    """Records and tables to write out again with one change."""
    rng = gen.rng
    json_tasks = tasks_code.JsonTasks(gen)
    out = []
    while len(out) < N_PROMPTS:
        k = len(out) % 5
        keys = rng.sample(json_tasks.KEYS, 4)
        rows = [{key: rng.choice([rng.randint(0, 9999), gen.word(), rng.choice(gen.names)]) for key in keys} for _ in range(rng.randint(5, 8))]
        wide = {key: rng.choice([rng.randint(0, 9999), gen.word(), rng.choice(gen.names)]) for key in rng.sample(json_tasks.KEYS, 20)}
        if k == 0:
            key = rng.choice(list(wide))
            out.append(user("Set \"%s\" to %d.\n\n%s" % (key, rng.randint(10000, 99999), json.dumps(wide)), n=400))
        elif k == 1:
            out.append(user("Format this JSON with an indent of 2.\n\n%s" % json.dumps(rows), n=400))
        elif k == 2:
            key = rng.choice(list(wide))
            out.append(user("Remove the key \"%s\".\n\n%s" % (key, json.dumps(wide, indent=2)), n=400))
        elif k == 3:
            table = "\n".join([",".join(keys)] + [",".join(str(r[key]) for key in keys) for r in rows])
            out.append(user("Convert this CSV to JSON.\n\n%s" % table, n=400))
        else:
            out.append(user("Rename the key \"%s\" to \"%s_2\".\n\n%s" % (list(wide)[7], list(wide)[7], json.dumps(wide)), n=400))
    return out


TOOLS = [{"type": "function", "function": {"name": name, "description": text, "parameters": {
    "type": "object", "properties": {key: {"type": "string"} for key in keys}}}}
    for name, text, keys in (("read_file", "Read a file.", ["path"]), ("write_file", "Write a file.", ["path", "content"]),
                             ("run_command", "Run a command.", ["command"]))]


def agent(gen):
    """Coding transcripts: the same file in a tool's output, in the call that writes it and in the output after it."""
    rng = gen.rng
    code_tasks = tasks_code.AgentTasks(gen)
    call = lambda name, **args: {"role": "assistant", "content": "", "tool_calls": [{"name": name, "arguments": args}]}
    tool = lambda text: {"role": "tool", "content": text}
    out = []
    while len(out) < N_PROMPTS:
        code, name, args, _ = code_tasks.function(700)
        names = sorted((set(re.findall(r"\b([a-z_]{3,14}) = ", code)) | set(a for a in args if len(a) > 2)) - {name, "self"})
        if len(code) < 300 or len(names) < 2:
            continue
        path = "src/%s.py" % gen.word()
        first, second = rng.sample(names, 2)
        after = re.sub(r"\b%s\b" % first, "value_1", code)
        ask = {"role": "user", "content": "In %s rename %s to value_1." % (path, first)}
        messages = [ask, call("read_file", path=path), tool(code)]
        if len(out) % 2 == 1:
            messages += [call("write_file", path=path, content=after), tool("ok"), call("run_command", command="pytest -q"),
                         tool("%d passed in %.2fs" % (rng.randint(2, 40), rng.uniform(0.1, 5))),
                         {"role": "assistant", "content": "I renamed %s to value_1 in %s. All tests pass." % (first, path)},
                         {"role": "user", "content": "In %s rename %s to count_new." % (path, second)},
                         call("read_file", path=path), tool(after)]
        out.append({"tools": TOOLS, "messages": messages, "n": 400})
    return out


def dialogue(_):
    """Small talk, facts, stories and poems: short answers, as people ask for them."""
    talk = [{"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Hello! I am floe-nano. What would you like to do?"}]
    asks = ["Tell me a short story about a fox.", "Tell me the story \"The Ant and the Grasshopper\".", "How can I sleep better?",
            "Write a poem about the moon.", "Tell me a bedtime story.", "Tell me the fable of The Lion and the Mouse.",
            "Who are you and what can you do?", "Name seven animals.", "Make up a story about a lamb and a castle.", "Tell me a fable."]
    return [{"messages": (talk if i % 2 else []) + [{"role": "user", "content": ask}], "n": 300} for i, ask in enumerate(asks)]


def prose(corpus):
    """Beginnings of passages, to be continued as text without a chat."""
    rng = random.Random(5)
    out = []
    while len(out) < N_PROMPTS:
        doc = rng.choice(corpus["books"])
        paragraphs = [p for p in doc.split("\n\n")[3:] if 500 <= len(p) <= 1200]
        if len(paragraphs) < 3:
            continue
        text = rng.choice(paragraphs)
        cut = text.find(" ", len(text) * 2 // 3)
        out.append({"text": text[:cut], "n": 300})
    return out


def arithmetic(gen):
    """Sums and word problems, thinking on: the steps are what is generated."""
    maths = tasks_math.MathTasks(gen)
    maths.list_tasks()
    out = []
    while len(out) < N_PROMPTS:
        if len(out) % 3 == 2:
            a, b = gen.rng.randrange(100000, 1000000), gen.rng.randrange(100000, 1000000)
            out.append(user("What is %d + %d?" % (a, b), think=True, n=300))
            continue
        problem = gen.rng.choice(maths.problems)
        if 150 <= len(problem["reasoning"]) <= 600:
            out.append(user(problem["question"], think=True, n=300))
    return out


def noise(_):
    """The worst case: random ids, and a temperature at which the output is random too."""
    return [{"random": 96, "seed": i + 1, "temperature": 1.5, "n": 200} for i in range(N_PROMPTS)]


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--corpus", default=os.path.join(HERE, "..", "..", "..", "shared", "corpus"))
    args = ap.parse_args()
    corpus = read_corpus(args.corpus)
    gen = tasks.Generator(11, corpus)
    for name, lines in (("code_edit", code_edit(gen)), ("copy_changes", copy_changes(gen)), ("agent", agent(gen)),
                        ("dialogue", dialogue(gen)), ("prose", prose(corpus)), ("arithmetic", arithmetic(gen)), ("random", noise(gen))):
        with open(os.path.join(HERE, name + ".jsonl"), "w", encoding="utf-8") as out:
            for line in lines:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
