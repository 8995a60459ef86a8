#pragma once

#include "ir/op.h"

namespace pare {

// Declares row kName for every name of op_list.h, so that the files of the families can define
// them.
#define PARE_OP(name) extern const OpDef k##name;
#include "ops/op_list.h"
#undef PARE_OP

}  // namespace pare
