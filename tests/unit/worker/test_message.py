"""Frames, and the decoder against every kind of hostile payload."""

import base64
import gzip
import json
import pickle
import sys
import tracemalloc

import pytest

from multiworker.worker.errors import PayloadError, Reason
from multiworker.worker.message import MAX_DEPTH, MAX_TYPE, Frame, decode, parse_frame, valid_name

KIB = 1024


def task(data: str) -> bytes:
    """A task whose data is this JSON text."""
    return f'{{"type":"ok","data":{data}}}'.encode()


def nested(levels: int) -> str:
    """An array that is so many levels deep."""
    return "[" * levels + "]" * levels


def verdict(payload: bytes) -> Reason:
    with pytest.raises(PayloadError) as caught:
        decode(payload)
    return caught.value.reason


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
    "upper-case literal": task("True"),
    "an unclosed string": b'{"type":"ok',
    "quotes": b'"' * 99,
}
NOT_UTF8 = {
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "surrogate in a value": b'{"type":"ok","data":"\xed\xa0\x80"}',
    "Latin-1": b'{"type":"\xe9"}',
    "overlong": b'{"type":"ok","data":"\xc0\xaf"}',
    "beyond Unicode": b'{"type":"ok","data":"\xf4\x90\x80\x80"}',
    "UTF-16 with its mark": '{"type":"ok"}'.encode("utf-16"),
    "pickle": pickle.dumps({"type": "ok"}, protocol=4),
    "gzip": gzip.compress(b'{"type":"ok"}'),
    "ELF": b"\x7fELF\x02\x01\x01\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
}
UTF_16_AND_32 = {
    "UTF-16-LE": '{"type":"ok"}'.encode("utf-16-le"),
    "UTF-16-BE": '{"type":"ok"}'.encode("utf-16-be"),
    "UTF-32-LE": '{"type":"ok"}'.encode("utf-32-le"),
}
NOT_OBJECT = [b"null", b"true", b"1", b'"x"', b"[]", b'[{"type":"ok"}]', b"-0.5", b'""']
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
    "numbers": task("[-0,0.1,1E+2,1e-400,9007199254740993,18446744073709551616,-9223372036854775809]"),
}


@pytest.mark.parametrize("payload", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_one_json_text_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.NOT_JSON


@pytest.mark.parametrize("payload", NOT_UTF8.values(), ids=NOT_UTF8)
def test_what_is_not_utf_8_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.NOT_UTF8


@pytest.mark.parametrize("payload", UTF_16_AND_32.values(), ids=UTF_16_AND_32)
def test_other_encodings_are_not_guessed(payload: bytes) -> None:
    assert verdict(payload) in {Reason.NOT_UTF8, Reason.NOT_JSON}


@pytest.mark.parametrize("payload", NOT_OBJECT)
def test_json_that_is_no_object_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.NOT_OBJECT


@pytest.mark.parametrize("payload", NO_TYPE)
def test_an_object_without_a_type_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.NO_TYPE


@pytest.mark.parametrize("payload", BAD_TYPE.values(), ids=BAD_TYPE)
def test_a_type_that_breaks_logs_or_lookups_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.BAD_TYPE


@pytest.mark.parametrize("payload", DUPLICATE.values(), ids=DUPLICATE)
def test_a_key_named_twice_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.DUPLICATE_KEY


@pytest.mark.timeout(20)
@pytest.mark.parametrize("payload", TOO_DEEP.values(), ids=TOO_DEEP)
def test_deep_nesting_is_refused(payload: bytes) -> None:
    assert verdict(payload) == Reason.TOO_DEEP


@pytest.mark.parametrize("payload", GOOD.values(), ids=GOOD)
def test_a_task_is_decoded_whole(payload: bytes) -> None:
    assert decode(payload) == json.loads(payload)


def test_a_name_is_only_a_name() -> None:
    before = set(sys.modules)
    decode(b'{"type":"antigravity.geohash","args":["id"]}')
    assert set(sys.modules) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "payload",
    [
        b'{"' + b'\\"' * 128 * KIB,
        b'"\\' * 128 * KIB,
        b'{"a":"' + b"\\" * 256 * KIB,
        b'"' * 256 * KIB,
        b'{"type":"ok","data":[' + b'"a":,' * 50 * KIB,
        b'{"type":"ok","data":"' + b'\\":' * 85 * KIB + b'"}',
        b'{"type":"ok","data":"' + b'"   ' * 64 * KIB,
        b'{"type":"ok","data":"' + b'\\"' + b" " * 250 * KIB + b'"}',
    ],
    ids=range(8),
)
def test_a_hostile_payload_costs_no_more_than_its_length(payload: bytes) -> None:
    try:
        decode(payload)
    except PayloadError as error:
        assert error.reason in {Reason.NOT_JSON, Reason.DUPLICATE_KEY}  # noqa: PT017


def test_a_quarter_megabyte_of_brackets_takes_bounded_memory() -> None:
    payload = task("[" + ",".join([nested(5)] * 23_000) + "]")
    tracemalloc.start()
    decode(payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * KIB * KIB


def test_the_detail_never_repeats_the_payload() -> None:
    for payload in (*NOT_JSON.values(), *NOT_UTF8.values(), *BAD_TYPE.values(), *DUPLICATE.values()):
        with pytest.raises(PayloadError) as caught:
            decode(payload.replace(b"ok", b"s3cret"))
        assert "s3cret" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a", "x" * MAX_TYPE, "os.system", "a b", "\u90ae", "\U0001f600"])
def test_names_of_any_script_are_valid(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (b'w.1.1 1 0\n{"a":1}', Frame("w.1.1", 1, 0, b'{"a":1}')),
        (b"w.1.1 12 3\nx\ny\n\n", Frame("w.1.1", 12, 3, b"x\ny\n\n")),
        (b"w.1.1 1 0\n", Frame("w.1.1", 1, 0, b"")),
        (b"w.1.1 1 0\n\x00\xff 1 0\n", Frame("w.1.1", 1, 0, b"\x00\xff 1 0\n")),
        (b"w.1.1 2 1 2000000\nhead", Frame("w.1.1", 2, 1, b"head", 2_000_000)),
    ],
)
def test_a_frame_is_a_header_and_the_payload_byte_for_byte(raw: bytes, frame: Frame) -> None:
    assert parse_frame(raw) == frame


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\n", b"w.1.1", b"w.1.1 1\nx", b"w x 0\n{}", b"w 1 0 y\n{}", b"w 1 0 1 1\n{}", b"\xff 1 1\n{}"),
        *(b"w -1 0\n{}", b"w 1 0 \n{}", b"w" * 600 + b" 1 0\n{}", b"w " + b"9" * 5000 + b" 0\n{}", b"\x1b[2J 1 0\n{}"),
    ],
)
def test_a_forged_header_is_a_first_run_without_a_name(raw: bytes) -> None:
    frame = parse_frame(raw)
    assert (frame.id, frame.attempt, frame.crashes, frame.size) == ("?", 1, 0, None)
    assert frame.payload == raw.partition(b"\n")[2]
