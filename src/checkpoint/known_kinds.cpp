#include "checkpoint/known_kinds.h"

#include <array>
#include <cctype>
#include <string>
#include <string_view>

#include "base/error.h"
#include "checkpoint/cursor.h"

namespace bertrand {
namespace {

constexpr const char* kTar =
    "is a TAR file, as the first releases of PyTorch wrote, which is not supported; load it with "
    "PyTorch and save it again: torch.save(torch.load(OLD), NEW).";

/// A kind of file that is known by how it begins and not read, with the remedy.
struct KnownKind {
  std::string_view begin;
  const char* what;
};

constexpr std::array kKnownKinds = {
    KnownKind{"sys_info", kTar},
    KnownKind{"\x89HDF\r\n",
              "is an HDF5 file (TensorFlow 2, Keras), which is not supported; save the model with "
              "transformers as model.safetensors or pytorch_model.bin."},
    KnownKind{"version https://git-lfs",
              "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull."},
    KnownKind{"\x1f\x8b", "is packed with gzip; unpack it first (gunzip, or tar -xzf)."},
    KnownKind{"GGUF",
              "is a GGUF file, which is not supported; take the model it was made from, as "
              "model.safetensors or pytorch_model.bin."},
    KnownKind{"<",
              "is a web page or another text, not a checkpoint; was the download "
              "answered with a page that asks to log in?"},
    KnownKind{"{",
              "is JSON without a \"weight_map\", so it is not the index of a checkpoint; "
              "name the file of the weights."},
    KnownKind{"\x80",
              "is a pickle, but not of torch.save; save the model's state_dict() with it."}};

constexpr const char* kOnnx =
    "is an ONNX model, which is written and not read; take the model it was made from, as "
    "model.safetensors or pytorch_model.bin.";

constexpr const char* kSavedModel =
    "is the graph of a TensorFlow SavedModel, without its weights; name those beside it: "
    "variables/variables.index.";

bool begins_with(std::span<const std::byte> bytes, std::string_view text, size_t place = 0) {
  return bytes.size() >= place + text.size() &&
         std::string_view(reinterpret_cast<const char*>(bytes.data()) + place, text.size()) == text;
}

/// What a message of Protocol Buffers is whose first field is a version; nullptr where it is
/// neither of the two. A SavedModel has graphs in its field 2, each of which begins with what is
/// told about it (field 1, a message). In field 2 of an ONNX model is a name, and sooner or later
/// comes its graph (field 7). Source: TensorFlow, saved_model.proto; ONNX, onnx.proto (ModelProto).
const char* kind_of_message(std::span<const std::byte> bytes) {
  constexpr uint64_t kNumber = 0;
  constexpr uint64_t kMessage = 2;  // or a text
  constexpr uint64_t kMostVersion = 32;
  constexpr uint64_t kGraphs = 2 << 3 | kMessage;
  constexpr uint64_t kOnnxGraph = 7 << 3 | kMessage;
  constexpr auto kAbout = std::byte{1 << 3 | kMessage};
  try {
    Cursor cursor(bytes, "");
    if (cursor.varint() != (1 << 3 | kNumber)) return nullptr;
    const uint64_t version = cursor.varint();
    if (version == 0 || version >= kMostVersion) return nullptr;
    while (!cursor.at_end()) {
      const uint64_t tag = cursor.varint();
      if (tag == kOnnxGraph) return kOnnx;
      if ((tag & 7) == kNumber) {
        cursor.varint();
        continue;
      }
      if ((tag & 7) != kMessage) return nullptr;
      const uint64_t length = cursor.varint();
      if (tag == kGraphs && length > 0 && cursor.left() > 0 && bytes[cursor.at()] == kAbout) {
        return kSavedModel;
      }
      cursor.take(length);
    }
  } catch (const Error&) {  // another kind, or cut off too early to tell
  }
  return nullptr;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const char* what) {
  throw Error(ErrorCode::bad_input, path.string() + ": " + what);
}

}  // namespace

void refuse_known_kinds(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  if (begins_with(bytes, "ustar", 257)) refuse(path, kTar);
  if (const char* what = kind_of_message(bytes)) refuse(path, what);
  size_t begin = 0;  // of a text
  while (begin < bytes.size() && std::isspace(static_cast<unsigned char>(bytes[begin])) != 0) {
    ++begin;
  }
  for (const KnownKind& kind : kKnownKinds) {
    if (begins_with(bytes, kind.begin, begin)) refuse(path, kind.what);
  }
}

}  // namespace bertrand
