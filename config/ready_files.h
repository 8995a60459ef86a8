#pragma once

#include <string_view>

namespace pare {

// Inside this folder: files of pipelines/ compiled into the program (cmake/PareEmbed.cmake).

std::string_view ready_classes();     ///< pipelines/classes.yaml
std::string_view ready_classifier();  ///< pipelines/classifier.yaml
std::string_view ready_clean();       ///< pipelines/clean.yaml
std::string_view ready_cpu();         ///< pipelines/cpu.yaml
std::string_view ready_detector();    ///< pipelines/detector.yaml
std::string_view ready_dpu();         ///< pipelines/dpu.yaml
std::string_view ready_int();         ///< pipelines/int8.yaml
std::string_view ready_prune();       ///< pipelines/prune.yaml
std::string_view ready_prune_int();   ///< pipelines/prune-int8.yaml

}  // namespace pare
