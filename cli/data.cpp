#include "cli/data.h"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "calib/npy.h"
#include "cli/data_options.h"
#include "importers/onnx/tensor_file.h"

namespace pare {
namespace {

constexpr size_t kMaxLine = 1 << 16;

[[noreturn]] void fail(const std::string& sentence) { throw Error(ErrorKind::kInput, sentence); }

std::vector<int64_t> read_npy_labels(const std::string& path, const Dataset& data) {
  const Tensor tensor = read_npy(path);
  const Shape& shape = tensor.shape();
  const bool flat = !shape.empty() && std::all_of(shape.begin() + 1, shape.end(),
                                                  [](int64_t extent) { return extent == 1; });
  if (!flat || !is_integer(tensor.dtype()))
    fail(path + ": holds " + to_string(tensor.type()) +
         ", expected a list of integer class labels");
  std::vector<int64_t> labels = to_int64(tensor);
  if (static_cast<int64_t>(labels.size()) != data.found())
    fail(path + ": " + std::to_string(labels.size()) + " labels for the " +
         std::to_string(data.found()) + " samples of " + data.name());
  return labels;
}

/// Without spaces around it, nor quotes.
std::string trimmed(std::string text) {
  const char* blank = " \t\r";
  text.erase(0, std::min(text.find_first_not_of(blank), text.size()));
  text.erase(text.find_last_not_of(blank) + 1);
  if (text.size() > 1 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  return text;
}

/// Lines "file,class"; a first line whose class is no number is a heading.
std::map<std::string, int64_t> read_csv(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path + ": cannot be read");
  std::map<std::string, int64_t> classes;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    if (line.size() > kMaxLine)
      fail(path + ":" + std::to_string(number) + ": the line is too long");
    if (trimmed(line).empty()) continue;
    const size_t comma = line.rfind(',');
    const std::string word = comma == std::string::npos ? "" : trimmed(line.substr(comma + 1));
    int64_t label = 0;
    const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), label);
    if (failure == std::errc() && end == word.data() + word.size()) {
      classes[trimmed(line.substr(0, comma))] = label;
    } else if (number > 1) {
      fail(path + ":" + std::to_string(number) + ": '" + trimmed(line) +
           "' is no line 'file,class' with a whole number");
    }
  }
  return classes;
}

std::vector<int64_t> read_csv_labels(const std::string& path, const Dataset& data) {
  const std::map<std::string, int64_t> classes = read_csv(path);
  if (data.names().empty())
    fail(path + ": names files, but the samples have no names, expected labels as .npy");
  std::vector<int64_t> labels;
  size_t missing = 0;
  std::string first;
  for (const std::string& name : data.names()) {
    auto found = classes.find(name);
    if (found == classes.end()) found = classes.find(name.substr(name.rfind('/') + 1));
    if (found == classes.end() && missing++ == 0) first = name;
    labels.push_back(found == classes.end() ? -1 : found->second);
  }
  if (missing > 0)
    fail(path + ": has no line for '" + first + "'" +
         (missing > 1 ? " and " + std::to_string(missing - 1) + " other images" : ""));
  return labels;
}

}  // namespace

CLI::Option* DataArguments::add_to(CLI::App& command, const std::string& purpose) {
  CLI::Option* option =
      command
          .add_option("--data", data,
                      purpose +
                          ": folder, .tar or .zip of images; .npy or .pb of shape [N, ...]; .npz "
                          "named like the inputs; random[:N]")
          ->type_name("PATH");
  command.add_option("--limit", limit, "Samples used at most, spread evenly over the data; 0: all")
      ->capture_default_str();
  for (const DataKey& key : data_keys()) {
    std::string type = key.type == "text" ? "TEXT" : key.type == "integer" ? "INTEGER" : "NUMBER";
    if (key.type.find('|') != std::string_view::npos) type = std::string(key.type);
    if (key.type == "numbers") type = "NUMBERS";
    std::erase(type, ' ');
    command
        .add_option("--" + std::string(key.key), words[std::string(key.key)],
                    std::string(key.summary))
        ->type_name(type);
  }
  return option;
}

std::map<std::string, std::string> DataArguments::given() const {
  std::map<std::string, std::string> given;
  if (data.empty()) return given;
  given["data"] = data;
  if (limit > 0) given["limit"] = std::to_string(limit);
  for (const auto& [key, word] : words)
    if (!word.empty()) given[key] = word;
  return given;
}

Dataset DataArguments::open(const Graph& graph, const std::optional<Options>& block, int threads,
                            Console& console) const {
  if (limit < 0) throw Error(ErrorKind::kUsage, "--limit: expected a number above 0");
  Preprocess preprocess;
  if (block) {
    Options options = *block;  // A copy: reading consumes keys.
    preprocess = read_preprocess(options, preprocess);
  }
  std::map<std::string, Options::Entry> entries;
  for (const auto& [key, word] : words)
    if (!word.empty()) entries[key] = {.items = {word}};
  Options options("", 0, "command line", std::move(entries));
  preprocess = read_preprocess(options, preprocess);
  Dataset dataset = data.ends_with(".pb") ? Dataset::of({read_tensor_pb(data)}, preprocess,
                                                        data.substr(data.rfind('/') + 1))
                                          : Dataset::open(data, preprocess);
  dataset.prepare(graph, {.threads = threads, .limit = limit, .progress = console.progress()});
  for (const std::string& note : dataset.notes()) console.warning(note);
  return dataset;
}

std::vector<int64_t> read_labels(const std::string& path, const Dataset& data, int64_t offset) {
  const std::vector<int64_t> all = path.empty()             ? data.classes()
                                   : path.ends_with(".csv") ? read_csv_labels(path, data)
                                                            : read_npy_labels(path, data);
  std::vector<int64_t> labels;
  if (all.empty()) return labels;
  for (int64_t i = 0; i < data.size(); ++i) {
    int64_t label = all[static_cast<size_t>(data.position(i))];
    if (__builtin_add_overflow(label, offset, &label)) label = -1;
    labels.push_back(label);
  }
  return labels;
}

}  // namespace pare
