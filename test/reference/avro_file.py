"""Avro container files (codec null) in plain Python: an independent reader for the tests, with no dependency.

records(path) gives each record as a dict; blocks(path) the file's parts as bytes, bodies(path) its records as bytes; body(schema, bytes) one body. Avro specification 1.11.
"""
import json
import struct

PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


def long(b, at):
    v = shift = 0
    while True:
        c = b[at]
        at += 1
        v |= (c & 0x7F) << shift
        if c < 0x80:
            return (v >> 1) ^ -(v & 1), at
        shift += 7


def block_reader(item):
    """Arrays and maps come in blocks; item(b, at) gives one."""
    def read(b, at):
        out = []
        while True:
            n, at = long(b, at)
            if n == 0:
                return out, at
            if n < 0:
                n, (_, at) = -n, long(b, at)
            for _ in range(n):
                v, at = item(b, at)
                out.append(v)
    return read


def compile_schema(s, named, space=""):
    """A function (bytes, offset) -> (value, offset)."""
    if isinstance(s, list):
        branches = [compile_schema(x, named, space) for x in s]

        def union(b, at):
            i, at = long(b, at)
            return branches[i](b, at)
        return union
    t = s["type"] if isinstance(s, dict) else s
    if isinstance(t, (dict, list)):
        return compile_schema(t, named, space)
    if t == "null":
        return lambda b, at: (None, at)
    if t in ("int", "long"):
        return long
    if t == "boolean":
        return lambda b, at: (b[at] == 1, at + 1)
    if t == "float":
        return lambda b, at: (struct.unpack_from("<f", b, at)[0], at + 4)
    if t == "double":
        return lambda b, at: (struct.unpack_from("<d", b, at)[0], at + 8)
    if t in ("bytes", "string"):
        def text(b, at):
            n, at = long(b, at)
            v = b[at:at + n]
            return (v.decode() if t == "string" else bytes(v)), at + n
        return text
    if t == "array":
        return block_reader(compile_schema(s["items"], named, space))
    if t == "map":
        key, value = compile_schema("string", named), compile_schema(s["values"], named, space)

        def pair(b, at):
            k, at = key(b, at)
            v, at = value(b, at)
            return (k, v), at
        pairs = block_reader(pair)

        def mapping(b, at):
            v, at = pairs(b, at)
            return dict(v), at
        return mapping
    if t not in ("record", "enum", "fixed"):
        return named[t if "." in t or not space or f"{space}.{t}" not in named else f"{space}.{t}"]
    space = s.get("namespace", space)
    full = s["name"] if "." in s["name"] or not space else f"{space}.{s['name']}"
    if t == "enum":
        symbols = s["symbols"]

        def named_type(b, at):
            i, at = long(b, at)
            return symbols[i], at
    elif t == "fixed":
        def named_type(b, at):
            return bytes(b[at:at + s["size"]]), at + s["size"]
    else:
        fields = [(f["name"], compile_schema(f["type"], named, space)) for f in s["fields"]]

        def named_type(b, at):
            r = {}
            for name, read in fields:
                r[name], at = read(b, at)
            return r, at
    named[full] = named_type
    return named_type


def bodies(path):
    """(schema, number of records, their bodies one behind the other) of each block."""
    with open(path, "rb") as f:
        b = f.read()
    assert b[:4] == b"Obj\x01", path
    meta, at = compile_schema({"type": "map", "values": "bytes"}, {})(b, 4)
    assert meta.get("avro.codec", b"null") == b"null", path
    schema = json.loads(meta["avro.schema"])
    sync, at = b[at:at + 16], at + 16
    while at < len(b):
        n, at = long(b, at)
        size, at = long(b, at)
        yield schema, n, b[at:at + size]
        at += size
        assert b[at:at + 16] == sync, f"{path}: block that ends at {at}"
        at += 16


def records(path):
    read = None
    for schema, n, b in bodies(path):
        read, at = read or compile_schema(schema, {}), 0
        for _ in range(n):
            r, at = read(b, at)
            yield r
        assert at == len(b), f"{path}: a block of {len(b)} bytes, whose records end at {at}"


def blocks(path):
    """The header, and each block as it is: put together again, in whichever order, they are a file."""
    with open(path, "rb") as f:
        b = f.read()
    _, at = compile_schema({"type": "map", "values": "bytes"}, {})(b, 4)
    header, at = b[:at + 16], at + 16
    found = []
    while at < len(b):
        begin = at
        _, at = long(b, at)
        size, at = long(b, at)
        at += size + 16
        found.append(b[begin:at])
    return header, found


def body(schema, b):
    value, at = compile_schema(schema, {})(b, 0)
    assert at == len(b)
    return value
