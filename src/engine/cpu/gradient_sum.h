#pragma once

#include "distributed/process_group.h"
#include "engine/cpu/layout.h"
#include "engine/cpu/row_gradients.h"

namespace bertrand::cpu {

/// Each gradient becomes its sum over the processes of the group: the same bits, and the same rows
/// of the word embeddings touched, in every process. Of those only the rows that some process
/// touched are exchanged.
void sum_over_processes(ParameterGradients& gradients, const Layout& layout, ProcessGroup& group);

}  // namespace bertrand::cpu
