"""Writes small ONNX models and .npy files with nothing but the standard library."""

import struct

FLOAT, UINT8, INT64 = 1, 2, 7


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, payload):
    """A protobuf field: an int as varint, text or bytes with their length."""
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    if isinstance(payload, str):
        payload = payload.encode()
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def value_info(name, dims, dtype=FLOAT):
    """A tensor's declaration; a dim is an extent or a symbol."""
    shape = b"".join(
        field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in dims
    )
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def tensor(name, dims, floats):
    """A float initializer."""
    body = b"".join(field(1, dim) for dim in dims) + field(2, FLOAT) + field(8, name)
    return body + field(9, struct.pack(f"<{len(floats)}f", *floats))


def node(op, inputs, outputs, name="", domain=""):
    body = b"".join(field(1, x) for x in inputs) + b"".join(field(2, x) for x in outputs)
    return body + field(3, name) + field(4, op) + (field(7, domain) if domain else b"")


def model(nodes, inputs, outputs, initializers=(), opset=13, domains=()):
    graph = b"".join(field(1, x) for x in nodes) + field(2, "tiny")
    graph += b"".join(field(5, x) for x in initializers)
    graph += b"".join(field(11, x) for x in inputs) + b"".join(field(12, x) for x in outputs)
    opsets = [("", opset)] + [(domain, 1) for domain in domains]
    imports = b"".join(field(8, field(1, name) + field(2, version)) for name, version in opsets)
    return field(1, 8) + field(7, graph) + imports


def classifier(classes=3):
    """x [N, 4] -> MatMul -> Relu -> y [N, classes]; sample k of eye(4) scores class k % classes."""
    weights = [float(c == k % classes) for k in range(4) for c in range(classes)]
    return model(
        [node("MatMul", ["x", "w"], ["h"], "dense"), node("Relu", ["h"], ["y"])],
        [value_info("x", ["N", 4])],
        [value_info("y", ["N", classes])],
        [tensor("w", [4, classes], weights)],
    )


def mlp(hidden=16, classes=3):
    """x [N, 4] -> MatMul 'up' -> Relu -> MatMul 'down' -> y [N, classes], weights of all sizes."""
    wave = lambda count, step: [((k * step) % 17 - 8) / 8 for k in range(count)]
    return model(
        [node("MatMul", ["x", "u"], ["a"], "up"), node("Relu", ["a"], ["h"], "act"),
         node("MatMul", ["h", "d"], ["y"], "down")],
        [value_info("x", ["N", 4])],
        [value_info("y", ["N", classes])],
        [tensor("u", [4, hidden], wave(4 * hidden, 5)),
         tensor("d", [hidden, classes], wave(hidden * classes, 7))],
    )  # fmt: skip


def npy(dtype, shape, numbers):
    """The bytes of a .npy; dtype as in struct: 'f' float32, 'B' uint8, 'q' int64."""
    descr = {"f": "<f4", "B": "|u1", "q": "<i8"}[dtype]
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + struct.pack(
        f"<{len(numbers)}{dtype}", *numbers
    )


def eye(rows):
    """`rows` samples of 4 features, each with a single 1."""
    return npy("f", [rows, 4], [float(i % 4 == k) for i in range(rows) for k in range(4)])
