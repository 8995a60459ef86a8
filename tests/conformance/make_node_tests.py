#!/usr/bin/env python3
"""Writes the ONNX backend node tests of the installed onnx package as folders node_tests reads.

    make_node_tests.py OUTPUT

Each test becomes OUTPUT/<name>/{model.onnx, test_data_set_<i>/{input,output}_<j>.pb}, the layout of
Debian's libonnx-testdata, at the opsets of the onnx release that is installed. (The package's own
`cmd_tools generate-data` left the node tests out in the releases since 1.18.)
"""

import pathlib
import shutil
import sys
import warnings

import numpy
import onnx
from onnx import numpy_helper


def serialized(value, name):
    """The protobuf bytes of one test input or output."""
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString()
    if isinstance(value, list):
        return numpy_helper.from_list(value, name).SerializeToString()
    if isinstance(value, dict):
        return numpy_helper.from_dict(value, name).SerializeToString()
    if value is None:
        return numpy_helper.from_optional(value, name).SerializeToString()
    return numpy_helper.from_array(numpy.asarray(value), name).SerializeToString()


def write_case(case, folder):
    """Writes one test; `folder` is fresh."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for index, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{index}"
        data.mkdir()
        for kind, values, infos in (("input", inputs, case.model.graph.input),
                                    ("output", outputs, case.model.graph.output)):
            for j, value in enumerate(values):
                (data / f"{kind}_{j}.pb").write_bytes(serialized(value, infos[j].name))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")  # The cases overflow and divide by zero on purpose.
    # Imported late: collecting runs every test case's Python code.
    from onnx.backend.test.case.node import collect_testcases

    cases = collect_testcases(None)
    fresh = root.with_name(root.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for case in cases:
        write_case(case, fresh / case.name)
    (fresh / "VERSION").write_text(f"onnx {onnx.__version__}\n")
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    print(f"{len(cases)} node tests of onnx {onnx.__version__} in {root}")


if __name__ == "__main__":
    main()
