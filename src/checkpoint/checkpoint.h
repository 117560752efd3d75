#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"

namespace bertrand {

/// A checkpoint of any format: what tensors it has, and their values one by one. Nothing in it is
/// trusted; what does not add up throws Error (bad_input) naming the file and the place.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// "PyTorch (zip)": for people.
  virtual std::string kind() const = 0;

  /// "safetensors", "pytorch-zip", "pytorch-legacy" or "tensorflow-bundle": for programs. Of
  /// several files it is that of each.
  virtual std::string format() const = 0;

  /// The tensors of the model, as the file names them.
  virtual const std::vector<TensorInfo>& tensors() const = 0;

  /// The values of tensors()[index], little-endian and row-major. They lie in the mapped file or,
  /// where that cannot be, in `buffer`; they hold until the next call with that buffer.
  virtual std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const = 0;

  /// The same, part by part in order, each of whole elements: for those who need not hold them all.
  /// What is found wrong may be thrown after some parts were given.
  using PartCall = std::function<void(std::span<const std::byte> part)>;
  virtual void read_parts(size_t index, const PartCall& part) const {
    std::vector<std::byte> buffer;
    part(read(index, buffer));
  }

  /// Tensors beside the model: optimizer state and the like. Not read.
  virtual const std::vector<TensorInfo>& others() const { return others_; }

  /// The files it is made of, with their bytes; one that is missing has 0.
  struct File {
    std::filesystem::path path;
    uint64_t bytes = 0;
  };
  virtual std::vector<File> files() const = 0;

  /// What would keep read() from working, as far as it shows without reading; whole sentences.
  virtual std::vector<std::string> problems() const { return {}; }

  /// What people should know of it and is nothing wrong; whole sentences.
  virtual std::vector<std::string> notes() const { return {}; }

  /// Gives back the memory of what was read so far.
  virtual void release() const {}

 protected:
  std::vector<TensorInfo> others_;
};

/// Opens a checkpoint, whose kind is found from its content: safetensors, PyTorch (zip or the
/// older pickle), a TensorFlow 1 bundle (by its prefix or any of its files), or the .index.json of
/// a checkpoint in several files. Throws Error: (io) where there is nothing of that name,
/// (bad_input) where it is damaged or of a kind that is not read, with the remedy.
std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path);

/// The weights of a folder: model.safetensors, model.safetensors.index.json, pytorch_model.bin,
/// pytorch_model.bin.index.json, or the one TensorFlow checkpoint in it (its `checkpoint` file says
/// which, where there are several). Empty where there is none.
std::filesystem::path find_weights(const std::filesystem::path& folder);

}  // namespace bertrand
