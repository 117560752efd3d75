#include <algorithm>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_writer.h"

namespace bertrand {
namespace {

constexpr size_t kAlignment = 8;  // of the first tensor's bytes
constexpr size_t kBlock = 1 << 16;

std::string header_of(const std::vector<TensorInfo>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  size_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    const size_t end = offset + tensor.bytes();
    header[tensor.name] = {
        {"dtype", name_of(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : where_(path.string()), file_(path), tensors_(std::move(tensors)) {
  const std::string header = header_of(tensors_, metadata);
  const uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
}

const TensorInfo& SafetensorsWriter::next(size_t bytes) {
  if (written_ == tensors_.size() || tensors_[written_].bytes() != bytes) {
    throw Error(ErrorCode::runtime, where_ + ": the tensors to write are not those announced.");
  }
  return tensors_[written_++];
}

void SafetensorsWriter::write(std::span<const float> values) {
  const size_t width = written_ < tensors_.size() ? size_of(tensors_[written_].type) : 0;
  const TensorInfo& tensor = next(values.size() * width);
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const auto block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    buffer_.resize(block.size() * width);
    narrow_f32(block, tensor, buffer_, where_);
    file_.write(buffer_);
  }
}

void SafetensorsWriter::write_bytes(std::span<const std::byte> bytes) {
  next(bytes.size());
  file_.write(bytes);
}

void SafetensorsWriter::write_part(std::span<const std::byte> bytes) {
  part_ += bytes.size();
  if (written_ == tensors_.size() || part_ > tensors_[written_].bytes()) {
    throw Error(ErrorCode::runtime, where_ + ": the tensors to write are not those announced.");
  }
  file_.write(bytes);
  if (part_ == tensors_[written_].bytes()) {
    part_ = 0;
    ++written_;
  }
}

void SafetensorsWriter::finish() {
  if (written_ != tensors_.size()) {
    throw Error(ErrorCode::runtime, where_ + ": not every tensor announced was written.");
  }
  file_.flush();
}

void SafetensorsWriter::commit() {
  finish();
  file_.commit();
}

namespace {

class SafetensorsWeights : public WeightWriter {
 public:
  SafetensorsWeights(const std::filesystem::path& path, std::vector<TensorInfo> tensors)
      : writer_(path, std::move(tensors)) {}
  void write(std::span<const std::byte> bytes) override { writer_.write_part(bytes); }
  void finish() override { writer_.finish(); }
  void commit() override { writer_.commit(); }

 private:
  SafetensorsWriter writer_;
};

}  // namespace

std::unique_ptr<WeightWriter> make_safetensors_writer(const std::filesystem::path& path,
                                                      std::vector<TensorInfo> tensors) {
  return std::make_unique<SafetensorsWeights>(path, std::move(tensors));
}

}  // namespace bertrand
