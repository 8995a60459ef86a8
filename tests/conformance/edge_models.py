"""Small models that hold what real ones seldom do, for roundtrip.py and the fuzzer.

    edge_models.py FOLDER
"""

import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17)]


def info(name, shape=("N", 4), dtype=TensorProto.FLOAT):
    """A tensor declaration."""
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, shape=(4,), dtype=numpy.float32):
    """Seeded values in raw form."""
    values = numpy.random.default_rng(len(name)).standard_normal(shape) * 4
    return numpy_helper.from_array(values.astype(dtype), name)


def model(nodes, inputs=None, outputs=None, initializers=(), **more):
    """A model from [N, 4] to [N, 4] unless said otherwise."""
    graph = helper.make_graph(nodes, "edge", inputs or [info("x")], outputs or [info("y")],
                              list(initializers), sparse_initializer=more.pop("sparse", None),
                              value_info=more.pop("value_info", None))
    return helper.make_model(graph, opset_imports=more.pop("opsets", OPSETS),
                             ir_version=more.pop("ir", 8), **more)


def unknown_field(message, number, text):
    """Adds a field that no version of ONNX has."""
    data = bytes([number << 3 & 0x7F | 0x82, number >> 4, len(text)]) + text.encode()
    message.MergeFromString(data)


def ir3():
    """Every weight is an input too."""
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [info("x"), info("w", (4,))],
                 initializers=[weight("w")], ir=3, opsets=[helper.make_opsetid("", 8)])


def ir3_constant():
    """A Constant node has no place in IR version 3 once it is an initializer."""
    constant = helper.make_node("Constant", [], ["c"], value=weight("c"))
    nodes = [constant, helper.make_node("Add", ["x", "w"], ["s"]),
             helper.make_node("Mul", ["s", "c"], ["y"])]
    return model(nodes, [info("x"), info("w", (4,))], initializers=[weight("w")], ir=3,
                 opsets=[helper.make_opsetid("", 8)])


def overridable():
    """An initializer the caller may replace."""
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [info("w", (4,)), info("x")],
                 initializers=[weight("w")])


def constants():
    """Every form of the Constant node, one of them a graph output."""
    forms = {"value_int": 3, "value_float": 1.5, "value_ints": [1, 2], "value_floats": [0.5, 2.0, 1.0],
             "value_string": "a", "value_strings": ["a", "b"]}
    nodes, outputs = [], [info("y")]
    for name, value in forms.items():
        nodes.append(helper.make_node("Constant", [], [name], **{name: value}))
        kind = (TensorProto.STRING if "string" in name
                else TensorProto.FLOAT if "float" in name else TensorProto.INT64)
        outputs.append(info(name, [len(value)] if isinstance(value, list) else [], kind))
    nodes.append(helper.make_node("Relu", ["x"], ["y"]))
    return model(nodes, outputs=outputs)


def input_is_output():
    """Nothing between an input, a weight and the outputs."""
    return model([helper.make_node("Relu", ["x"], ["y"])],
                 outputs=[info("y"), info("x"), info("w", (4,))], initializers=[weight("w")])


def unused():
    """Initializers nobody reads, and a declaration of a value that is not there."""
    return model([helper.make_node("Relu", ["x"], ["y"])],
                 initializers=[weight("a"), weight("b", (300,))],
                 value_info=[info("nowhere"), info("a", (4,))])


def branch(name, op, captured):
    """A subgraph that reads `captured` from outside."""
    return helper.make_graph([helper.make_node(op, [captured, "x"], [name])], name, [], [info(name)])


