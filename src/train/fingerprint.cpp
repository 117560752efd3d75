#include "train/fingerprint.h"

#include <fmt/format.h>

namespace bertrand {

std::string Fingerprint::text() const { return fmt::format("{:016x}", state_); }

void Fingerprint::add_bytes(std::span<const std::byte> bytes) {
  add(uint64_t{bytes.size()});
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t taken = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), taken);
    add(word);
    bytes = bytes.subspan(taken);
  }
}

std::string fingerprint_of(std::span<const Window> windows) {
  Fingerprint fingerprint;
  for (const Window& window : windows) {
    fingerprint.add(window.ids);
    fingerprint.add(uint64_t{window.document_begin});
    fingerprint.add(static_cast<uint64_t>(window.start));
    fingerprint.add(static_cast<uint64_t>(window.end));
  }
  return fingerprint.text();
}

std::string fingerprint_of(const BertConfig& config, const std::vector<ParameterInfo>& parameters,
                           const ParameterReader& read) {
  Fingerprint fingerprint;
  const std::string json = config.to_json();
  fingerprint.add(std::span<const char>(json));
  std::vector<float> values;
  for (const ParameterInfo& info : parameters) {
    values.resize(static_cast<size_t>(info.size()));
    read(info, values);
    fingerprint.add(std::span<const float>(values));
  }
  return fingerprint.text();
}

}  // namespace bertrand
