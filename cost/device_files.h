#pragma once

#include <string_view>

namespace pare {

// Inside this folder: files compiled into the program (cmake/PareEmbed.cmake).

std::string_view device_boards();  ///< data/devices/boards.yaml
std::string_view device_dpus();    ///< data/devices/dpuczdx8g.yaml
std::string_view device_chips();   ///< data/devices/zynq-ultrascale-plus.yaml

}  // namespace pare
