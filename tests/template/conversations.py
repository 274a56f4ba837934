"""Random chat requests as a template sees them: tools with schemas, calls, results, reasoning, and text that looks
like markers, code or escapes."""
import json

# Stands in every text of a conversation; no template contains it.
MARK = "§"
WORDS = ["weather", "Paris", "file", "run", "x", "naïve", "日本語", "😀", "{braces}", "{{ 7*7 }}", "{% if %}",
         "<|im_end|>", "<|user|>", "</think>", "<tool_call>", "\"quote\"", "back\\slash", "\ttab", "line\nbreak",
         "  ", "'single'", "ß", "a&b<c>", "%s", ""]
KEYS = ["a", "b", "city", "units", "ключ", "items", "keys", "get", "z"]


def text(chance, n=8):
    return MARK + " ".join(chance.choice(WORDS) for _ in range(chance.randint(0, n)))


def value(chance, depth=0):
    kind = chance.randint(0, 9 if depth < 3 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return chance.random() < .5
    if kind == 2:
        return chance.randint(-1000, 10**12)
    if kind == 3:
        return chance.choice([0.1, 1.0, 1e16, 1e-7, 3.14159, -2.5, 1e22, 123456789.125])
    if kind <= 6:
        return text(chance, 3)
    if kind == 7:
        return [value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randint(0, 3))}


def schema(chance, depth=0):
    kinds = ["string", "integer", "number", "boolean", "array", "object"] if depth < 2 else ["string", "integer"]
    kind = chance.choice(kinds)
    made = {"type": kind if chance.random() < .9 else [kind, "null"]}
    if chance.random() < .7:
        made["description"] = text(chance, 5)
    if kind == "array":
        made["items"] = schema(chance, depth + 1)
    if kind == "object":
        names = chance.sample(["a", "b", "c", "name", "items"], chance.randint(0, 3))
        made["properties"] = {name: schema(chance, depth + 1) for name in names}
        if chance.random() < .6:
            made["required"] = names[:1]
    if chance.random() < .2:
        made["enum"] = ["x", "y"]
    if chance.random() < .1:
        made["default"] = value(chance, 3)
    if chance.random() < .1:
        made["nullable"] = True
    return made


def tool(chance, index):
    names = chance.sample(["city", "path", "n", "units", "flag"], chance.randint(0, 4))
    function = {"name": chance.choice(["get_weather", "read_file", "run"]) + str(index)}
    if chance.random() < .9:
        function["description"] = text(chance, 6)
    function["parameters"] = {"type": "object", "properties": {name: schema(chance) for name in names}}
    if chance.random() < .6:
        function["parameters"]["required"] = names[:2]
    if chance.random() < .1:
        function["strict"] = True
    if chance.random() < .1:
        function["response"] = schema(chance)
    return {"type": "function", "function": function}


def calls_and_results(chance, tools, turn):
    calls = [{"id": f"call{turn}{i}xyz"[:9].ljust(9, "0"), "type": "function",
              "function": {"name": chance.choice(tools)["function"]["name"],
                           "arguments": {key: value(chance, 2)
                                         for key in chance.sample(["city", "n", "path"], chance.randint(0, 3))}}}
             for i in range(chance.randint(1, 2))]
    asked = {"role": "assistant", "content": chance.choice([None, "", text(chance)]), "tool_calls": calls}
    if chance.random() < .4:
        asked["reasoning_content"] = text(chance)
    messages = [asked]
    for call in calls:
        messages.append({"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"],
                         "content": text(chance) if chance.random() < .8 else json.dumps(value(chance))})
    if chance.random() < .7:
        messages.append({"role": "assistant", "content": text(chance)})
    return messages


def conversation(chance):
    messages = []
    if chance.random() < .6:
        messages.append({"role": "system", "content": text(chance)})
    tools = [tool(chance, i) for i in range(chance.randint(1, 3))] if chance.random() < .5 else None
    for turn in range(chance.randint(1, 4)):
        content = text(chance)
        if chance.random() < .15:
            content = [{"type": "text", "text": content}, {"type": "text", "text": text(chance)}]
        messages.append({"role": "user", "content": content})
        if chance.random() < .25:
            continue
        if tools and chance.random() < .6:
            messages += calls_and_results(chance, tools, turn)
        else:
            answer = text(chance)
            if chance.random() < .2:
                answer = f"<think>\nhm {text(chance)}\n</think>\n\n{answer}"
            messages.append({"role": "assistant", "content": answer})
            if chance.random() < .3:
                messages[-1]["reasoning_content"] = text(chance)
    variables = {"messages": messages, "add_generation_prompt": chance.random() < .7,
                 "bos_token": "<s>", "eos_token": "</s>"}
    if tools is not None or chance.random() < .3:
        variables["tools"] = tools
    for name, likely, choices in (("enable_thinking", .4, [True, False]), ("thinking", .2, [True, False]),
                                  ("reasoning_effort", .2, ["low", "medium", "high", "none"]),
                                  ("preserve_thinking", .1, [True])):
        if chance.random() < likely:
            variables[name] = chance.choice(choices)
    if chance.random() < .1:
        variables["documents"] = [{"title": text(chance, 2), "text": text(chance)}]
    return variables
