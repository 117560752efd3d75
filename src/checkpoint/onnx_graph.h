#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/protobuf_writer.h"
#include "checkpoint/tensor.h"
#include "model/config.h"

namespace bertrand {

/// The graph of a BERT with a span head, all but the weights' bytes, as fields of ONNX's
/// GraphProto. A weight that is not f32 is read under its name and ".stored", and cast.
std::string onnx_bert_graph(const BertConfig& config, const std::vector<TensorInfo>& tensors);

/// The name under which the graph wants a weight's initializer.
std::string onnx_initializer_name(const TensorInfo& tensor);

/// Numbers of onnx.proto, TensorProto.DataType.
uint64_t onnx_type(DataType type);

}  // namespace bertrand
