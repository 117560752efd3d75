#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/onnx_graph.h"
#include "checkpoint/weight_writer.h"

namespace bertrand {
namespace {

constexpr uint64_t kIrVersion = 8;
constexpr uint64_t kOpset = 17;
constexpr uint64_t kMostBytes = std::numeric_limits<int32_t>::max();  // of a message

/// All of an initializer but its bytes, with what stands before the initializer itself.
std::string initializer_header(const TensorInfo& tensor) {
  ProtobufWriter message;
  for (const int64_t size : tensor.shape) message.number(1, static_cast<uint64_t>(size));
  message.number(2, onnx_type(tensor.type));
  message.text(8, onnx_initializer_name(tensor));
  message.begin(9, tensor.bytes());
  ProtobufWriter field;
  field.begin(5, message.result().size() + tensor.bytes());
  return field.result() + message.result();
}

/// The weights' bytes are the last part of the file, so that they can be streamed into it.
class OnnxWriter : public WeightWriter {
 public:
  OnnxWriter(const std::filesystem::path& path, const BertConfig& config,
             std::vector<TensorInfo> tensors)
      : where_(path.string()), file_(path), tensors_(std::move(tensors)) {
    const std::string graph = onnx_bert_graph(config, tensors_);
    uint64_t size = graph.size();
    for (const TensorInfo& tensor : tensors_) {
      headers_.push_back(initializer_header(tensor));
      size += headers_.back().size() + tensor.bytes();
    }
    ProtobufWriter opset;
    opset.text(1, "");
    opset.number(2, kOpset);
    ProtobufWriter model;
    model.number(1, kIrVersion);
    model.text(2, "bertrand");
    model.message(8, opset);
    model.begin(7, size);
    if (size > kMostBytes - model.result().size()) {
      const bool is_narrow = std::all_of(tensors_.begin(), tensors_.end(), [](const auto& tensor) {
        return size_of(tensor.type) < size_of(DataType::f32);
      });
      throw Error(ErrorCode::usage,
                  where_ + ": would have " + std::to_string(size) +
                      " bytes, and an ONNX file has at most 2 GB; " +
                      (is_narrow ? "the other formats have no such limit." : "give --dtype f16."));
    }
    file_.write(model.result());
    file_.write(graph);
    begin();
  }

  void write(std::span<const std::byte> bytes) override {
    if (at_ == tensors_.size() || written_ + bytes.size() > tensors_[at_].bytes()) {
      throw Error(ErrorCode::runtime, where_ + ": the tensors to write are not those announced.");
    }
    file_.write(bytes);
    written_ += bytes.size();
    if (written_ == tensors_[at_].bytes()) {
      ++at_;
      begin();
    }
  }

  void finish() override {
    if (at_ != tensors_.size()) {
      throw Error(ErrorCode::runtime, where_ + ": not every tensor announced was written.");
    }
    file_.flush();
  }

  void commit() override {
    finish();
    file_.commit();
  }

 private:
  void begin() {
    written_ = 0;
    if (at_ < tensors_.size()) file_.write(headers_[at_]);
  }

  std::string where_;
  AtomicFile file_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::string> headers_;
  size_t at_ = 0;
  size_t written_ = 0;  // bytes of the tensor at_
};

}  // namespace

std::unique_ptr<WeightWriter> make_onnx_writer(const std::filesystem::path& path,
                                               const BertConfig& config,
                                               std::vector<TensorInfo> tensors) {
  return std::make_unique<OnnxWriter>(path, config, std::move(tensors));
}

bool is_linear_weight(const TensorInfo& tensor) {
  return tensor.shape.size() == 2 && tensor.name.ends_with(".weight") &&
         !tensor.name.starts_with("bert.embeddings.");
}

}  // namespace bertrand
