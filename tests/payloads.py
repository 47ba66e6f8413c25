"""Hostile payloads, and harmless ones that look like it: what a worker has to say of each."""

import base64
import gzip
import json
import os
import pickle
import zlib

from multiworker.worker.errors import Reason
from multiworker.worker.message import MAX_DEPTH, MAX_TYPE

KIB = 1024
CANARY = "multiworker-canary"
"""A directory that is made where somebody unpickles what they should not."""


def task(data: str) -> bytes:
    """A task whose data is this JSON text."""
    return f'{{"type":"ok","data":{data}}}'.encode()


def nested(levels: int) -> str:
    """An array that is so many levels deep."""
    return "[" * levels + "]" * levels


class Command:
    """Runs a command in whoever unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (CANARY,)


NOT_JSON = {
    "empty": b"",
    "spaces": b" \n\t ",
    "cut": b'{"type":"ok"',
    "two texts": b"{} {}",
    "text and more": b'{"type":"ok"}x',
    "single quotes": b"{'type':'ok'}",
    "trailing comma": b'{"type":"ok",}',
    "comment": b'{/**/"type":"ok"}',
    "raw control character": b'{"type":"ok","data":"a\nb"}',
    "raw NUL": b'{"type":"ok","data":"a\x00b"}',
    "NaN": b"NaN",
    "NaN inside": task("NaN"),
    "Infinity": task("Infinity"),
    "-Infinity": task("-Infinity"),
    "not finite": task("1e400"),
    "-not finite": task("[-1e400]"),
    "4,301 digits": task("1" * 4301),
    "4,301 digits and a colon in a string": task('{"a:":' + "1" * 4301 + "}"),
    "leading zero": task("01"),
    "plus": task("+1"),
    "no digit before the point": task(".5"),
    "no digit after the point": task("1."),
    "lone high surrogate": task('"\\ud800"'),
    "lone low surrogate": task('"\\udc00"'),
    "surrogates in the wrong order": task('"\\udc00\\ud800"'),
    "lone surrogate as a key": task('{"\\ud800":1}'),
    "unknown escape": task('"\\x41"'),
    "short unicode escape": task('"\\u12"'),
    "byte order mark": b'\xef\xbb\xbf{"type":"ok"}',
    "RESP": b"\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "Lua": b"]] redis.call('FLUSHALL') --",
    "YAML": b"!!python/object/apply:os.system ['id']",
    "base64 of a pickle": base64.b64encode(pickle.dumps({"type": "ok"})),
    "pickle that runs a command, as text": pickle.dumps(Command(), protocol=0),
    "YAML that runs a command": b"!!python/object/apply:os.mkdir [multiworker-canary]",
    "a frame": b'w.1.1 1 0\n{"type":"ok"}',
    "the name of a counter": b"claimed",
    "control characters": b'{"type":"ok"}\x1b[2J',
    "upper-case literal": task("True"),
    "an unclosed string": b'{"type":"ok',
    "quotes": b'"' * 99,
    "UTF-16-LE": '{"type":"ok"}'.encode("utf-16-le"),
    "UTF-16-BE": '{"type":"ok"}'.encode("utf-16-be"),
    "UTF-32-LE": '{"type":"ok"}'.encode("utf-32-le"),
}
NOT_UTF8 = {
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "surrogate in a value": b'{"type":"ok","data":"\xed\xa0\x80"}',
    "Latin-1": b'{"type":"\xe9"}',
    "overlong": b'{"type":"ok","data":"\xc0\xaf"}',
    "beyond Unicode": b'{"type":"ok","data":"\xf4\x90\x80\x80"}',
    "UTF-16 with its mark": '{"type":"ok"}'.encode("utf-16"),
    "pickle": pickle.dumps({"type": "ok"}, protocol=4),
    "pickle that runs a command": pickle.dumps(Command(), protocol=4),
    "gzip": gzip.compress(b'{"type":"ok"}'),
    "zlib bomb": zlib.compress(b" " * 10 * KIB * KIB),
    "ELF": b"\x7fELF\x02\x01\x01\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
}
NOT_OBJECT = [
    b"17",
    b"1.1",
    b'"1.1"',
    b'["ok",[],{}]',
    b"null",
    b"true",
    b"1",
    b'"x"',
    b"[]",
    b'[{"type":"ok"}]',
    b"-0.5",
    b'""',
]
NO_TYPE = [b"{}", b'{"Type":"ok"}', b'{"task":"ok","args":["id"]}', b'{"data":{"type":"ok"}}']
BAD_TYPE = {
    "null": b'{"type":null}',
    "number": b'{"type":1}',
    "list": b'{"type":["ok"]}',
    "object": b'{"type":{"a":1}}',
    "bool": b'{"type":true}',
    "empty": b'{"type":""}',
    "line feed": b'{"type":"a\\nb"}',
    "NUL": b'{"type":"a\\u0000b"}',
    "escape": b'{"type":"\\u001b[31m"}',
    "DEL": b'{"type":"a\\u007f"}',
    "C1": b'{"type":"a\\u009b"}',
    "right-to-left override": b'{"type":"a\\u202eb"}',
    "isolate": '{"type":"a\u2066b"}'.encode(),
    "line separator": b'{"type":"a\\u2028b"}',
    "byte order mark inside": b'{"type":"\\ufeffok"}',
    "Arabic letter mark": b'{"type":"\\u061cok"}',
    "201 characters": b'{"type":"' + b"x" * (MAX_TYPE + 1) + b'"}',
    "a megabyte": b'{"type":"' + b"x" * KIB * KIB + b'"}',
}
DUPLICATE = {
    "type": b'{"type":"a","type":"b"}',
    "the same value": b'{"type":"a","type":"a"}',
    "in data": task('{"a":1,"b":2,"a":3}'),
    "deep": task('[{"x":{"y":[{"a":1,"a":1}]}}]'),
    "escaped differently": task('{"a":1,"\\u0061":2}'),
    "empty key": task('{"":1,"":2}'),
    "with white space before the colon": task('{"a" :1,"a"\t: 2}'),
    "hidden by a colon in a string": task('{"a":"x:y","a":1}'),
    "hidden by a key's look in a string": task('{"a":"\\":","a":1}'),
    "in many objects": task("[" + '{"a":1},' * 40 + '{"b":1,"b":2}]'),
}
TOO_DEEP = {
    "33 levels": task(nested(MAX_DEPTH)),
    "33 levels, arrays around an empty object": b'{"type":"ok","data":{"a":' + b"[" * 30 + b"{}" + b"]" * 30 + b"}}",
    "33 levels of objects": b'{"type":"ok","data":' + b'{"a":' * MAX_DEPTH + b"1" + b"}" * (MAX_DEPTH + 1),
    "20,000 objects": b'{"type":"ok","data":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
    "200,000 brackets": b"[" * 200_000,
    "1,000,000 brackets": b"[" * 1_000_000,
    "1,000,000 closed": nested(1_000_000).encode(),
    "deep and no JSON": b'{"a":' * 40 + b"}",
    "a deep one among flat ones": task("[" + "[]," * 50 + nested(40) + "]"),
}
GOOD = {
    "no data": b'{"type":"ok"}',
    "white space": b' \n{ "type" :\t"ok" }\r\n',
    "an id": b'{"type":"ok","id":"17","data":{}}',
    "32 levels": task(nested(MAX_DEPTH - 1)),
    "32 levels, arrays around an empty object": b'{"type":"ok","data":{"a":' + b"[" * 29 + b"{}" + b"]" * 29 + b"}}",
    "4,300 digits": task("1" * 4300),
    "brackets in a string": task(json.dumps("[" * 1000)),
    "quotes and brackets in a string": task(json.dumps('"{[' * 1000)),
    "colons in strings": task('{"a:":":::","b":"\\":"}'),
    "one key in many objects": task("[" + '{"a":1},' * 99 + '{"a":1}]'),
    "NUL in a value": task('"a\\u0000b"'),
    "a surrogate pair": task('"\\ud83d\\ude00"'),
    "any script": '{"type":"\u90ae\u4ef6-\u03b1\u03b2-\u0434","data":"\U0001f600"}'.encode(),
    "200 characters": b'{"type":"' + b"x" * MAX_TYPE + b'"}',
    "what other queues obey": b'{"type":"ok","attempts":-999,"max_retries":1e9,"queue":"other","lease_ms":0}',
    "what other decoders obey": b'{"type":"ok","__class__":"os.system","__reduce__":["os.system"],"py/object":"os"}',
    "a name that looks like code": b'{"type":"__import__(\'os\').system"}',
    "a template": b'{"type":"%s%n {0.__class__} ${jndi:ldap://x}"}',
    "a pickle in a string": task(json.dumps(base64.b64encode(pickle.dumps(1)).decode())),
    "25,000 keys": task(json.dumps({f"k{n}": n for n in range(25_000)})),
    "130,000 numbers": task("[" + "0," * 130_000 + "0]"),
    "pickle's and others' words": b'{"type":"ok","py/reduce":[{"py/function":"os.mkdir"}],"$type":"X","!!python":1}',
    "separators of frames": task('"|,: 1 0\\n 1 0"'),
    "another task's id": b'{"type":"ok","id":"w.1.1"}',
    "a trace from elsewhere": b'{"type":"ok","traceparent":"\\u0000garbage","headers":{"x":[1]}}',
    "a deep type of no concern": b'{"type":"ok","task":{"type":"os.system"},"args":["id"],"kwargs":{"self":1}}',
    "markup": task('"<script>alert(1)</script> =cmd|\\u0027/c calc\\u0027!A1"'),
    "numbers": task("[-0,0.1,1E+2,1e-400,9007199254740993,18446744073709551616,-9223372036854775809]"),
}


_TABLES: dict[Reason, dict[str, bytes]] = {
    Reason.NOT_JSON: NOT_JSON,
    Reason.NOT_UTF8: NOT_UTF8,
    Reason.NOT_OBJECT: {repr(payload): payload for payload in NOT_OBJECT},
    Reason.NO_TYPE: {repr(payload): payload for payload in NO_TYPE},
    Reason.BAD_TYPE: BAD_TYPE,
    Reason.DUPLICATE_KEY: DUPLICATE,
    Reason.TOO_DEEP: TOO_DEEP,
}
REFUSED = {f"{reason}, {name}": (reason, raw) for reason, table in _TABLES.items() for name, raw in table.items()}
"""What is no task -> why, and its bytes."""
NAMES = (
    *("os.system", "builtins.eval", "__import__('os').system", "eval('1')", "multiworker-canary", "/bin/sh", "*"),
    *("ok.__globals__", "ok.__wrapped__", "ok.__class__.__mro__", "ok.__call__", "ok:ok", "ok()", "OK", " ok", "ok "),
    *(
        "%s%n%(ok)s {0.__class__} ${jndi:ldap://x}",
        "<script>alert(1)</script>",
        "]] redis.call('FLUSHALL') --",
        "o\u212a",
    ),
)
"""Types that have no handler, however much they look like something else."""
UNKNOWN = {name: json.dumps({"type": name, "args": ["id"]}).encode() for name in NAMES}
LARGE = {
    "digits": task("0." + "1" * KIB * KIB),
    "numbers": task("[" + "0," * 500_000 + "0]"),
    "a name": b'{"type":"' + b"x" * KIB * KIB + b'"}',
    "nothing but bytes": bytes(range(256)) * 8 * KIB,
    "a task": task(json.dumps("x" * 256 * KIB)),
}
"""Payloads that are larger than workers take by default."""
HOSTILE = {
    **{name: row for name, row in REFUSED.items() if row[1]},
    **{f"{Reason.NO_HANDLER}, {name}": (Reason.NO_HANDLER, raw) for name, raw in UNKNOWN.items()},
    **{f"{Reason.TOO_LARGE}, {name}": (Reason.TOO_LARGE, raw) for name, raw in LARGE.items()},
}
"""All that a worker with a handler for ``ok`` is to dead-letter; an empty element is a bell, and dropped."""
