#!/usr/bin/env python3
"""Holds the layers of the house: which folder may include which, and which third-party headers.

    check_layers.py [ROOT]

Prints one line a violation (file, include, what is allowed) and exits 1 when there is any. Checks
besides: that headers of a library hide third-party types, that ops/op_list.h and the OpDef rows
match, that no file grows past MAX_LINES, that no two types have one name. docs/ARCHITECTURE.md explains the table.
"""

import pathlib
import re
import sys

MAX_LINES = 600

CORE = ["support", "tensor", "ir"]
# Folder -> folders it may include beside itself.
LAYERS = {
    "support": [],
    "tensor": ["support"],
    "ir": ["support", "tensor"],
    "ops": CORE,
    "cost": CORE,
    "exec": CORE,
    "onnx_proto": CORE,
    "importers/onnx": CORE + ["onnx_proto"],
    "exporters/onnx": CORE + ["onnx_proto"],
    "images": ["support"],
    "calib": CORE + ["exec", "images"],
    "config": ["support"],
    "passes": CORE + ["config", "cost", "exec", "images", "calib"],
    "report": CORE + ["config", "cost", "exec", "images", "calib", "passes"],
}
EVERYTHING = list(LAYERS)
LAYERS["cli"] = EVERYTHING
LAYERS["bench"] = EVERYTHING + ["bench"]
LAYERS["tests"] = EVERYTHING + ["tests", "cli"]

# Third-party header prefix -> folders that may include it. `tests` and `bench` may include any.
PROTOBUF = ["onnx_proto", "importers/onnx", "exporters/onnx"]
THIRD_PARTY = {
    "onnx/": PROTOBUF,
    "google/protobuf/": PROTOBUF,
    "dnnl": ["tensor", "exec"],
    "oneapi/dnnl/": ["exec"],
    "omp.h": ["tensor", "exec"],
    "cblas.h": ["tensor"],
    "lapacke.h": ["tensor"],
    "Eigen/": ["tensor", "calib", "passes"],
    "yaml-cpp/": ["config", "cost"],
    "nlohmann/": ["passes", "report", "cli"],
    "zip.h": ["calib"],
    "zlib.h": ["calib"],
    "turbojpeg.h": ["images"],
    "png.h": ["images"],
    "webp/": ["images"],
    "archive": ["images"],
    "CLI/": ["cli"],
    "spdlog/": ["cli"],
}
# Headers of the operating system: files and memory maps.
SYSTEM = ["fcntl.h", "malloc.h", "sys/ioctl.h", "sys/mman.h", "sys/stat.h", "sys/types.h", "unistd.h"]
SYSTEM_FOLDERS = ["support", "importers/onnx", "exporters/onnx", "calib", "report", "cli"]
# Headers that may show third-party types: shared protobuf helpers, and a program's own parts.
OPEN_FOLDERS = ["onnx_proto", "cli", "tests", "bench"]
# Private headers beside the .cpp files of folders that hide protobuf or JSON.
OPEN_PREFIXES = {folder: ["onnx/", "google/protobuf/"] for folder in PROTOBUF[1:]}
OPEN_PREFIXES["exec"] = ["oneapi/dnnl/"]
OPEN_PREFIXES["report"] = ["nlohmann/json_fwd.hpp"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def folder_of(path):
    """The layer a repository path belongs to, or None."""
    for folder in sorted(LAYERS, key=len, reverse=True):
        if path.startswith(folder + "/"):
            return folder
    return None


def check_project_include(folder, include):
    """Why `folder` may not include "include"; empty when it may."""
    target = folder_of(include)
    if target is None:
        if folder in ("tests", "bench"):
            return ""  # Relative to the test's own folder.
        return "is in no folder of the house; write it from the root"
    if target == folder or target in LAYERS[folder]:
        return ""
    return f"{folder} may include: {', '.join(LAYERS[folder]) or 'nothing'}"


def check_system_include(folder, include, is_header):
    """Why `folder` may not include <include>; empty when it may."""
    if folder in ("tests", "bench"):
        return ""
    if include in SYSTEM:
        return "" if folder in SYSTEM_FOLDERS else f"allowed in: {', '.join(SYSTEM_FOLDERS)}"
    for prefix, allowed in THIRD_PARTY.items():
        if not include.startswith(prefix):
            continue
        if folder not in allowed:
            return f"allowed in: {', '.join(allowed)}"
        opened = folder in OPEN_FOLDERS or include.startswith(tuple(OPEN_PREFIXES.get(folder, ())))
        if is_header and not opened:
            return "a header hides third-party types; include it in the .cpp"
        return ""
    if "." in include or "/" in include:
        return "is in no table of tests/check_layers.py"
    return ""


def check_file(root, path):
    """Messages about one source file."""
    folder = folder_of(path)
    text = (root / path).read_text()
    messages = []
    lines = text.count("\n")
    if lines > MAX_LINES:
        messages.append(f"{path}: {lines} lines, allowed are {MAX_LINES}; split it by family")
    for bracket, include in INCLUDE.findall(text):
        if bracket == '"':
            problem = check_project_include(folder, include)
        else:
            problem = check_system_include(folder, include, path.endswith(".h"))
        if problem:
            messages.append(f"{path}: #include {include}: {problem}")
    return messages


def check_ops(root):
    """Every PARE_OP line has its row and every row its line, by alphabet."""
    listed = re.findall(r"^PARE_OP\((\w+)\)", (root / "ops/op_list.h").read_text(), re.MULTILINE)
    messages = []
    if listed != sorted(set(listed)):
        messages.append("ops/op_list.h: the rows are not sorted or not unique")
    defined = {}
    for file in sorted((root / "ops").glob("*.cpp")):
        text = file.read_text()
        for name in re.findall(r"^constinit const OpDef k(\w+)\s*=", text, re.MULTILINE):
            defined[name] = file.name
        for name in re.findall(r"^PARE_\w*ROW\w*\((\w+)", text, re.MULTILINE):
            defined[name] = file.name
    for name in sorted(set(listed) - set(defined)):
        messages.append(f"ops/op_list.h: PARE_OP({name}) has no definition `constinit const OpDef k{name}`")
    for name in sorted(set(defined) - set(listed)):
        messages.append(f"ops/{defined[name]}: k{name} is not listed in ops/op_list.h")
    return messages


def check_types(root, files):
    """Every type of the house that more than one file can see has a name of its own: the linker takes
    one vector<T> for the other's where two files call different things T."""
    messages, places = [], {}
    for path in files:
        text = (root / path).read_text()
        text = re.sub(r"^namespace \{$.*?^\}  // namespace$", "", text, flags=re.MULTILINE | re.DOTALL)
        for name in re.findall(r"^(?:struct|class|enum class|enum) (\w+)\b(?!::)[^;\n]*\{", text, re.MULTILINE):
            if places.setdefault(name, path) != path:
                messages.append(f"{path}: {name} is a type of {places[name]} too; give one another name")
    return messages


def source_files(root):
    """Repository paths of all C++ sources of the house."""
    top = sorted({folder.split("/")[0] for folder in LAYERS})
    for folder in top:
        for suffix in ("*.h", "*.cpp"):
            for file in sorted((root / folder).rglob(suffix)):
                path = file.relative_to(root).as_posix()
                if folder_of(path):
                    yield path


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    root = root if root.is_dir() else root.parent.parent
    files = list(source_files(root))
    messages = [message for path in files for message in check_file(root, path)]
    messages += check_types(root, files)
    if (root / "ops/op_list.h").exists():
        messages += check_ops(root)
    for message in messages:
        print(message)
    print(f"layers: {len(files)} files, {len(messages)} violations")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
