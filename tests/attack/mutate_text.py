"""JSON, TOML, XML, and lists of words, broken by their grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.attack.grammars import Random, fits

# --- JSON ----------------------------------------------------------------------------------------

TEXTS = (
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\udcff"', '"\\u202e\\u2066"', '"\\u001b[2J"',
    '"\\u009b31m"', '"$\\\\frac{$"', '"<img src=x onerror=alert(1)>"', '"../../../etc/passwd"',
    '"/dev/zero"', '"a\\nb"', '"\\u2028"', '"nan"', '"1"', '"none"', '"' + "x" * 5000 + '"',
    '"' + "a." * 3000 + '"', '"%s{0}"', '"\\ud83d\\ude00"', '"C:\\\\\\\\NUL"', '"object"',
    '"train"', '"auto"', '"cuda:99999999999999999999"',
)  # fmt: skip
SCALARS = (
    "null", "true", "false", "0", "1", "-1", "2", "1.5", "-0.0", "0.1", "1e308", "-1e308",
    "1e-320", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "-" + "9" * 400,
    "7" * 5000, str(2**31), str(-(2**31)), str(2**32), str(2**53 + 1), str(2**63),
    str(-(2**63) - 1), str(2**64), "1e30", "1e18", "100000000000", "3.4e39", "1E2",
)  # fmt: skip
LISTS = (
    "[]", "[[]]", "{}", "[null]", "[1]", "[[1,2],[3]]", '{"a":1}', "[NaN]", '["a"]', '["a","a"]',
    "[true]", "[1e400]", "[[[[1]]]]", "[0,0,0,0]", "[1e308,1e308]", '[{"a":[]}]', '{"":{}}',
    "[-1,-1]", "[" * 60 + "]" * 60, "[" * 900 + "]" * 900, '{"a":' * 300 + "1" + "}" * 300,
)  # fmt: skip


def huge_json(rng: Random) -> str:
    """Return a value that is deep or large."""
    count = rng.choice((2_000, 20_000, 100_000))
    return rng.choice(
        (
            "[" * count + "]" * count,
            "[" * count,
            '{"a":' * count + "0" + "}" * count,
            "[" + "0," * count + "0]",
            "{" + ",".join(f'"k{i}":0' for i in range(count)) + "}",
            "[" + '{"a":[1]},' * (count // 4) + "0]",
            '"' + "x" * (10 * count) + '"',
            "[" + "[]," * count + "[]]",
            "[[" + "0,0,0,0],[" * (count // 4) + "0]]",
        )
    )


def odd_json(rng: Random) -> str:
    """Return the text of a value that nobody expects."""
    chance = rng.random()
    if chance < 0.02:
        return huge_json(rng)
    return rng.choice(SCALARS if chance < 0.5 else TEXTS if chance < 0.7 else LISTS)


def _nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Return each place in a tree of dicts and lists, as what holds it and its key."""
    found, waiting = [], [tree]
    while waiting and len(found) < 5000:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item))
        for key in keys:
            found.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    return found


