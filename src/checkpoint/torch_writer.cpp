#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "checkpoint/torch_files.h"
#include "checkpoint/weight_writer.h"
#include "checkpoint/zip_writer.h"

namespace bertrand {
namespace {

constexpr const char* kFolder = "archive/";

std::string_view storage_type(DataType type) {
  switch (type) {
    case DataType::f64:
      return "DoubleStorage";
    case DataType::f16:
      return "HalfStorage";
    case DataType::bf16:
      return "BFloat16Storage";
    case DataType::f32:
      return "FloatStorage";
    default:
      throw Error(ErrorCode::runtime, "Only floating point weights are written for PyTorch.");
  }
}

/// Writes the opcodes of pickle's protocol 2 that a state dictionary needs.
class Pickler {
 public:
  Pickler() : text_("\x80\x02") {}

  void code(std::string_view opcodes) { text_ += opcodes; }
  void global(std::string_view module, std::string_view name) {
    text_.append("c").append(module).append("\n").append(name).append("\n");
  }
  void text(std::string_view value) {
    text_ += 'X';
    bytes(value.size(), 4);
    text_ += value;
  }
  void number(int64_t value) {
    if (value <= std::numeric_limits<int32_t>::max()) {
      text_ += 'J';
      bytes(static_cast<uint64_t>(value), 4);
    } else {
      text_ += "\x8a\x08";
      bytes(static_cast<uint64_t>(value), 8);
    }
  }
  void tuple(const std::vector<int64_t>& values) {
    text_ += '(';
    for (const int64_t value : values) number(value);
    text_ += 't';
  }
  void ordered_dictionary() {
    global("collections", "OrderedDict");
    text_ += ")R";
  }
  const std::string& result() const { return text_; }

 private:
  void bytes(uint64_t value, size_t count) {
    text_.append(reinterpret_cast<const char*>(&value), count);
  }
  std::string text_;
};

class TorchWriter : public WeightWriter {
 public:
  TorchWriter(const std::filesystem::path& path, std::vector<TensorInfo> tensors,
              const std::string& key)
      : where_(path.string()), zip_(path), tensors_(std::move(tensors)) {
    zip_.add(kFolder + std::string("data.pkl"), torch_pickle(tensors_, key));
    zip_.add(kFolder + std::string("byteorder"), "little");
    begin();
  }

  void write(std::span<const std::byte> bytes) override {
    if (at_ == tensors_.size() || written_ + bytes.size() > tensors_[at_].bytes()) {
      throw Error(ErrorCode::runtime, where_ + ": the tensors to write are not those announced.");
    }
    zip_.write(bytes);
    written_ += bytes.size();
    if (written_ == tensors_[at_].bytes()) {
      zip_.end();
      ++at_;
      begin();
    }
  }

  void finish() override {
    if (at_ != tensors_.size()) {
      throw Error(ErrorCode::runtime, where_ + ": not every tensor announced was written.");
    }
    if (std::exchange(finished_, true)) return;
    zip_.add(kFolder + std::string("version"), "3\n");
    zip_.finish();
  }

  void commit() override {
    finish();
    zip_.commit();
  }

 private:
  void begin() {
    written_ = 0;
    if (at_ < tensors_.size()) {
      zip_.begin(kFolder + std::string("data/") + std::to_string(at_), tensors_[at_].bytes());
    }
  }

  std::string where_;
  ZipWriter zip_;
  std::vector<TensorInfo> tensors_;
  size_t at_ = 0;
  size_t written_ = 0;  // bytes of the tensor at_
  bool finished_ = false;
};

}  // namespace

std::string torch_pickle(const std::vector<TensorInfo>& tensors, const std::string& key) {
  Pickler pickle;
  if (!key.empty()) {
    pickle.code("}");
    pickle.text(key);
  }
  pickle.ordered_dictionary();
  pickle.code("(");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    std::vector<int64_t> strides(tensor.shape.size(), 1);
    for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
    pickle.text(tensor.name);
    pickle.global("torch._utils", "_rebuild_tensor_v2");
    pickle.code("((");
    pickle.text("storage");
    pickle.global("torch", storage_type(tensor.type));
    pickle.text(std::to_string(i));
    pickle.text("cpu");
    pickle.number(tensor.size());
    pickle.code("tQ");
    pickle.number(0);
    pickle.tuple(tensor.shape);
    pickle.tuple(strides);
    pickle.code("\x89");  // no gradient wanted
    pickle.ordered_dictionary();
    pickle.code("tR");
  }
  pickle.code("u");
  if (!key.empty()) pickle.code("s");
  pickle.code(".");
  return pickle.result();
}

std::unique_ptr<WeightWriter> make_torch_writer(const std::filesystem::path& path,
                                                std::vector<TensorInfo> tensors,
                                                const std::string& key) {
  return std::make_unique<TorchWriter>(path, std::move(tensors), key);
}

}  // namespace bertrand
