#include "places.h"

namespace bertrand::test {

const char* const kSourceFolder = BERTRAND_SOURCE_DIR;
const char* const kProgram = BERTRAND_PROGRAM;
const char* const kTorchProcess = BERTRAND_TORCH_PROCESS;
const char* const kTestPlugins = BERTRAND_TEST_PLUGINS;
const char* const kStandinMlu = BERTRAND_STANDIN_MLU;

}  // namespace bertrand::test