def if_capture():
    """Branches that read values and weights of the graph around them."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("ReduceSum", ["x"], ["s"],
                                                                     keepdims=0),
             helper.make_node("Greater", ["s", "zero"], ["c"]),
             helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "Add", "r"),
                              else_branch=branch("e", "Mul", "w"))]
    return model(nodes, initializers=[weight("w"), numpy_helper.from_array(numpy.float32(0), "zero")])


def loop():
    """A body with state, a scan output, an If inside, and outer values two levels down."""
    inner = [helper.make_graph([helper.make_node(op, ["state", "w"], [op])], op, [], [info(op)])
             for op in ("Add", "Sub")]
    body = helper.make_graph(
        [helper.make_node("If", ["go"], ["next"], then_branch=inner[0], else_branch=inner[1]),
         helper.make_node("Identity", ["go"], ["go_on"]),
         helper.make_node("Add", ["next", "r"], ["scan"])],
        "body", [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("state")],
        [info("go_on", [], TensorProto.BOOL), info("next"), info("scan")])
    nodes = [helper.make_node("Relu", ["x"], ["r"]),
             helper.make_node("Loop", ["n", "", "x"], ["y", "all"], body=body)]
    return model(nodes, outputs=[info("y"), info("all", (3, "N", 4))],
                 initializers=[weight("w"), numpy_helper.from_array(numpy.int64(3), "n")])


def scan():
    """A running sum."""
    body = helper.make_graph([helper.make_node("Add", ["sum", "row"], ["next"]),
                              helper.make_node("Identity", ["next"], ["out"])], "body",
                             [info("sum", [4]), info("row", [4])], [info("next", [4]), info("out", [4])])
    return model([helper.make_node("Scan", ["w", "x"], ["last", "y"], body=body, num_scan_inputs=1)],
                 outputs=[info("last", [4]), info("y")], initializers=[weight("w")])


def unsorted():
    """Nodes in reverse."""
    return model([helper.make_node("Relu", ["b"], ["y"]), helper.make_node("Abs", ["a"], ["b"]),
                  helper.make_node("Neg", ["x"], ["a"])])


def sparse():
    """A sparse initializer, by flat and by axis index."""
    tensors = []
    for name, indices in (("s", numpy.array([1, 6])), ("t", numpy.array([[0, 1], [3, 2]]))):
        values = helper.make_tensor(name, TensorProto.FLOAT, [2], [1.5, -2.0])
        positions = numpy_helper.from_array(indices.astype(numpy.int64), name + "_indices")
        tensors.append(helper.make_sparse_tensor(values, positions, [4, 4]))
    return model([helper.make_node("MatMul", ["x", "s"], ["m"]),
                  helper.make_node("MatMul", ["m", "t"], ["y"])], sparse=tensors)


def sparse_constant():
    """The one form of the Constant node that stays a node."""
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5])
    positions = numpy_helper.from_array(numpy.array([2]), "v_indices")
    constant = helper.make_node("Constant", [], ["c"],
                                sparse_value=helper.make_sparse_tensor(values, positions, [4]))
    return model([constant, helper.make_node("Add", ["x", "c"], ["y"])])


def function():
    """A local function, which also calls another."""
    double = helper.make_function("own", "Double", ["a"], ["b"],
                                  [helper.make_node("Add", ["a", "a"], ["b"])], OPSETS)
    opsets = OPSETS + [helper.make_opsetid("own", 1)]
    twice = helper.make_function("own", "Twice", ["a"], ["c"],
                                 [helper.make_node("Double", ["a"], ["b"], domain="own"),
                                  helper.make_node("Double", ["b"], ["c"], domain="own")], opsets)
    node = helper.make_node("Twice", ["x"], ["z"], domain="own", name="call")
    return model([node, helper.make_node("Relu", ["z"], ["y"])], functions=[double, twice],
                 opsets=opsets)


def custom():
    """An operator of a domain nobody knows, with every kind of attribute."""
    attributes = {"i": 1, "f": float("nan"), "s": "text", "is": [1, 2], "fs": [1.0, 2.0],
                  "ss": ["a", "b"], "t": weight("t", (700,)), "ts": [weight("u"), weight("v")],
                  "g": branch("inner", "Add", "w")}
    node = helper.make_node("Mystery", ["x", "", "w", ""], ["y", ""], domain="com.example",
                            doc_string="kept", **attributes)
    node.attribute.add(name="empty", type=onnx.AttributeProto.INTS)
    node.attribute.add(name="tp", type=onnx.AttributeProto.TYPE_PROTO).tp.CopyFrom(info("a").type)
    unknown_field(node, 1234, "a field of the future")
    unknown_field(node.attribute[0], 1234, "another")
    return model([node], initializers=[weight("w")], opsets=OPSETS + [
        helper.make_opsetid("com.example", 7)])


def metadata():
    """Everything that describes."""
    relu = helper.make_node("Relu", ["x"], ["r"], name="relu", doc_string="a node")
    relu.metadata_props.add(key="where", value="line 7")
    add = helper.make_node("Add", ["r", "w"], ["y"], domain="ai.onnx")
    tensor = weight("w")
    tensor.doc_string = "a weight"
    tensor.metadata_props.add(key="trained", value="yes")
    result = model([relu, add], [info("x", (None, 4))], [info("y", (None, 4))], [tensor],
                   producer_name="edge", producer_version="1", domain="org.example", model_version=9,
                   doc_string="a model", value_info=[info("r", (None, 4))])
    result.graph.doc_string = "a graph"
    result.graph.input[0].doc_string = "an input"
    result.graph.input[0].type.denotation = "IMAGE"
    result.graph.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    result.graph.output[0].doc_string = "an output"
    result.graph.quantization_annotation.add(tensor_name="r").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="w")
    result.graph.metadata_props.add(key="graph", value="g")
    helper.set_model_props(result, {"author": "edge"})
    unknown_field(result, 1234, "model")
    unknown_field(result.graph, 1234, "graph")
    unknown_field(result.graph.input[0], 1234, "declaration")
    unknown_field(result.graph.initializer[0], 1234, "weight")
    return result


def training():
    """Training graphs beside the inference graph."""
    result = model([helper.make_node("Add", ["x", "w"], ["y"])],
                   initializers=[weight("w"), weight("rate", ())])
    entry = result.training_info.add()
    entry.algorithm.CopyFrom(helper.make_graph([helper.make_node("Mul", ["w", "rate"], ["w_new"])],
                                               "step", [], [info("w_new", (4,))]))
    entry.update_binding.add(key="w", value="w_new")
    return result


def typed_fields():
    """Weights in the typed fields instead of raw bytes; all are outputs."""
    kinds = {TensorProto.FLOAT: [1.5, 2], TensorProto.DOUBLE: [1.5, 2], TensorProto.INT8: [-1, 2],
             TensorProto.UINT8: [255, 2], TensorProto.INT16: [-1, 2], TensorProto.UINT16: [65535, 2],
             TensorProto.INT32: [-1, 2], TensorProto.UINT32: [4294967295, 2],
             TensorProto.INT64: [-1, 2], TensorProto.UINT64: [2**64 - 1, 2],
             TensorProto.BOOL: [True, False], TensorProto.FLOAT16: [1.5, -2],
             TensorProto.STRING: [b"a", b""]}
    tensors = [helper.make_tensor(f"w{kind}", kind, [2], values) for kind, values in kinds.items()]
    return model([helper.make_node("Relu", ["x"], ["y"])], outputs=[info("y")] + [
        info(tensor.name, [2], tensor.data_type) for tensor in tensors], initializers=tensors)


def bfloat16():
    """Weights that numpy has no type for."""
    w = helper.make_tensor("w", TensorProto.BFLOAT16, [4], [1.5, -2, 0, 3])
    nodes = [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Add", ["x", "f"], ["y"])]
    return model(nodes, initializers=[w])


def shapes():
    """Scalars and tensors without elements."""
    return model([helper.make_node("Add", ["x", "s"], ["a"]),
                  helper.make_node("Concat", ["a", "e"], ["y"], axis=0)],
                 initializers=[numpy_helper.from_array(numpy.float32(2), "s"),
                               numpy_helper.from_array(numpy.zeros((0, 4), numpy.float32), "e")])


def four_bit():
    """Quantized to four bits, an odd number of elements."""
    w = helper.make_tensor("w", TensorProto.INT4, [3, 5], list(range(-8, 7)))
    scale = numpy_helper.from_array(numpy.float32(0.5), "scale")
    zero = helper.make_tensor("zero", TensorProto.INT4, [], [1])
    nodes = [helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["d"]),
             helper.make_node("MatMul", ["x", "d"], ["y"])]
    return model(nodes, [info("x", ("N", 3))], [info("y", ("N", 5))], [w, scale, zero], ir=10,
                 opsets=[helper.make_opsetid("", 21)])


def float8():
    """Weights in eight-bit floats."""
    w = helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [4], [0.5, 1, -2, 448])
    scale = numpy_helper.from_array(numpy.float32(0.5), "scale")
    nodes = [helper.make_node("DequantizeLinear", ["w", "scale"], ["d"]),
             helper.make_node("Add", ["x", "d"], ["y"])]
    return model(nodes, initializers=[w, scale], ir=9, opsets=[helper.make_opsetid("", 19)])


def sequences():
    """Values that are no tensors."""
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
             helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return model(nodes, outputs=[info("y", ("M", 4)), helper.make_value_info("s", kind)])


def unnamed_dims():
    """Two dims without a name, one fixed by a negative number."""
    result = model([helper.make_node("Relu", ["x"], ["y"])], [info("x", (None, None, 4))],
                   [info("y", (None, None, 4))])
    result.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    return result


def external(folder):
    """Weights in another file, one of them inside a subgraph."""
    big = weight("w", (4, 300))
    body = branch("t", "Add", "k")
    body.initializer.append(weight("k", (500, 1, 4)))
    other = branch("e", "Mul", "x")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]),
             helper.make_node("If", ["c"], ["i"], then_branch=body, else_branch=other)]
    result = model(nodes, outputs=[info("m", ("N", 300)), info("i", None)],
                   initializers=[big, numpy_helper.from_array(numpy.bool_(True), "c")])
    with open(folder / "external.bin", "wb") as file:
        for tensor in (result.graph.initializer[0], result.graph.node[1].attribute[1].g.initializer[0]):
            offset = (file.tell() + 4095) // 4096 * 4096
            file.seek(offset)
            file.write(tensor.raw_data)
            length = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "external.bin"), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
    return result


MODELS = [ir3, ir3_constant, overridable, constants, input_is_output, unused, if_capture, loop, scan,
          unsorted, sparse, sparse_constant, function, custom, metadata, training, typed_fields, bfloat16, shapes, four_bit,
          float8, sequences, unnamed_dims]


def write_all(folder: pathlib.Path):
    """Writes every model and yields its path."""
    folder.mkdir()
    for make in MODELS:
        path = folder / f"edge_{make.__name__}.onnx"
        path.write_bytes(make().SerializeToString())
        yield path
    path = folder / "edge_external.onnx"
    path.write_bytes(external(folder).SerializeToString())
    yield path


if __name__ == "__main__":
    print(*write_all(pathlib.Path(sys.argv[1])), sep="\n")
