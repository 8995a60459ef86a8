#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// What classes are called, by index, and how a model's metadata says so.
struct ClassLabels {
  enum class Form : uint8_t {
    kDict,      ///< {0: 'person', 1: 'bicycle'}, as Ultralytics writes it.
    kJsonDict,  ///< {"0": "person", "1": "bicycle"}
    kList,      ///< ["person", "bicycle"]
    kLines,     ///< One a line.
    kCommas,    ///< person,bicycle
  };
  std::vector<std::string> names;
  std::string key = "names";  ///< Of the metadata.
  Form form = Form::kDict;
};

/// Reads a file of labels, one a line. Throws Error(kUsage) naming file and line when there is no
/// such file, an empty line between others, or no label at all.
std::vector<std::string> read_label_lines(const std::string& path);

/// The labels a model carries in its metadata, under one of the keys exporters use; nothing where
/// none of them holds a list of at least two.
std::optional<ClassLabels> labels_in_metadata(const Graph& graph);

/// The text for the metadata, in the form the labels came in.
std::string to_text(const ClassLabels& labels);

/// Which label a word means: the same text, else the same but for upper and lower case, else the
/// same as the first of several names that commas separate ("tench" of "tench, Tinca tinca").
/// Nothing when none or more than one is meant so.
std::optional<int64_t> find_label(const std::vector<std::string>& names, std::string_view word);

}  // namespace pare
