#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/torch_border.h"

namespace bertrand {

/// libbertrand_torch.so, opened. It stays open as long as the process lives: LibTorch's threads and
/// registrations do not bear to be unloaded.
class TorchPlugin {
 public:
  /// The file given; else $BERTRAND_TORCH_PLUGIN; else libbertrand_torch.so beside this program or
  /// in the lib folder beside that folder. Throws Error: usage where there is none, runtime where
  /// it cannot be loaded or is of another version, each with what to do.
  static std::shared_ptr<const TorchPlugin> open(const std::filesystem::path& file = {});

  /// Whether there is a file to open, or one was named: only where there is none at all is it no
  /// fault that open() throws.
  static bool is_expected(const std::filesystem::path& file = {});

  const std::filesystem::path& path() const { return path_; }
  const BertrandTorchTable& table() const { return *table_; }
  std::string torch_version() const { return table_->torch_version; }

  /// Throws Error (runtime, or usage) with the plug-in's sentence unless `status` is
  /// bertrand_torch_ok.
  void check(int32_t status) const;

 private:
  TorchPlugin(std::filesystem::path path, const BertrandTorchTable& table)
      : path_(std::move(path)), table_(&table) {}

  std::filesystem::path path_;
  const BertrandTorchTable* table_;
};

}  // namespace bertrand
