#!/usr/bin/env python3
"""Random JSON schemas, random answers under them, and a judge who has nothing to do with floe.

judge.py WALK [COUNT] [SEED]: WALK is the program grammar_walk. For each of COUNT random schemas of the supported subset
an answer is drawn token by token from those that the mask allows, and python3-jsonschema says whether it is valid; random
valid values, written as docs/serving.md says, must be allowed by the masks at every byte. The last line is
"N passed, N failed, N skipped"."""
import json
import random
import subprocess
import sys
import tempfile

import jsonschema

PATTERNS = {
    "^[a-z]{2,5}$": ["ab", "xyzzy"],
    "^(foo|bar)-[0-9]+$": ["foo-1", "bar-2024"],
    "^\\d{3}$": ["007"],
    "^[^x]*$": ["", "a\"b\\c", "né"],
    "b+": ["b", "abba"],
    "^[A-Z][a-z]*( [A-Z][a-z]*)?$": ["Ab", "Ab Cd"],
}
FORMATS = {"date": "2024-02-28", "time": "12:00:00Z", "date-time": "2024-02-28T12:00:00Z", "ipv4": "10.0.0.1",
           "uuid": "123e4567-e89b-12d3-a456-426614174000", "email": "a.b@example.org", "hostname": "any text"}
NAMES = ["a", "b", "name", "id", "naïve", "x y", "quo\"te", "items", "n", "type"]
TEXTS = ["", "a", "hello", "né", "a\nb", "q\"q", "back\\slash", "😀", "  ", "{}", "12"]


