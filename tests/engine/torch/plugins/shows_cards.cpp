// Finds two cards of the kind $BERTRAND_TEST_CARDS, and computes nothing on them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/torch_border.h"

namespace {

std::string& sentence() {
  static std::string text;
  return text;
}

int32_t count_devices(const char* type, const char* /*library*/, uint32_t* count,
                      int32_t* /*has_bf16*/) {
  const char* kind = std::getenv("BERTRAND_TEST_CARDS");
  const std::string asked = std::string(type).substr(0, std::strcspn(type, ":"));
  if (kind == nullptr || asked != kind) {
    sentence() = "There are no cards of the kind " + asked + ".";
    return bertrand_torch_usage;
  }
  *count = 2;
  return bertrand_torch_ok;
}

int32_t create_engine(const BertrandTorchConfig* /*config*/, const BertrandTorchOptions* options,
                      const BertrandTorchParameter* /*parameters*/, size_t /*count*/,
                      BertrandTorchEngine** /*engine*/) {
  sentence() = std::string("Nothing is computed on ") + options->device + ".";
  return bertrand_torch_failed;
}

}  // namespace

const BertrandTorchTable* bertrand_torch_table(uint32_t version) {
  static const BertrandTorchTable kTable = [] {
    BertrandTorchTable table{};
    table.version = kBertrandTorchVersion;
    table.size = sizeof table;
    table.torch_version = "0.0.0";
    table.backends = "";
    table.last_error = [] { return sentence().c_str(); };
    table.count_devices = count_devices;
    table.create_engine = create_engine;
    table.name_card = [](const char* device, const char*, char* name, size_t size) -> int32_t {
      std::snprintf(name, size, "%s", device);
      return bertrand_torch_ok;
    };
    table.free_engine = [](BertrandTorchEngine* /*engine*/) {};
    return table;
  }();
  return version == kBertrandTorchVersion ? &kTable : nullptr;
}
