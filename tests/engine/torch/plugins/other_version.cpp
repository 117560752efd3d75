// Knows no version that a program could ask for.
#include "engine/torch_border.h"

const BertrandTorchTable* bertrand_torch_table(uint32_t) { return nullptr; }
