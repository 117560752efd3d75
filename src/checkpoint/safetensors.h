#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "checkpoint/tensor.h"

namespace bertrand {

/// A .safetensors file, memory-mapped: 8 bytes with the length of the header, the header in JSON,
/// then the tensors' bytes, which fill the rest without gaps. Source: the format's description in
/// the README of huggingface/safetensors. The file is not trusted: every length and offset is
/// checked before it is used.
class SafetensorsFile : public TensorFile {
 public:
  /// Throws Error (io) where the file cannot be opened and (bad_input) where it is damaged.
  static SafetensorsFile open(const std::filesystem::path& path);

  /// In the order of their bytes in the file.
  const std::vector<TensorView>& tensors() const override { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }
  const MappedFile& file() const { return file_; }

  struct Contents {
    std::vector<TensorView> tensors;
    std::map<std::string, std::string> metadata;
  };

  /// The tensors of a whole file in memory; `where` names it in errors.
  static Contents parse(std::span<const std::byte> file, const std::string& where);

 private:
  SafetensorsFile(MappedFile file, Contents contents)
      : file_(std::move(file)), contents_(std::move(contents)) {}

  MappedFile file_;
  Contents contents_;
};

/// Writes a .safetensors file tensor by tensor; it appears when commit() is called, or not at all.
class SafetensorsWriter {
 public:
  /// The tensors in the order in which write() will be called.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// The next tensor, [its size], rounded to its type. Throws Error (runtime) naming the tensor
  /// where a finite value is too large for its type, and (io) naming the file.
  void write(std::span<const float> values);

  /// The next tensor, of any type, as the file holds it.
  void write_bytes(std::span<const std::byte> bytes);

  /// A part of the next tensor, which is complete with its last byte.
  void write_part(std::span<const std::byte> bytes);

  /// Brings the file to the disk; commit() does so, too, and puts it in its place.
  void finish();
  void commit();

 private:
  const TensorInfo& next(size_t bytes);

  std::string where_;
  AtomicFile file_;
  std::vector<TensorInfo> tensors_;
  size_t written_ = 0;
  size_t part_ = 0;  // bytes written of the tensor written_
  std::vector<std::byte> buffer_;
};

}  // namespace bertrand