def change_json(rng: Random, tree: Any) -> str:
    """Return the text of a tree with one to three places changed."""
    raw: dict[str, str] = {}

    def put(text: str) -> str:
        mark = f"@@{len(raw)}@@"
        raw[json.dumps(mark)] = text
        return mark

    tree = json.loads(json.dumps(tree))
    if rng.random() < 0.03 or not isinstance(tree, dict | list):
        return odd_json(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _nodes(tree)
        if not places:
            break
        holder, key = rng.choice(places)
        way = rng.randrange(9)
        if way < 4:
            holder[key] = put(odd_json(rng))
        elif way == 4:
            del holder[key]
        elif way == 5:
            other, place = rng.choice(places)
            # A copy, because a tree in itself has no text.
            holder[key] = json.loads(json.dumps(other[place]))
        elif way == 6 and isinstance(holder, dict):
            odd = rng.choice(("", "a.b", "\x1b[2J", "\ud800", "x" * 3000, "step", "$\\frac{$"))
            if rng.random() < 0.5:
                holder[odd] = holder.pop(key)
            else:
                holder[odd] = put(odd_json(rng))
        elif way == 7 and isinstance(holder, list):
            holder[key:key] = [holder[key]] * rng.choice((1, 2, 1000))
        else:
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
    text = json.dumps(tree)
    for mark, replacement in raw.items():
        text = text.replace(mark, replacement)
    if rng.random() < 0.05:  # a key twice
        text = text.replace("{", '{"version": 1, "steps": [], ', 1)
    return text


def encoded(rng: Random, text: str) -> bytes:
    data = text.encode(errors="surrogatepass")
    if rng.random() < 0.03:
        data = rng.choice((b"\xef\xbb\xbf" + data, text.encode("utf-16", errors="replace")))
    return data


@fits("json", "json", "json")
def json_values(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change values and keys of a JSON file."""
    return encoded(rng, change_json(rng, json.loads(data)))


@fits("jsonl", "jsonl", "jsonl")
def json_lines(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change values, keys and lines of a file of JSON lines."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        way = rng.randrange(8)
        if way < 4:
            try:
                lines[at] = change_json(rng, json.loads(lines[at]))
            except (ValueError, RecursionError):  # it is broken already
                continue
        elif way == 4:
            lines[at] = rng.choice(("", " ", "{}", "[]", "null", "{", "1", '"a"', odd_json(rng)))
        elif way == 5:
            lines[at:at] = [rng.choice(lines)] * rng.choice((1, 2, 300))
        elif way == 6 and len(lines) > 1:
            del lines[at]
        else:
            rng.shuffle(lines)
    return encoded(rng, rng.choice(("\n", "\n", "\n", "\r\n", "\n\n")).join(lines) + "\n")


# --- TOML ----------------------------------------------------------------------------------------

TOML_VALUES = (
    "nan", "inf", "-inf", "1e400", "1e30", "-1", "0", "1", "0x" + "f" * 300, "9" * 400, "7" * 5000,
    "true", '"none"', '""', '"voc"', "[]", "[[]]", "{}", "[1, 'a']", "1979-05-27", "07:32:00",
    "1979-05-27T07:32:00Z", "'''\n'''", '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', "'$\\frac{$'",
    "{a={b={c=1}}}", "[" * 100 + "]" * 100, "[" * 3000 + "]" * 3000, "[" * 40_000,
    "{a=" * 3000 + "1" + "}" * 3000, "'" + "x" * 20_000 + "'", "[" + "1," * 20_000 + "]",
    '["a", "a"]', "[nan]", "[inf, 1]", "[0]", "[-1.5]", "[[1,2],[3,4]]", "'/dev/zero'", "'/'",
    "'\\0'", "'../..'", "1_000_000_000_000", "1e18", "0.999999999", "1e-320", "[1e308, 1e-308]",
    "[1000000000000]", "'cuda:9'", "[" + "'k'," * 5000 + "]", "100000000",
)  # fmt: skip


@fits("toml", "toml", "toml")
def toml_lines(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change values, keys and tables of a TOML file."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        key, equals, value = lines[at].partition(" = ")
        way = rng.randrange(10)
        if way < 5 and equals:
            lines[at] = f"{key} = {rng.choice(TOML_VALUES)}"
        elif way == 5 and equals:
            lines[at] = f"{odd_key(rng, key)} = {value}"
        elif way == 6:
            lines[at:at] = [rng.choice(lines)] * rng.choice((1, 2, 300))
        elif way == 7:
            del lines[at]
            lines = lines or [""]
        elif way == 8:
            many = rng.choice((10, 3000, 20_000))
            names = ".".join(["a"] * many)
            extra = (
                f"[{names}]", f"[[{names}]]", f"{names} = 1", f"[{odd_key(rng, 'run')}]", "[", "=",
                "\n".join(f"k{i} = 1" for i in range(many)), "\n".join(["[[run]]"] * many),
                f"x = {{{names} = 1}}", "'' = 1", "# \x01", '"\\ud800" = 1',
            )  # fmt: skip
            lines.insert(at, rng.choice(extra))
        else:
            lines[at] = (
                f"{rng.choice(('run', 'data', 'optimizer', 'a.b'))} = {rng.choice(TOML_VALUES)}"
            )
    return encoded(rng, "\n".join(lines) + "\n")


def odd_key(rng: Random, key: str) -> str:
    """Return a key that is not the right one."""
    return rng.choice(
        (f'"{key}"', f"{key}.a", f"a.{key}", key.upper(), key[:-1] or "k", "'\\'", "''",
         '"\\u001b[2J"', '"\\u202e"', "x" * 3000, ".".join("ab" * 30_000), "1", "-",
         '"$\\\\frac{$"', key * 40)
    )  # fmt: skip


@fits("words", "words", "words")
def setting(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change key or value of what ``--set`` and flags get, ``KEY=VALUE``, one a line."""
    lines = data.decode().splitlines()
    at = rng.randrange(len(lines))
    key, _, value = lines[at].partition("=")
    if rng.random() < 0.15:
        key = odd_key(rng, key).strip("\"'")
    if rng.random() < 0.9:
        value = rng.choice((*TOML_VALUES, value + ",", f"[{value}]", "1\n2", "a = 1", value * 300))
        if rng.random() < 0.3:
            value = rng.choice(TEXTS + SCALARS).strip('"')
    lines[at] = f"{key}={value}"
    return "\n".join(lines).encode(errors="surrogatepass")


# --- XML -----------------------------------------------------------------------------------------

XML_TEXTS = (
    "", " ", "0", "-0", "-1", "1", "1.5", "nan", "inf", "-inf", "1e308", "-1e308", "1e-320",
    "1e400", "1_0", "٣", "0x10", "9" * 400, "9" * 5000, "true", "\t5\n", "<![CDATA[5]]>", "&#48;",
    "&#x202e;", "&#27;[2J", "&#155;31m", "$\\frac{$", "&lt;script&gt;", "..", "x" * 5000, "a b",
    "é" * 300, "&amp;", "&undefined;", "&#0;", "&#xD800;", "<a>5</a>", "5<!-- c -->", "<?pi?>",
    "unspecified", "Infinity", "1e3", str(2**31), str(2**63), str(2**64), "2147483647.5",
    "&#8232;", "4294967296", "99999999", "1e15",
)  # fmt: skip


@fits("xml", "xml", "xml")
def xml_elements(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change texts, tags and the number of elements of an annotation."""
    text = data.decode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        leaves = list(re.finditer(r"<(\w+)>([^<>]*)</\1>", text))
        if not leaves:
            break
        leaf = rng.choice(leaves)
        tag, was = leaf[1], leaf[2]
        way = rng.randrange(10)
        if way < 5:
            new = f"<{tag}>{rng.choice(XML_TEXTS)}</{tag}>"
        elif way == 5:
            new = ""
        elif way == 6:
            new = leaf[0] * rng.choice((2, 3, 1000))
        elif way == 7:
            odd = rng.choice(
                (tag.upper(), tag[:-1] or "t", tag + "s", f"n:{tag}", "x" * 3000, "é", tag * 60)
            )
            new = f"<{odd}>{was}</{odd}>"
        elif way == 8:
            new = f"<{tag} a={quoteattr('x' * rng.choice((1, 9999)))}>{was}</{tag}>"
        else:
            new = f"<{tag}>{leaf[0]}</{tag}>"
        text = text[: leaf.start()] + new + text[leaf.end() :]
    if rng.random() < 0.2:
        text = xml_whole(rng, text)
    return encoded(rng, text)


def xml_whole(rng: Random, text: str) -> str:
    """Change the whole of an annotation: its number of objects, its nesting, its head."""
    objects = re.findall(r"<object>.*?</object>", text, re.DOTALL) or ["<object/>"]
    count = rng.choice((300, 5000, 20_000))
    way = rng.randrange(9)
    if way == 0:
        return text.replace("</annotation>", objects[0] * count + "</annotation>")
    if way == 1:
        boxes = "".join(
            re.sub(r"<xmin>[^<]*<", f"<xmin>{1 + i * 1e-3:.3f}<", objects[0]) for i in range(count)
        )
        return text.replace("</annotation>", boxes + "</annotation>")
    if way == 2:
        return text.replace("<object>", "<a>" * count + "</a>" * count + "<object>", 1)
    if way == 3:
        return "<annotation>" * count + text + "</annotation>" * count
    if way == 4:
        entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
        return f'<!DOCTYPE annotation [<!ENTITY e0 "lol">{entities}]>' + text
    if way == 5:
        name = rng.choice((
            "utf-16", "utf-7", "idna", "rot13", "base64", "zlib", "x" * 300, "cp037", "punycode",
            "unicode_escape", "undefined", "utf-32", "shift_jis", "hex", "mbcs",
        ))  # fmt: skip
        return f"<?xml version='1.0' encoding='{name}'?>" + text
    if way == 6:
        corners = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
        ignored = f"<ignored><bndbox>{corners}</bndbox></ignored>"
        return text.replace("</annotation>", ignored * count + "</annotation>")
    if way == 7:
        return text.replace(
            "<annotation>", "<annotation " + " ".join(f'a{i}="1"' for i in range(count)) + ">"
        )
    odd = "".join(f"<bndbo{chr(97 + i % 26)}{i}/>" for i in range(count))
    return text.replace("</object>", odd + "</object>", 1)


# --- lists and tables of text --------------------------------------------------------------------


@fits("text", "text", "text")
def text_lines(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change words and lines of a list or a table."""
    lines = data.decode(errors="replace").splitlines() or [""]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        odd = rng.choice(
            (
                *XML_TEXTS,
                "a/" * 3000,
                "/" * 20_000,
                "-1",
                "\\" * 9000,
                "é" * 9000,
                "\x85",
                "\x1c",
                "\u2028",
                '"',
                "'" * 500,
            )
        )
        way = rng.randrange(7)
        if way < 3:
            words[rng.randrange(len(words))] = odd
            lines[at] = " ".join(words)
        elif way == 3:
            line = rng.choice(lines)
            lines[at:at] = [line] * rng.choice((1, 2, 3000 if len(line) < 1000 else 20))
        elif way == 4:
            del lines[at]
            lines = lines or [""]
        elif way == 5:
            lines[at] = rng.choice(
                ("", " ", odd, f"{lines[at]} {odd}", f"{odd} 1", lines[at].replace(" ", "\t"))
            )
        else:
            lines[at] = " ".join(words[: rng.randrange(len(words) + 1)])
    text = rng.choice(("\n", "\n", "\r\n", "\r", "\0")).join(lines)
    codes = (
        "utf-8",
        "utf-8",
        "utf-8",
        "utf-16",
        "utf-16-le",
        "utf-8-sig",
        "cp1252",
        "utf-32",
        "utf-7",
    )
    return text.encode(rng.choice(codes), errors="replace")
