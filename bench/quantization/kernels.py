"""What ONNX Runtime makes of a quantized file: which kernels its optimized graph holds."""

import collections
import pathlib
import tempfile

import onnx
import onnxruntime

# Kernels that compute on stored integers.
INTEGER = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "QAttention", "QEmbed")
# Operators on whose account a model is quantized.
WEIGHTED = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def session(path, optimized=None):
    """A session on one thread; writes the graph it will run to `optimized`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def count(path):
    """Integer kernels, weighted operators left in float, and Q/DQ nodes left around them."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = pathlib.Path(folder) / "optimized.onnx"
        session(path, optimized)
        graph = onnx.load(optimized, load_external_data=False).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    makers = {name: node for node in graph.node for name in node.output}
    islands = 0
    for node in graph.node:
        if node.op_type in WEIGHTED:
            operands = [makers[name] for name in node.input if name in makers]
            islands += any(o.op_type == "DequantizeLinear" for o in operands)
    integer = sum(n for kind, n in kinds.items() if kind.startswith(INTEGER))
    in_float = sum(n for kind, n in kinds.items() if kind in WEIGHTED)
    pairs = kinds["QuantizeLinear"] + kinds["DequantizeLinear"]
    return {"integer kernels": integer, "weighted in float": in_float, "islands": islands,
            "Q and DQ left": pairs}
