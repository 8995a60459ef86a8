#pragma once

#include <string>

#include "support/error.h"

namespace pare {

/// What the Error that leaves `body` says.
template <typename Body>
std::string message(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace pare