class Schemas:
    """A random schema, and a valid value of it in the order of its properties."""

    def __init__(self, chance):
        self.chance = chance

    def schema(self, depth):
        makers = [self.string, self.integer, self.number, self.constant, self.simple]
        if depth > 0:
            makers += [self.object, self.object, self.array, self.any_of, self.one_of, self.all_of, self.types]
        return self.chance.choice(makers)(depth)

    def string(self, _):
        chance = self.chance
        kind = chance.randrange(5)
        if kind == 0:
            return {"type": "string"}, chance.choice(TEXTS)
        if kind == 1:
            pattern = chance.choice(list(PATTERNS))
            return {"type": "string", "pattern": pattern}, chance.choice(PATTERNS[pattern])
        if kind == 2:
            name = chance.choice(list(FORMATS))
            return {"type": "string", "format": name}, FORMATS[name]
        text = chance.choice(TEXTS)
        schema = {"type": "string"}
        if chance.random() < 0.7:
            schema["minLength"] = chance.randint(0, len(text))
        if chance.random() < 0.7:
            schema["maxLength"] = len(text) + chance.randrange(20)
        if kind == 3:
            schema["pattern"] = "^[^\\x01]*$"
        return schema, text

    def integer(self, _):
        chance = self.chance
        value = chance.choice([0, 1, -1, 7, 42, -99, 100, 1000, 65536, -123456789, 10**12])
        schema = {"type": "integer"}
        reach = 10 ** chance.randrange(6)
        if chance.random() < 0.5:
            schema["minimum"] = value - chance.randrange(reach)
        elif chance.random() < 0.3:
            schema["exclusiveMinimum"] = value - 1 - chance.randrange(reach)
        if chance.random() < 0.5:
            schema["maximum"] = value + chance.randrange(reach)
        elif chance.random() < 0.3:
            schema["exclusiveMaximum"] = value + 1 + chance.randrange(reach)
        return schema, value

    def number(self, _):
        chance = self.chance
        value = chance.choice([0, 1, -1, 0.5, -2.25, 3.125, 100.0, 99.75])
        schema = {"type": "number"}
        if chance.random() < 0.4:
            schema["minimum"] = int(value // 1) - chance.randrange(3)
        elif chance.random() < 0.3:
            schema["exclusiveMinimum"] = int(value // 1) - 1
        if chance.random() < 0.4:
            schema["maximum"] = int(-(-value // 1)) + chance.randrange(3)
        elif chance.random() < 0.3:
            schema["exclusiveMaximum"] = int(-(-value // 1)) + 1
        return schema, value

    def constant(self, _):
        chance = self.chance
        values = ["a", "b c", 1, -2, 1.5, None, True, [1, "x"], {"k": [None]}, "né\n"]
        if chance.random() < 0.3:
            value = chance.choice(values)
            return {"const": value}, value
        chosen = chance.sample(values, chance.randint(1, 4))
        return {"enum": chosen}, chance.choice(chosen)

    def simple(self, _):
        return self.chance.choice([({"type": "boolean"}, True), ({"type": "null"}, None), ({}, [1, {"x": "y"}]),
                                   (True, "text"), ({"type": "object"}, {"x": 1}), ({"type": "array"}, [None, 2])])

    def types(self, _):
        chosen = self.chance.sample([("string", "né"), ("integer", 3), ("null", None), ("boolean", False)], 2)
        return {"type": [name for name, _ in chosen], "description": "one of two"}, self.chance.choice(chosen)[1]

    def object(self, depth):
        chance = self.chance
        names = chance.sample(NAMES, chance.randrange(5))
        properties, value, required = {}, {}, []
        for name in names:
            properties[name], one = self.schema(depth - 1)
            if chance.random() < 0.5:
                required.append(name)
            if name in required or chance.random() < 0.5:
                value[name] = one
        schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        kind = chance.randrange(4)
        if kind == 0:
            schema["additionalProperties"] = False
        elif kind == 1:
            schema["additionalProperties"], one = self.schema(0)
            if chance.random() < 0.5:
                value["another"] = one
        return schema, value

    def array(self, depth):
        chance = self.chance
        schema, value = {"type": "array"}, []
        if chance.random() < 0.3:
            prefix = [self.schema(depth - 1) for _ in range(chance.randint(1, 3))]
            schema["prefixItems"] = [one for one, _ in prefix]
            value = [one for _, one in prefix]
        if chance.random() < 0.7 or not value:
            schema["items"], one = self.schema(depth - 1)
            value += [one] * chance.randrange(4)
        if chance.random() < 0.5:
            schema["minItems"] = chance.randint(0, len(value))
        if chance.random() < 0.5:
            schema["maxItems"] = len(value) + chance.randrange(3)
        return schema, value

    def any_of(self, depth):
        chosen = [self.schema(depth - 1) for _ in range(self.chance.randint(1, 3))]
        return {"anyOf": [schema for schema, _ in chosen]}, self.chance.choice(chosen)[1]

    def one_of(self, depth):
        chosen = []
        for tag in self.chance.sample(["cat", "dog", "fish"], 2):
            schema, value = self.schema(depth - 1)
            chosen.append(({"type": "object", "properties": {"tag": {"const": tag}, "of": schema},
                            "required": ["tag", "of"]}, {"tag": tag, "of": value}))
        return {"oneOf": [schema for schema, _ in chosen]}, self.chance.choice(chosen)[1]

    def all_of(self, depth):
        first, a = self.schema(depth - 1)
        second, b = self.schema(depth - 1)
        return ({"allOf": [{"type": "object", "properties": {"a": first}, "required": ["a"]},
                           {"properties": {"b": second}}]}, {"a": a, "b": b})

    def root(self):
        schema, value = self.schema(3)
        if isinstance(schema, dict) and self.chance.random() < 0.3:
            tree = {"type": "object", "properties": {"value": {"$ref": "#/$defs/leaf"},
                                                     "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
                    "required": ["value", "next"], "additionalProperties": False}
            nested = {"value": value, "next": {"value": value, "next": None}}
            return {"$defs": {"leaf": schema, "tree": tree}, "$ref": "#/$defs/tree"}, nested
        return schema, value


def written(value):
    return [json.dumps(value, ensure_ascii=False, separators=(",", ":")),
            json.dumps(value, ensure_ascii=False, separators=(", ", ": ")),
            json.dumps(value, ensure_ascii=False, indent=2)]


def has_constants(schema):
    return '"const"' in json.dumps(schema) or '"enum"' in json.dumps(schema)


def main():
    walk = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    chance = random.Random(seed)
    schemas = Schemas(chance)
    words = ['": "', '",', '{"', '"}', '"]', "ab", "foo", "foo-", "12", "-1", "tru", "true", "null", "\n  ", '"a"',
             '"name": ', '\\n', '\\"', "né", "😀", "0.5", "1e", "], [", "}, {", '":', '"tag": "cat"', " Cd"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write("".join(json.dumps(word) + "\n" for word in words))
        file.flush()
        program = subprocess.Popen([walk, str(seed), file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, encoding="utf-8")
        passed = failed = complete = instances = 0
        for number in range(count):
            schema, value = schemas.root()
            # Constants are compact, so that what holds some is tried in that form alone.
            texts = written(value)[:1] if has_constants(schema) else written(value)
            program.stdin.write(json.dumps({"schema": schema, "instances": texts}) + "\n")
            program.stdin.flush()
            line = program.stdout.readline()
            faults = judge(schema, value, texts, json.loads(line) if line else {"error": "the program ended"})
            if "complete" in line and json.loads(line).get("complete"):
                complete += 1
            instances += len(texts)
            if faults:
                failed += 1
                print(f"schema {number}: {json.dumps(schema, ensure_ascii=False)}\n  " + "\n  ".join(faults))
                if not line:
                    break
            else:
                passed += 1
        program.stdin.close()
        program.wait()
    print(f"{count} schemas, {complete} answers came to their end, {instances} valid texts read")
    if complete * 2 < count:
        failed += 1
        print("most answers were cut: that says nothing")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def judge(schema, value, texts, got):
    if "error" in got:
        return [got["error"]]
    faults = []
    validator = jsonschema.Draft202012Validator(schema)
    if not validator.is_valid(value):
        faults.append(f"the generator is wrong: {value!r}")
    if got["complete"]:
        try:
            answer = json.loads(got["answer"])
            faults += [f"invalid: {got['answer']!r}: {error.message[:200]}" for error in validator.iter_errors(answer)]
        except ValueError as error:
            faults.append(f"no JSON: {got['answer']!r}: {error}")
    faults += [f"forbidden: {texts[index]!r}" for index in got["refused"]]
    return faults


if __name__ == "__main__":
    sys.exit(main())
