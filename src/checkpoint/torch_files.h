#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "checkpoint/checkpoint.h"

namespace bertrand {

/// What torch.save has written since PyTorch 1.6: a ZIP archive with a pickle (data.pkl), an entry
/// for each storage (data/KEY) and the byte order. Source: PyTorch, torch/serialization.py,
/// caffe2/serialize/inline_container.cc. Storages are used where they lie in the file, unless they
/// are deflated, strided or big-endian.
std::shared_ptr<const Checkpoint> open_torch_zip(MappedFile file,
                                                 const std::filesystem::path& path);

/// What torch.save wrote before: five pickles one after the other (a magic number, the version, the
/// machine, the objects, the storages' keys), then each storage, little-endian. Source: PyTorch,
/// torch/serialization.py (_legacy_save).
std::shared_ptr<const Checkpoint> open_torch_legacy(MappedFile file,
                                                    const std::filesystem::path& path);

/// data.pkl of a state dictionary in which each tensor fills a storage of its own, whose key is the
/// tensor's place; with a `key`, of a dictionary that holds it under that key. Throws Error
/// (runtime) where one does not hold floating point numbers.
std::string torch_pickle(const std::vector<TensorInfo>& tensors, const std::string& key = "");

/// Whether a file begins as one of the older form does.
bool is_torch_legacy(std::span<const std::byte> file);

}  // namespace bertrand
